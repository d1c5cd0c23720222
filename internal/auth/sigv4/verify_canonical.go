package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// form is one way a client may have written down path and query.
type form struct {
	path, query string
	needs       []Tolerance
}

// forms lists the canonical forms to try: the rules' first, then those that
// the tolerances allow, without repeating any.
func (v *Verifier) forms(r *http.Request, p *Parsed) []form {
	raw, rawQuery := RawPath(r), r.URL.RawQuery
	strict := form{path: encode(NormalizePath(raw), true), query: canonicalQuery(rawQuery, p.Presigned)}
	out := []form{strict}
	paths := []string{strict.path}
	if v.tolerates(ToleratePath) {
		for _, s := range []string{encode(raw, true), raw} {
			if !slices.Contains(paths, s) {
				paths = append(paths, s)
				out = append(out, form{s, strict.query, []Tolerance{ToleratePath}})
			}
		}
	}
	if v.tolerates(TolerateQuery) && !p.Presigned && rawQuery != strict.query {
		for _, f := range slices.Clone(out) {
			out = append(out, form{f.path, rawQuery, append(slices.Clone(f.needs), TolerateQuery)})
		}
	}
	return out
}

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

// canonicalQuery decodes, re-encodes and sorts the parameters. The presigned
// form's own signature is left out.
func canonicalQuery(raw string, presigned bool) string {
	if raw == "" {
		return ""
	}
	type param struct{ name, value string }
	params := make([]param, 0, strings.Count(raw, "&")+1)
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		p := param{encode(decode(name), false), encode(decode(value), false)}
		if presigned && p.name == "X-Amz-Signature" {
			continue
		}
		params = append(params, p)
	}
	slices.SortStableFunc(params, func(a, b param) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	b.Grow(len(raw) + 16)
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name)
		b.WriteByte('=')
		b.WriteString(p.value)
	}
	return b.String()
}

// decode undoes percent-encoding and the form's plus sign. What is no valid
// escape stays as it is, to be encoded again.
func decode(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			out = append(out, byte(unhex(s[i+1])<<4|unhex(s[i+2])))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
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

// encode percent-encodes every byte but the unreserved ones, and slashes if
// they are to be kept.
func encode(s string, keepSlash bool) string {
	const digits = "0123456789ABCDEF"
	plain := func(c byte) bool {
		return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' ||
			c == '-' || c == '.' || c == '_' || c == '~' || keepSlash && c == '/'
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if !plain(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	out := make([]byte, 0, len(s)+2*n)
	for i := 0; i < len(s); i++ {
		if c := s[i]; plain(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', digits[c>>4], digits[c&15])
		}
	}
	return string(out)
}

// headerValues returns a signed header's values in order of arrival. The server
// takes Host, and partly the two framing headers, out of the header map.
func headerValues(r *http.Request, name string) []string {
	switch name {
	case "host":
		return []string{r.Host}
	case "content-length":
		if v := r.Header.Values(name); len(v) > 0 {
			return v
		}
		if r.ContentLength >= 0 {
			return []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		return nil
	case "transfer-encoding":
		return r.TransferEncoding
	}
	return r.Header.Values(name)
}

func headerPresent(r *http.Request, name string) bool {
	if name == "host" {
		return r.Host != ""
	}
	return len(headerValues(r, name)) > 0
}

// canonicalHeaders writes the header lines, the empty line and the list of
// names, the middle part of a canonical request.
func canonicalHeaders(r *http.Request, names []string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte(':')
		for i, v := range headerValues(r, name) {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(collapse(v))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(names, ";"))
	return b.String()
}

// collapse trims a value and makes runs of spaces one.
func collapse(v string) string {
	v = strings.Trim(v, " \t")
	if !strings.Contains(v, "  ") {
		return v
	}
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == ' ' && i > 0 && v[i-1] == ' ' {
			continue
		}
		out = append(out, v[i])
	}
	return string(out)
}

func canonicalRequest(method, path, query, headers, hash string) string {
	return method + "\n" + path + "\n" + query + "\n" + headers + "\n" + hash
}

func stringToSign(p *Parsed, canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return algorithm + "\n" + p.Time.Format(timeFormat) + "\n" +
		p.Date + "/" + p.Region + "/" + p.Service + "/" + terminator + "\n" + hex.EncodeToString(sum[:])
}

func signature(key [32]byte, p *Parsed, method, path, query, headers, hash string) [32]byte {
	return hmacSHA256(key[:], stringToSign(p, canonicalRequest(method, path, query, headers, hash)))
}
