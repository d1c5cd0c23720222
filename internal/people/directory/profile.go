package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Profile is what is known about a user. Its JSON is that of the Identity Store
// API; reading does not mind the case of names.
type Profile struct {
	Name              *Name         `json:",omitempty"`
	DisplayName       string        `json:",omitempty"`
	NickName          string        `json:",omitempty"`
	ProfileURL        string        `json:"ProfileUrl,omitempty"`
	Emails            []Email       `json:",omitempty"`
	Addresses         []Address     `json:",omitempty"`
	PhoneNumbers      []PhoneNumber `json:",omitempty"`
	UserType          string        `json:",omitempty"`
	Title             string        `json:",omitempty"`
	PreferredLanguage string        `json:",omitempty"`
	Locale            string        `json:",omitempty"`
	Timezone          string        `json:",omitempty"`
	Photos            []Photo       `json:",omitempty"`
	Website           string        `json:",omitempty"`
	Birthdate         string        `json:",omitempty"`
	Roles             []RoleValue   `json:",omitempty"`
}

// Name of a user.
type Name struct {
	Formatted       string `json:",omitempty"`
	FamilyName      string `json:",omitempty"`
	GivenName       string `json:",omitempty"`
	MiddleName      string `json:",omitempty"`
	HonorificPrefix string `json:",omitempty"`
	HonorificSuffix string `json:",omitempty"`
}

// Email is an address for mail.
type Email struct {
	Value   string `json:",omitempty"`
	Type    string `json:",omitempty"`
	Primary bool   `json:",omitempty"`
}

// Address is where a user is.
type Address struct {
	StreetAddress string `json:",omitempty"`
	Locality      string `json:",omitempty"`
	Region        string `json:",omitempty"`
	PostalCode    string `json:",omitempty"`
	Country       string `json:",omitempty"`
	Formatted     string `json:",omitempty"`
	Type          string `json:",omitempty"`
	Primary       bool   `json:",omitempty"`
}

// PhoneNumber is a number as it was given.
type PhoneNumber struct {
	Value   string `json:",omitempty"`
	Type    string `json:",omitempty"`
	Primary bool   `json:",omitempty"`
}

// Photo is the address of a picture.
type Photo struct {
	Value   string `json:",omitempty"`
	Type    string `json:",omitempty"`
	Display string `json:",omitempty"`
	Primary bool   `json:",omitempty"`
}

// RoleValue is a role as a provider outside names it. It means nothing here.
type RoleValue struct {
	Value   string `json:",omitempty"`
	Type    string `json:",omitempty"`
	Primary bool   `json:",omitempty"`
}

// Email returns the user's address, empty for none.
func (p *Profile) Email() string {
	if len(p.Emails) == 0 {
		return ""
	}
	return p.Emails[0].Value
}

// SetEmail makes addr the user's only address.
func (p *Profile) SetEmail(addr string) {
	if addr == "" {
		p.Emails = nil
		return
	}
	p.Emails = []Email{{Value: addr, Type: "work", Primary: true}}
}

var (
	// From the Identity Store's model. How many there may be is counted beside the
	// patterns: compiled into them, it took 8 MB of every process, collectors too.
	wordPattern = regexp.MustCompile(`^[\p{L}\p{M}\p{S}\p{N}\p{P}]+$`)
	textPattern = regexp.MustCompile(`^[\p{L}\p{M}\p{S}\p{N}\p{P}\t\n\r \x{A0}\x{3000}]+$`)
	linePattern = regexp.MustCompile(`^[\p{L}\p{M}\p{S}\p{N}\p{P} \x{A0}\x{3000}]+$`)
)

// The most characters of texts, user names and outside ids.
const (
	maxText       = 1024
	maxUserName   = 128
	maxExternalID = 256
)

// isWord tells whether s is 1 to most characters that can be seen.
func isWord(s string, most int) bool {
	return utf8.RuneCountInString(s) <= most && wordPattern.MatchString(s)
}

// checkText demands what the Identity Store takes as text. What names a person
// goes into mails and pages and is one line.
func checkText(field, s string, line bool) error {
	pattern, what := textPattern, "characters that can be shown"
	if line {
		pattern, what = linePattern, what+", in one line"
	}
	switch {
	case s == "":
		return nil
	case utf8.RuneCountInString(s) > maxText:
		return &InvalidError{field, fmt.Sprintf("has %d characters, allowed are %d", utf8.RuneCountInString(s), maxText)}
	case !pattern.MatchString(s):
		return &InvalidError{field, "allowed are " + what}
	}
	return nil
}

