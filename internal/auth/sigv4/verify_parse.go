package sigv4

import (
	"errors"
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
	maxHeaderFields  = 256
	maxToken         = 16 << 10
	maxQueryParams   = 4096
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
	if err := checkBounds(r); err != nil {
		return nil, err
	}
	auth := r.Header["Authorization"]
	query := presignedValues(r.URL.RawQuery)
	switch {
	case len(auth) == 0 && query == nil && isVersion2(r.URL.RawQuery):
		return nil, refuse(ReasonAlgorithm, onlyVersion4)
	case len(auth) == 0 && query == nil:
		return nil, refuse(ReasonMissing, "Missing Authentication Token")
	case len(auth) > 0 && query != nil:
		return nil, refuse(ReasonIncomplete, "Only one way of authentication may be used: Authorization header or query.")
	case len(auth) > 1:
		return nil, refuse(ReasonIncomplete, "The Authorization header must be given once.")
	case query != nil:
		return parseQuery(r, query)
	}
	return parseHeader(r, auth[0])
}

// checkBounds refuses what costs more to look at than a request may.
func checkBounds(r *http.Request) error {
	fields := 0
	for _, v := range r.Header {
		fields += len(v)
	}
	if fields > maxHeaderFields {
		return refuse(ReasonIncomplete, fmt.Sprintf("The request has more than %d header fields.", maxHeaderFields))
	}
	if strings.Count(r.URL.RawQuery, "&") >= maxQueryParams {
		return refuse(ReasonIncomplete, fmt.Sprintf("The query has more than %d parameters.", maxQueryParams))
	}
	return nil
}

func checkToken(token string) error {
	if len(token) > maxToken {
		return refuse(ReasonIncomplete, fmt.Sprintf("The security token is longer than %d bytes.", maxToken))
	}
	return nil
}

func parseHeader(r *http.Request, auth string) (*Parsed, error) {
	p, err := parseAuthorization(auth)
	if err != nil {
		return nil, err
	}
	if p.SessionToken, err = single(r, tokenHeader); err != nil {
		return nil, err
	}
	if err := checkToken(p.SessionToken); err != nil {
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
			p.Time, err = parseStamp(stamp)
		}
	} else {
		p.Time, err = parseStamp(stamp)
	}
	if err != nil {
		return nil, refuse(ReasonIncomplete, "Date must be in ISO-8601 'basic format', such as 20060102T150405Z.")
	}
	return p, p.checkDate()
}

// parseStamp reads a time in ISO 8601's basic format and nothing else: a
// fraction, which time.Parse would take, is not in the signed text.
func parseStamp(s string) (time.Time, error) {
	if len(s) != len(timeFormat) {
		return time.Time{}, errors.New("not in basic format")
	}
	return time.Parse(timeFormat, s)
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
	switch scheme {
	case algorithm:
	case "AWS", "AWS3", "AWS3-HTTPS":
		return nil, refuse(ReasonAlgorithm, onlyVersion4)
	case "AWS4-ECDSA-P256-SHA256":
		return nil, refuse(ReasonAlgorithm, noVersion4a)
	default:
		return nil, refuse(ReasonAlgorithm, "Unsupported AWS 'algorithm': the Authorization header must begin with "+algorithm+".")
	}
	var f fields
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return nil, refuse(ReasonIncomplete, "Not a valid key=value pair (missing equal-sign) in Authorization header.")
		}
		var into *string
		switch name {
		case "Credential":
			into = &f.credential
		case "SignedHeaders":
			into = &f.headers
		case "Signature":
			into = &f.signature
		default:
			return nil, refuse(ReasonIncomplete, "Authorization header allows only 'Credential', 'SignedHeaders' and 'Signature'.")
		}
		if *into != "" {
			return nil, refuse(ReasonIncomplete, "Authorization header names a parameter twice.")
		}
		*into = value
	}
	return f.parse("Authorization header requires '%s' parameter.")
}

// fields are the parts of a signature as they were sent.
type fields struct{ credential, headers, signature string }

// parse checks the form of the parts; missing is the error for one that is not
// there.
func (f fields) parse(missing string) (*Parsed, error) {
	for _, part := range [...][2]string{{"Credential", f.credential}, {"Signature", f.signature}, {"SignedHeaders", f.headers}} {
		if part[1] == "" {
			return nil, refuse(ReasonIncomplete, fmt.Sprintf(missing, part[0]))
		}
	}
	p := &Parsed{}
	if err := p.parseCredential(f.credential); err != nil {
		return nil, err
	}
	if !p.parseSignature(f.signature) {
		return nil, refuse(ReasonIncomplete, "Signature must be 64 lower-case hexadecimal digits.")
	}
	if strings.Count(f.headers, ";") >= maxSignedHeaders {
		return nil, refuse(ReasonIncomplete, fmt.Sprintf("SignedHeaders names more than %d headers.", maxSignedHeaders))
	}
	p.SignedHeaders = strings.Split(f.headers, ";")
	for i, h := range p.SignedHeaders {
		if !validHeader(h) || i > 0 && p.SignedHeaders[i-1] >= h {
			return nil, refuse(ReasonIncomplete, "SignedHeaders must be lower-case, sorted and unique.")
		}
	}
	return p, nil
}

