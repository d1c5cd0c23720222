package sigv4

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// RawPath returns the path of r as the client sent it, percent-encoding and
// doubled slashes included.
func RawPath(r *http.Request) string {
	path := r.RequestURI
	if path == "" || path[0] != '/' {
		path = r.URL.EscapedPath() // made in this process, or absolute form
	} else if i := strings.IndexByte(path, '?'); i >= 0 {
		path = path[:i]
	}
	if path == "" {
		return "/"
	}
	return path
}

// NormalizePath removes empty, "." and ".." segments from an encoded path as
// the signing rules say, keeping a trailing slash. Routing goes by its result,
// so that what was verified is what is served.
func NormalizePath(raw string) string {
	if !strings.Contains(raw, "//") && !strings.Contains(raw, "/.") {
		return raw
	}
	var kept []string
	segments := strings.Split(strings.TrimPrefix(raw, "/"), "/")
	for _, s := range segments {
		switch s {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, s)
		}
	}
	out := "/" + strings.Join(kept, "/")
	if last := segments[len(segments)-1]; len(kept) > 0 && (last == "" || last == "." || last == "..") {
		out += "/"
	}
	return out
}

// scratch is memory for building canonical requests.
type scratch struct {
	request []byte // the canonical request
	query   []byte // the canonical query
	headers []byte // the canonical headers and their list
	encoded []byte // parameters before they are sorted
	params  []param
}

// param is a query parameter: encoded[name:value] is its name, encoded[value:end]
// what it is set to.
type param struct{ name, value, end int }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxPooledScratch keeps a rare huge request from staying in memory for good.
const maxPooledScratch = 64 << 10

func (s *scratch) release() {
	if cap(s.request)+cap(s.encoded) <= maxPooledScratch {
		scratches.Put(s)
	}
}

// canonicalQuery decodes, re-encodes and sorts the parameters. The presigned
// form's own signature is left out. The result is valid until the next call.
func (s *scratch) canonicalQuery(raw string, presigned bool) []byte {
	s.encoded, s.params, s.query = s.encoded[:0], s.params[:0], s.query[:0]
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		p := param{name: len(s.encoded)}
		s.encoded = appendReencoded(s.encoded, name)
		p.value = len(s.encoded)
		if presigned && string(s.encoded[p.name:]) == "X-Amz-Signature" {
			s.encoded = s.encoded[:p.name]
			continue
		}
		s.encoded = appendReencoded(s.encoded, value)
		p.end = len(s.encoded)
		s.params = append(s.params, p)
	}
	e := s.encoded
	slices.SortStableFunc(s.params, func(a, b param) int {
		if c := bytes.Compare(e[a.name:a.value], e[b.name:b.value]); c != 0 {
			return c
		}
		return bytes.Compare(e[a.value:a.end], e[b.value:b.end])
	})
	for i, p := range s.params {
		if i > 0 {
			s.query = append(s.query, '&')
		}
		s.query = append(s.query, e[p.name:p.value]...)
		s.query = append(s.query, '=')
		s.query = append(s.query, e[p.value:p.end]...)
	}
	return s.query
}

// plain reports whether a byte stands for itself in a canonical request.
func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}

func appendEscape(dst []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

// appendReencoded undoes percent-encoding and the form's plus sign and encodes
// again. What is no valid escape is taken as it is.
func appendReencoded(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			c = byte(unhex(s[i+1])<<4 | unhex(s[i+2]))
			i += 2
		}
		if plain(c) {
			dst = append(dst, c)
		} else {
			dst = appendEscape(dst, c)
		}
	}
	return dst
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// appendPath percent-encodes every byte of a path but the unreserved ones and
// slashes; what is encoded already is encoded again.
func appendPath(dst []byte, path string) []byte {
	for i := 0; i < len(path); i++ {
		if c := path[i]; plain(c) || c == '/' {
			dst = append(dst, c)
		} else {
			dst = appendEscape(dst, c)
		}
	}
	return dst
}

// headerValues returns a signed header's values in order of arrival; name is in
// lower case. The server takes Host, and partly the two framing headers, out of
// the header map.
func headerValues(r *http.Request, name string) []string {
	switch name {
	case "content-length":
		if v := r.Header["Content-Length"]; len(v) > 0 {
			return v
		}
		if r.ContentLength >= 0 {
			return []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		return nil
	case "transfer-encoding":
		return r.TransferEncoding
	}
	var stack [64]byte
	key, upper := append(stack[:0], name...), true
	for i, c := range key {
		if upper && c >= 'a' && c <= 'z' {
			key[i] = c - 'a' + 'A'
		}
		upper = c == '-'
	}
	return r.Header[string(key)]
}

func headerPresent(r *http.Request, name string) bool {
	if name == "host" {
		return r.Host != ""
	}
	return len(headerValues(r, name)) > 0
}

// appendHeaders writes the header lines, the empty line and the list of names,
// the middle part of a canonical request.
func appendHeaders(dst []byte, r *http.Request, host string, names []string) []byte {
	for _, name := range names {
		dst = append(append(dst, name...), ':')
		if name == "host" {
			dst = appendCollapsed(dst, host)
		} else {
			for i, v := range headerValues(r, name) {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = appendCollapsed(dst, v)
			}
		}
		dst = append(dst, '\n')
	}
	dst = append(dst, '\n')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ';')
		}
		dst = append(dst, name...)
	}
	return dst
}

