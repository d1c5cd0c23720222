package alerting

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Contact is one way of a contact point; those with the same name are told
// together.
type Contact struct {
	UID                   string         `json:"uid"`
	Name                  string         `json:"name"`
	Type                  string         `json:"type"`
	Settings              map[string]any `json:"settings"`
	DisableResolveMessage bool           `json:"disableResolveMessage"`
	Provenance            string         `json:"provenance,omitempty"`
}

// Redacted stands where a secret is.
const Redacted = "[REDACTED]"

// kind is a type of contact points: which of its settings are secret, and how its
// settings become a receiver of the alert manager's.
type kind struct {
	field     string // of a receiver
	secrets   []string
	translate func(*settings) map[string]any
}

// kinds are the types that are known here.
func kinds() map[string]kind {
	return map[string]kind{
		"email":     {"email_configs", []string{"auth_password"}, email},
		"webhook":   {"webhook_configs", []string{"password", "authorization_credentials"}, webhook},
		"slack":     {"slack_configs", []string{"url", "token"}, slack},
		"pagerduty": {"pagerduty_configs", []string{"integrationKey"}, pagerduty},
		"opsgenie":  {"opsgenie_configs", []string{"apiKey"}, opsgenie},
		"telegram":  {"telegram_configs", []string{"bottoken"}, telegram},
		"discord":   {"discord_configs", []string{"url"}, discord},
		"teams":     {"msteamsv2_configs", []string{"url"}, teams},
		"pushover":  {"pushover_configs", []string{"apiToken", "userKey"}, pushover},
		"sns":       {"sns_configs", []string{"sigv4.access_key", "sigv4.secret_key"}, sns},
	}
}

// settings reads what a contact point is set to, and notes what is wrong and what
// nobody asked for.
type settings struct {
	all  map[string]any
	read map[string]bool
	err  error
}

func (s *settings) text(name string) string {
	s.read[name] = true
	switch v := s.all[name].(type) {
	case nil:
		return ""
	case string:
		return v
	case bool, float64, int64, json.Number:
		return fmt.Sprint(v)
	default:
		s.fail(name, "a text is expected")
		return ""
	}
}

func (s *settings) need(name string) string {
	v := strings.TrimSpace(s.text(name))
	if v == "" {
		s.fail(name, "is missing")
	}
	return v
}

func (s *settings) flag(name string) bool {
	s.read[name] = true
	switch v := s.all[name].(type) {
	case bool:
		return v
	case string:
		return v == "true"
	default:
		return false
	}
}

func (s *settings) fail(name, format string, args ...any) {
	if s.err == nil {
		s.err = wrong("settings."+name, format, args...)
	}
}

// Secrets names the settings of a type that are never shown.
func Secrets(typ string) []string { return kinds()[typ].secrets }

// Check refuses a contact point that could not be told anything.
func (c *Contact) Check() error {
	if strings.TrimSpace(c.Name) == "" {
		return wrong("name", "is missing")
	}
	if c.Name == Nobody {
		return wrong("name", "%q is the contact point that is told nothing", Nobody)
	}
	_, _, err := c.receiver()
	return err
}

// receiver is the field of a receiver and what goes into its list.
func (c *Contact) receiver() (string, map[string]any, error) {
	k, known := kinds()[c.Type]
	if !known {
		return "", nil, wrong("type", "found %q, allowed are %s", c.Type, strings.Join(slices.Sorted(maps.Keys(kinds())), ", "))
	}
	s := &settings{all: c.Settings, read: map[string]bool{}}
	out := k.translate(s)
	for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
		if v := c.Settings[name]; !s.read[name] && v != nil && v != "" && v != false {
			s.fail(name, "is not known for %s here", c.Type)
		}
	}
	if s.err != nil {
		return "", nil, s.err
	}
	for name, v := range out {
		if v == "" || v == nil {
			delete(out, name)
		}
	}
	out["send_resolved"] = !c.DisableResolveMessage
	return k.field, out, nil
}

func email(s *settings) map[string]any {
	list := strings.FieldsFunc(s.need("addresses"), func(r rune) bool { return r == ';' || r == ',' || r == '\n' })
	for i, a := range list {
		list[i] = strings.TrimSpace(a)
		if !strings.Contains(list[i], "@") {
			s.fail("addresses", "found %q, allowed are mail addresses with ; between them", list[i])
		}
	}
	s.flag("singleEmail") // one mail to all of them: there is no other way here
	out := map[string]any{"to": strings.Join(list, ", "), "text": s.text("message")}
	if subject := s.text("subject"); subject != "" {
		out["headers"] = map[string]string{"Subject": subject}
	}
	// The alert manager has no mail server of its own.
	for _, name := range []string{"smarthost", "from", "auth_username", "auth_password"} {
		out[name] = s.text(name)
	}
	return out
}

func (s *settings) url() string {
	const name = "url"
	v := s.need(name)
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		s.fail(name, "allowed are addresses that begin with http:// or https://") // which may be a secret
	}
	return v
}