// parseCredential reads keyid/date/region/service/aws4_request.
func (p *Parsed) parseCredential(credential string) error {
	var end string
	rest, more := credential, false
	for i, into := range [...]*string{&p.AccessKeyID, &p.Date, &p.Region, &p.Service, &end} {
		*into, rest, more = strings.Cut(rest, "/")
		if more != (i < 4) {
			return refuse(ReasonIncomplete, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
		}
	}
	if !validKeyID(p.AccessKeyID) {
		return refuse(ReasonIncomplete, "Credential names no valid access key id.")
	}
	if p.Region == "" || p.Service == "" {
		return refuse(ReasonIncomplete, "Credential must be scoped to a region and a service.")
	}
	if end != terminator {
		return refuse(ReasonIncomplete, "Credential should be scoped with a valid terminator: '"+terminator+"'. ")
	}
	return nil
}

func (p *Parsed) parseSignature(s string) bool {
	if len(s) != 2*len(p.Signature) {
		return false
	}
	for i := range p.Signature {
		hi, lo := unhex(s[2*i]), unhex(s[2*i+1])
		if hi < 0 || lo < 0 || s[2*i] >= 'A' && s[2*i] <= 'F' || s[2*i+1] >= 'A' && s[2*i+1] <= 'F' {
			return false
		}
		p.Signature[i] = byte(hi<<4 | lo)
	}
	return true
}

// validHeader reports whether s is a header's name in lower case.
func validHeader(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
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
	var stack [len(dateFormat)]byte
	if day := p.Time.AppendFormat(stack[:0], dateFormat); string(day) != p.Date {
		return refuse(ReasonSkew, fmt.Sprintf(
			"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			clip(p.Date), day, p.Time.Format(timeFormat)))
	}
	return nil
}

const (
	onlyVersion4 = "This is not a request of AWS Signature Version 4: Signature Version 2 and 3 are not accepted, sign with " + algorithm + "."
	noVersion4a  = "AWS Signature Version 4A (AWS4-ECDSA-P256-SHA256) is not accepted: sign with " + algorithm + "."
)

// isVersion2 recognises the query of Signature Version 2.
func isVersion2(rawQuery string) bool {
	return strings.Contains(rawQuery, "AWSAccessKeyId=") && strings.Contains(rawQuery, "Signature=")
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

func parseQuery(r *http.Request, q url.Values) (*Parsed, error) {
	for name, values := range q {
		if slices.Contains(presignedNames, name) && len(values) > 1 {
			return nil, refuse(ReasonIncomplete, fmt.Sprintf("AWS query-string parameter '%s' must be given once.", name))
		}
	}
	if len(r.Header[tokenHeader]) > 0 {
		return nil, refuse(ReasonIncomplete, "The security token of a presigned URL must be in the query.")
	}
	if h := q.Get("X-Amz-Content-Sha256"); h == unsignedPayload || strings.HasPrefix(h, streamingPrefix) {
		return nil, refuse(ReasonPayload, "X-Amz-Content-Sha256="+clip(h)+" is not accepted here: sign the hash of the body.")
	}
	switch a := q.Get("X-Amz-Algorithm"); a {
	case algorithm:
	case "AWS4-ECDSA-P256-SHA256":
		return nil, refuse(ReasonAlgorithm, noVersion4a)
	default:
		return nil, refuse(ReasonAlgorithm, "Unsupported AWS 'algorithm': X-Amz-Algorithm must be "+algorithm+".")
	}
	p, err := fields{q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Signature")}.parse(
		"AWS query-string parameters must include 'X-Amz-%s'.")
	if err != nil {
		return nil, err
	}
	p.Presigned, p.SessionToken = true, q.Get("X-Amz-Security-Token")
	if err := checkToken(p.SessionToken); err != nil {
		return nil, err
	}
	if p.Time, err = parseStamp(q.Get("X-Amz-Date")); err != nil {
		return nil, refuse(ReasonIncomplete, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
	}
	seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	if err != nil || seconds < 1 || time.Duration(seconds)*time.Second > maxPresigned {
		return nil, refuse(ReasonIncomplete, "X-Amz-Expires must be a number of seconds between 1 and 604800.")
	}
	p.Expires = time.Duration(seconds) * time.Second
	return p, p.checkDate()
}