// appendCollapsed trims a value and makes runs of spaces one.
func appendCollapsed(dst []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	for i := 0; i < len(v); i++ {
		if v[i] == ' ' && i > 0 && v[i-1] == ' ' {
			continue
		}
		dst = append(dst, v[i])
	}
	return dst
}

// form is one way a client may have written down path and query.
type form struct {
	// path, and whether it is encoded once more.
	path   string
	encode bool
	// sorted queries are decoded, encoded and sorted; others taken as sent.
	sorted bool
	needs  []Tolerance
}

// hostName is a name that the client may have called us by.
type hostName struct {
	name  string
	needs []Tolerance
}

// prepare builds what the forms of a request have in common.
func (s *scratch) prepare(r *http.Request, p *Parsed) {
	s.canonicalQuery(r.URL.RawQuery, p.Presigned)
	s.prepareHost(r, p, r.Host)
}

func (s *scratch) prepareHost(r *http.Request, p *Parsed, host string) {
	s.headers = appendHeaders(s.headers[:0], r, host, p.SignedHeaders)
}

// canonicalRequest builds the text that is hashed and signed, after prepare. It
// is valid until the next call.
func (s *scratch) canonicalRequest(r *http.Request, f form, hash string) []byte {
	b := append(append(s.request[:0], r.Method...), '\n')
	if f.encode {
		b = appendPath(b, f.path)
	} else {
		b = append(b, f.path...)
	}
	b = append(b, '\n')
	if f.sorted {
		b = append(b, s.query...)
	} else {
		b = append(b, r.URL.RawQuery...)
	}
	b = append(b, '\n')
	b = append(append(b, s.headers...), '\n')
	s.request = append(b, hash...)
	return s.request
}

// appendStringToSign writes what the signing key is applied to.
func appendStringToSign(dst []byte, p *Parsed, canonical []byte) []byte {
	sum := sha256.Sum256(canonical)
	dst = append(append(dst, algorithm...), '\n')
	dst = append(p.Time.AppendFormat(dst, timeFormat), '\n')
	for _, part := range [...]string{p.Date, p.Region, p.Service} {
		dst = append(append(dst, part...), '/')
	}
	dst = append(append(dst, terminator...), '\n')
	return hex.AppendEncode(dst, sum[:])
}

func (s *scratch) fits(r *http.Request, p *Parsed, key *[sha256.Size]byte, f form, hash string) bool {
	var stack [256]byte
	want := hmacSHA256(key[:], appendStringToSign(stack[:0], p, s.canonicalRequest(r, f, hash)))
	return subtle.ConstantTimeCompare(want[:], p.Signature[:]) == 1
}

// strictForm is what the rules ask for.
func strictForm(r *http.Request) form {
	return form{path: NormalizePath(RawPath(r)), encode: true, sorted: true}
}

// otherForms lists what the tolerances allow beyond the strict form, without
// repeating any; those with one deviation come first. The canonical query has
// been prepared.
func (v *Verifier) otherForms(r *http.Request, p *Parsed, s *scratch) (one, two []form) {
	strict, raw := strictForm(r), RawPath(r)
	unsorted := v.tolerates(TolerateQuery) && !p.Presigned && string(s.query) != r.URL.RawQuery
	if v.tolerates(ToleratePath) {
		if raw != strict.path {
			one = append(one, form{path: raw, encode: true, sorted: true, needs: []Tolerance{ToleratePath}})
		}
		if !isPlainPath(raw) {
			one = append(one, form{path: raw, sorted: true, needs: []Tolerance{ToleratePath}})
		}
	}
	if unsorted {
		for _, f := range one {
			f.sorted, f.needs = false, []Tolerance{ToleratePath, TolerateQuery}
			two = append(two, f)
		}
		strict.sorted, strict.needs = false, []Tolerance{TolerateQuery}
		one = append(one, strict)
	}
	return one, two
}

// isPlainPath reports whether encoding a path changes nothing.
func isPlainPath(path string) bool {
	for i := 0; i < len(path); i++ {
		if !plain(path[i]) && path[i] != '/' {
			return false
		}
	}
	return true
}

// otherHosts lists the names that the client may have called us by, beside the
// one that arrived.
func (v *Verifier) otherHosts(r *http.Request) []hostName {
	var out []hostName
	called := hostName{name: r.Host}
	if v.tolerates(TolerateForwardedHost) && v.cfg.Proxies != nil {
		if host, ok := v.cfg.Proxies.ForwardedHost(r); ok && host != r.Host {
			called = hostName{host, []Tolerance{TolerateForwardedHost}}
			out = append(out, called)
		}
	}
	if !v.tolerates(TolerateHostPort) {
		return out
	}
	needs := append(slices.Clip(called.needs), TolerateHostPort)
	if name, ok := cutDefaultPort(called.name); ok {
		return append(out, hostName{name, needs})
	}
	if hasPort(called.name) {
		return out
	}
	return append(out, hostName{called.name + ":443", needs}, hostName{called.name + ":80", needs})
}

func cutDefaultPort(host string) (string, bool) {
	if name, ok := strings.CutSuffix(host, ":443"); ok {
		return name, true
	}
	return strings.CutSuffix(host, ":80")
}

// hasPort tells host:port and [v6]:port from names and addresses alone.
func hasPort(host string) bool {
	return strings.LastIndexByte(host, ':') > strings.LastIndexByte(host, ']')
}
