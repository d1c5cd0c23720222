package sigv4

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
	dateFormat = "20060102"

	// Bounds on what a caller without a known key can make us look at.
	maxAuthorization = 8 << 10
	maxSignedHeaders = 64
	maxPresigned     = 7 * 24 * time.Hour
)

// Parsed is the authentication part of a request, read but not yet checked
// against a secret. Its scope tells a router which service is meant.
type Parsed struct {
	AccessKeyID string
	// Date, Region and Service are the credential's scope.
	Date, Region, Service string
	// Time is when the request was signed.
	Time time.Time
	// Presigned means the query carries the signature, for Expires after Time.
	Presigned bool
	Expires   time.Duration
	// SignedHeaders are lower-case, sorted and unique.
	SignedHeaders []string
	Signature     [32]byte
	SessionToken  string

	dateHeader string // the lower-case name of the header that Time came from
}

// Parse reads the Authorization header or the presigned query of r. It returns
// an *Error whose Reason is ReasonMissing when the request is not signed.
func Parse(r *http.Request) (*Parsed, error) {
	auth := r.Header.Values("Authorization")
	query := presignedValues(r.URL.RawQuery)
	switch {
	case len(auth) == 0 && query == nil:
		return nil, refuse(ReasonMissing, "Missing Authentication Token")
	case len(auth) > 0 && query != nil:
		return nil, refuse(ReasonIncomplete, "Only one way of authentication may be used: Authorization header or query.")
	case len(auth) > 1:
		return nil, refuse(ReasonIncomplete, "The Authorization header must be given once.")
	case query != nil:
		return parseQuery(query)
	}
	return parseHeader(r, auth[0])
}

func parseHeader(r *http.Request, auth string) (*Parsed, error) {
	p, err := parseAuthorization(auth)
	if err != nil {
		return nil, err
	}
	if p.SessionToken, err = single(r, "X-Amz-Security-Token"); err != nil {
		return nil, err
	}
	stamp, err := single(r, "X-Amz-Date")
	if err != nil {
		return nil, err
	}
	p.dateHeader = "x-amz-date"
	if stamp == "" {
		// Clients that set Date themselves sign that instead.
		p.dateHeader = "date"
		if stamp, err = single(r, "Date"); err != nil {
			return nil, err
		}
		if stamp == "" {
			return nil, refuse(ReasonIncomplete, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
		}
		if p.Time, err = http.ParseTime(stamp); err != nil {
			// Some write the basic ISO form into Date.
			p.Time, err = time.Parse(timeFormat, stamp)
		}
	} else {
		p.Time, err = time.Parse(timeFormat, stamp)
	}
	if err != nil {
		return nil, refuse(ReasonIncomplete, "Date must be in ISO-8601 'basic format', such as 20060102T150405Z.")
	}
	return p, p.checkDate()
}

func single(r *http.Request, name string) (string, error) {
	v := r.Header.Values(name)
	if len(v) > 1 {
		return "", refuse(ReasonIncomplete, fmt.Sprintf("The header '%s' must be given once.", strings.ToLower(name)))
	}
	if len(v) == 0 {
		return "", nil
	}
	return v[0], nil
}

// parseAuthorization reads the header's value: the fields in any order, with or
// without a space after the comma, each once.
func parseAuthorization(auth string) (*Parsed, error) {
	if len(auth) > maxAuthorization {
		return nil, refuse(ReasonIncomplete, fmt.Sprintf("The Authorization header is longer than %d bytes.", maxAuthorization))
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(auth), " ")
	if scheme != algorithm {
		return nil, refuse(ReasonIncomplete, "Unsupported AWS 'algorithm': the Authorization header must begin with "+algorithm+".")
	}
	fields := make(map[string]string, 3)
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return nil, refuse(ReasonIncomplete, "Not a valid key=value pair (missing equal-sign) in Authorization header.")
		}
		if _, dup := fields[name]; dup {
			return nil, refuse(ReasonIncomplete, "Authorization header names a parameter twice.")
		}
		switch name {
		case "Credential", "SignedHeaders", "Signature":
			fields[name] = value
		default:
			return nil, refuse(ReasonIncomplete, "Authorization header allows only 'Credential', 'SignedHeaders' and 'Signature'.")
		}
	}
	return fromFields(fields["Credential"], fields["SignedHeaders"], fields["Signature"], "Authorization header requires '%s' parameter.")
}