// CheckEmail demands an address that mail can be sent to, and nothing else.
func CheckEmail(field, addr string) error {
	parsed, err := mail.ParseAddress(addr)
	if err != nil || parsed.Address != addr || len(addr) > 254 || strings.ContainsAny(addr, " \t\r\n<>\"(),;") {
		return &InvalidError{field, fmt.Sprintf("%.80q is not an e-mail address such as ann@example.com", addr)}
	}
	return nil
}

func (p *Profile) check() error {
	for _, f := range []struct {
		name, value string
		line        bool
	}{
		{"DisplayName", p.DisplayName, true}, {"NickName", p.NickName, true}, {"ProfileUrl", p.ProfileURL, true},
		{"UserType", p.UserType, false}, {"Title", p.Title, true}, {"PreferredLanguage", p.PreferredLanguage, true},
		{"Locale", p.Locale, true}, {"Timezone", p.Timezone, true}, {"Website", p.Website, true}, {"Birthdate", p.Birthdate, true},
	} {
		if err := checkText(f.name, f.value, f.line); err != nil {
			return err
		}
	}
	if err := p.checkName(); err != nil {
		return err
	}
	return p.checkLists()
}

func (p *Profile) checkName() error {
	if p.Name == nil {
		return nil
	}
	for field, v := range map[string]string{"Name.Formatted": p.Name.Formatted, "Name.FamilyName": p.Name.FamilyName, "Name.GivenName": p.Name.GivenName,
		"Name.MiddleName": p.Name.MiddleName, "Name.HonorificPrefix": p.Name.HonorificPrefix, "Name.HonorificSuffix": p.Name.HonorificSuffix} {
		if err := checkText(field, v, true); err != nil {
			return err
		}
	}
	return nil
}

func (p *Profile) checkLists() error {
	for _, l := range []struct {
		name      string
		len, most int
	}{{"Emails", len(p.Emails), 1}, {"Addresses", len(p.Addresses), 1}, {"PhoneNumbers", len(p.PhoneNumbers), 1}, {"Photos", len(p.Photos), 3}, {"Roles", len(p.Roles), 1}} {
		if l.len > l.most {
			return &InvalidError{l.name, fmt.Sprintf("has %d entries, allowed are %d", l.len, l.most)}
		}
	}
	for _, e := range p.Emails {
		if err := CheckEmail("Emails.Value", e.Value); err != nil {
			return err
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	const most = 32 << 10
	if len(text) > most {
		return &InvalidError{"Profile", fmt.Sprintf("has %d bytes, allowed are %d", len(text), most)}
	}
	return nil
}

// Change is one change of an attribute, as UpdateUser has it.
type Change struct {
	// Path such as displayName or name.givenName.
	Path string
	// Value is JSON; null or nothing takes the attribute away.
	Value json.RawMessage
}

// Apply makes changes to a profile, or none of them.
func (p *Profile) Apply(changes []Change) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	all := make(map[string]json.RawMessage)
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	for _, c := range changes {
		if err := c.apply(all); err != nil {
			return err
		}
	}
	if text, err = json.Marshal(all); err != nil {
		return err
	}
	var changed Profile
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&changed); err != nil {
		return &InvalidError{"Operations", "is not an attribute of a user with a value of its kind: " + err.Error()}
	}
	*p = changed
	return nil
}

func (c Change) apply(all map[string]json.RawMessage) error {
	top, rest, nested := strings.Cut(c.Path, ".")
	if top == "" {
		return &InvalidError{"AttributePath", "is empty"}
	}
	name := upperFirst(top)
	value := c.Value
	if nested {
		inner := make(map[string]json.RawMessage)
		if name != "Name" || strings.Contains(rest, ".") || rest == "" {
			return &InvalidError{"AttributePath", fmt.Sprintf("%.80q is not an attribute that can be changed by itself", c.Path)}
		}
		if old, ok := all[name]; ok {
			if err := json.Unmarshal(old, &inner); err != nil {
				return err
			}
		}
		set(inner, upperFirst(rest), c.Value)
		text, err := json.Marshal(inner)
		if err != nil {
			return &InvalidError{"AttributeValue", "is not JSON"}
		}
		value = text
	}
	if len(value) > 0 && !json.Valid(value) {
		return &InvalidError{"AttributeValue", "is not JSON"}
	}
	set(all, name, value)
	return nil
}

func set(m map[string]json.RawMessage, name string, value json.RawMessage) {
	if len(value) == 0 || string(value) == "null" || string(value) == `""` {
		delete(m, name)
		return
	}
	m[name] = value
}

func upperFirst(s string) string {
	return strings.ToUpper(s[:1]) + s[1:]
}