func webhook(s *settings) map[string]any {
	out := map[string]any{"url": s.url()}
	if m := s.text("httpMethod"); m != "" && m != "POST" {
		s.fail("httpMethod", "found %s, allowed is POST", m)
	}
	if n := s.text("maxAlerts"); n != "" && n != "0" {
		most, err := strconv.ParseUint(n, 10, 32)
		if err != nil {
			s.fail("maxAlerts", "found %q, allowed are numbers", n)
		}
		out["max_alerts"] = most
	}
	http := map[string]any{}
	if user := s.text("username"); user != "" {
		http["basic_auth"] = map[string]string{"username": user, "password": s.text("password")}
	} else if s.text("password") != "" {
		s.fail("username", "is missing beside password")
	}
	if c := s.text("authorization_credentials"); c != "" {
		if http["basic_auth"] != nil {
			s.fail("authorization_credentials", "is set beside username: one of them is allowed")
		}
		http["authorization"] = map[string]string{"type": first(s.text("authorization_scheme"), "Bearer"), "credentials": c}
	} else {
		s.text("authorization_scheme")
	}
	if len(http) > 0 {
		out["http_config"] = http
	}
	return out
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func slack(s *settings) map[string]any {
	out := map[string]any{"channel": s.text("recipient"), "username": s.text("username"), "icon_emoji": s.text("icon_emoji"), "icon_url": s.text("icon_url"),
		"title": s.text("title"), "text": s.text("text"), "color": s.text("color")}
	if token := s.text("token"); token != "" {
		out["api_url"] = first(s.text("endpointUrl"), "https://slack.com/api/chat.postMessage")
		out["http_config"] = map[string]any{"authorization": map[string]string{"type": "Bearer", "credentials": token}}
		if out["channel"] == "" {
			s.fail("recipient", "is missing beside token")
		}
		s.text("url")
		return out
	}
	out["api_url"] = s.url()
	return out
}

func pagerduty(s *settings) map[string]any {
	out := map[string]any{"routing_key": s.need("integrationKey"), "severity": s.text("severity"), "class": s.text("class"), "component": s.text("component"),
		"group": s.text("group"), "description": s.text("summary"), "client": s.text("client"), "client_url": s.text("client_url"), "source": s.text("source")}
	s.read["details"] = true
	if d, ok := s.all["details"].(map[string]any); ok && len(d) > 0 {
		out["details"] = d
	}
	return out
}

func opsgenie(s *settings) map[string]any {
	out := map[string]any{"api_key": s.need("apiKey"), "api_url": strings.TrimSuffix(s.text("apiUrl"), "v2/alerts"), "message": s.text("message"), "description": s.text("description")}
	s.flag("autoClose")
	return out
}

func telegram(s *settings) map[string]any {
	out := map[string]any{"bot_token": s.need("bottoken"), "message": s.text("message"), "parse_mode": s.text("parse_mode"), "disable_notifications": s.flag("disable_notifications")}
	id := json.Number(s.need("chatid"))
	n, err := id.Int64()
	if err != nil {
		s.fail("chatid", "found %q, allowed are numbers", id)
	}
	out["chat_id"] = n
	return out
}

func discord(s *settings) map[string]any {
	s.flag("use_discord_username")
	return map[string]any{"webhook_url": s.url(), "title": s.text("title"), "message": s.text("message"), "avatar_url": s.text("avatar_url")}
}

func teams(s *settings) map[string]any {
	s.text("sectiontitle")
	return map[string]any{"webhook_url": s.url(), "title": s.text("title"), "text": s.text("message")}
}

func pushover(s *settings) map[string]any {
	return map[string]any{"token": s.need("apiToken"), "user_key": s.need("userKey"), "title": s.text("title"), "message": s.text("message"), "device": s.text("device")}
}

func sns(s *settings) map[string]any {
	out := map[string]any{"api_url": s.text("api_url"), "topic_arn": s.text("topic_arn"), "phone_number": s.text("phone_number"), "target_arn": s.text("target_arn"),
		"subject": s.text("subject"), "message": s.text("body")}
	if first(out["topic_arn"].(string), out["phone_number"].(string), out["target_arn"].(string)) == "" {
		s.fail("topic_arn", "is missing")
	}
	s.read["sigv4"] = true
	sig, _ := s.all["sigv4"].(map[string]any)
	auth := map[string]any{}
	for _, name := range []string{"region", "access_key", "secret_key", "role_arn", "external_id"} {
		if v, ok := sig[name].(string); ok && v != "" {
			auth[name] = v
		}
	}
	if v, ok := sig["assume_role_arn"].(string); ok && v != "" {
		auth["role_arn"] = v
	}
	if len(auth) > 0 {
		out["sigv4"] = auth
	}
	return out
}

// EachSecret calls f with the secrets that are set; what f returns takes their place.
func (c *Contact) EachSecret(f func(name, value string) (string, error)) error {
	for _, name := range Secrets(c.Type) {
		at, key := c.Settings, name
		if outer, inner, nested := strings.Cut(name, "."); nested {
			at, _ = c.Settings[outer].(map[string]any)
			key = inner
		}
		text, ok := at[key].(string)
		if !ok || text == "" {
			continue
		}
		out, err := f(name, text)
		if err != nil {
			return err
		}
		at[key] = out
	}
	return nil
}