func fromFields(credential, headers, sig, missing string) (*Parsed, error) {
	for _, f := range [][2]string{{"Credential", credential}, {"Signature", sig}, {"SignedHeaders", headers}} {
		if f[1] == "" {
			return nil, refuse(ReasonIncomplete, fmt.Sprintf(missing, f[0]))
		}
	}
	p := &Parsed{}
	parts := strings.Split(credential, "/")
	if len(parts) != 5 {
		return nil, refuse(ReasonIncomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
	}
	p.AccessKeyID, p.Date, p.Region, p.Service = parts[0], parts[1], parts[2], parts[3]
	if !validKeyID(p.AccessKeyID) {
		return nil, refuse(ReasonIncomplete, "Credential names no valid access key id.")
	}
	if p.Region == "" || p.Service == "" {
		return nil, refuse(ReasonIncomplete, "Credential must be scoped to a region and a service.")
	}
	if parts[4] != terminator {
		return nil, refuse(ReasonIncomplete, "Credential should be scoped with a valid terminator: '"+terminator+"'. ")
	}
	raw, err := hex.DecodeString(sig)
	if err != nil || len(raw) != len(p.Signature) || strings.ToLower(sig) != sig {
		return nil, refuse(ReasonIncomplete, "Signature must be 64 lower-case hexadecimal digits.")
	}
	copy(p.Signature[:], raw)
	p.SignedHeaders = strings.Split(headers, ";")
	if len(p.SignedHeaders) > maxSignedHeaders {
		return nil, refuse(ReasonIncomplete, fmt.Sprintf("SignedHeaders names more than %d headers.", maxSignedHeaders))
	}
	for i, h := range p.SignedHeaders {
		if h == "" || h != strings.ToLower(h) || i > 0 && p.SignedHeaders[i-1] >= h {
			return nil, refuse(ReasonIncomplete, "SignedHeaders must be lower-case, sorted and unique.")
		}
	}
	return p, nil
}

func validKeyID(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	return !strings.ContainsFunc(id, func(c rune) bool {
		return !(c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_')
	})
}

// checkDate holds the scope's date against the signing time.
func (p *Parsed) checkDate() error {
	p.Time = p.Time.UTC()
	if day := p.Time.Format(dateFormat); day != p.Date {
		return refuse(ReasonSkew, fmt.Sprintf(
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			p.Date, day, p.Time.Format(timeFormat)))
	}
	return nil
}

// presignedNames are the query parameters of the presigned form.
var presignedNames = []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
	"X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Security-Token"}

// presignedValues returns the presigned form's parameters, or nil when the
// query has none of those that make it one.
func presignedValues(rawQuery string) url.Values {
	if !strings.Contains(rawQuery, "X-Amz-") {
		return nil
	}
	all, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil
	}
	if !all.Has("X-Amz-Algorithm") && !all.Has("X-Amz-Credential") && !all.Has("X-Amz-Signature") {
		return nil
	}
	return all
}

func parseQuery(q url.Values) (*Parsed, error) {
	for name, values := range q {
		if slices.Contains(presignedNames, name) && len(values) > 1 {
			return nil, refuse(ReasonIncomplete, fmt.Sprintf("AWS query-string parameter '%s' must be given once.", name))
		}
	}
	if a := q.Get("X-Amz-Algorithm"); a != algorithm {
		return nil, refuse(ReasonIncomplete, "Unsupported AWS 'algorithm': X-Amz-Algorithm must be "+algorithm+".")
	}
	p, err := fromFields(q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Signature"),
		"AWS query-string parameters must include 'X-Amz-%s'.")
	if err != nil {
		return nil, err
	}
	p.Presigned, p.SessionToken = true, q.Get("X-Amz-Security-Token")
	if p.Time, err = time.Parse(timeFormat, q.Get("X-Amz-Date")); err != nil {
		return nil, refuse(ReasonIncomplete, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
	}
	seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	if err != nil || seconds < 1 || time.Duration(seconds)*time.Second > maxPresigned {
		return nil, refuse(ReasonIncomplete, "X-Amz-Expires must be a number of seconds between 1 and 604800.")
	}
	p.Expires = time.Duration(seconds) * time.Second
	return p, p.checkDate()
}
