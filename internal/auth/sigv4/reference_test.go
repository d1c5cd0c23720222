package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// This file is Signature Version 4 written once more, from the specification
// and for clarity, sharing nothing with the verifier. What the verifier does is
// held against it.

var refSpaces = regexp.MustCompile(` +`)

// refPath is the canonical URI: normalised if asked for, then each segment
// percent-encoded again.
func refPath(raw string, normalize bool) string {
	segments := strings.Split(raw, "/")
	if normalize {
		var kept []string
		for _, s := range segments {
			if s == ".." && len(kept) > 0 {
				kept = kept[:len(kept)-1]
			} else if s != "" && s != "." && s != ".." {
				kept = append(kept, s)
			}
		}
		last := segments[len(segments)-1]
		segments = append([]string{""}, kept...)
		if len(kept) == 0 || last == "" || last == "." || last == ".." {
			segments = append(segments, "")
		}
	}
	for i, s := range segments {
		segments[i] = refEscape(s)
	}
	return strings.Join(segments, "/")
}

// refEscape is RFC 3986 percent-encoding of everything but unreserved bytes.
func refEscape(s string) string {
	return strings.NewReplacer("+", "%20", "%7E", "~").Replace(url.QueryEscape(s))
}

var refValidEscape = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

func refUnescape(s string) string {
	s = strings.ReplaceAll(s, "+", " ")
	return refValidEscape.ReplaceAllStringFunc(s, func(e string) string {
		b, _ := hex.DecodeString(e[1:])
		return string(b)
	})
}

func refQuery(raw string, presigned bool) string {
	var pairs [][2]string
	for _, part := range strings.Split(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		pair := [2]string{refEscape(refUnescape(name)), refEscape(refUnescape(value))}
		if !presigned || pair[0] != "X-Amz-Signature" {
			pairs = append(pairs, pair)
		}
	}
	sort.Slice(pairs, func(i, j int) bool {
		if pairs[i][0] != pairs[j][0] {
			return pairs[i][0] < pairs[j][0]
		}
		return pairs[i][1] < pairs[j][1]
	})
	out := make([]string, 0, len(pairs))
	for _, p := range pairs {
		out = append(out, p[0]+"="+p[1])
	}
	return strings.Join(out, "&")
}

// refRequest is what a client signs, in the parts of its choosing.
type refRequest struct {
	method, host, path, query string
	header                    http.Header
	names                     []string
	hash                      string
	secret, stamp             string
	region, service           string
}

func (q refRequest) canonical() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n", q.method, q.path, q.query)
	for _, name := range q.names {
		values := q.header.Values(name)
		if name == "host" {
			values = []string{q.host}
		}
		trimmed := make([]string, len(values))
		for i, v := range values {
			trimmed[i] = refSpaces.ReplaceAllString(strings.Trim(v, " \t"), " ")
		}
		fmt.Fprintf(&b, "%s:%s\n", name, strings.Join(trimmed, ","))
	}
	fmt.Fprintf(&b, "\n%s\n%s", strings.Join(q.names, ";"), q.hash)
	return b.String()
}

func (q refRequest) scope() string {
	return q.stamp[:8] + "/" + q.region + "/" + q.service + "/aws4_request"
}

func (q refRequest) signature() string {
	sum := sha256.Sum256([]byte(q.canonical()))
	key := []byte("AWS4" + q.secret)
	toSign := "AWS4-HMAC-SHA256\n" + q.stamp + "\n" + q.scope() + "\n" + hex.EncodeToString(sum[:])
	for _, part := range append(strings.Split(q.scope(), "/"), toSign) {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(part))
		key = m.Sum(nil)
	}
	return hex.EncodeToString(key)
}

func (q refRequest) authorization(key string) string {
	return "AWS4-HMAC-SHA256 Credential=" + key + "/" + q.scope() + ", SignedHeaders=" + strings.Join(q.names, ";") + ", Signature=" + q.signature()
}

func FuzzCanonical(f *testing.F) {
	f.Add("/a/../b//c%2f/.", "b=2&a=%zz&c+d&=&a=1", "  a   b ")
	f.Add("//..//", "X-Amz-Signature=1&x&&=", "\t")
	f.Add("/ሴ%3A%", "ሴ=bar&a=b=c&%58-Amz-Signature=2", "")
	f.Fuzz(func(t *testing.T, path, query, value string) {
		path = "/" + path
		r := &http.Request{Method: "GET", Host: "h.example", RequestURI: path, URL: &url.URL{RawQuery: query},
			Header: http.Header{"X-Test-Value": {value, "b"}}}
		if strings.ContainsAny(path, "?") {
			t.Skip()
		}
		n := NormalizePath(path)
		if again := NormalizePath(n); again != n {
			t.Fatalf("normalising %q gives %q and then %q", path, n, again)
		}
		if strings.Contains(n, "//") || strings.Contains(n+"/", "/../") || strings.Contains(n+"/", "/./") || n[0] != '/' {
			t.Fatalf("%q is not normal", n)
		}
		for _, presigned := range []bool{false, true} {
			p := &Parsed{SignedHeaders: []string{"host", "x-test-value"}, Presigned: presigned}
			ref := refRequest{method: "GET", host: "h.example", path: refPath(path, true), query: refQuery(query, presigned),
				header: r.Header, names: p.SignedHeaders, hash: emptyHash}
			var s scratch
			s.prepare(r, p)
			require.Equal(t, ref.canonical(), string(s.canonicalRequest(r, strictForm(r), emptyHash)))
			require.Equal(t, refQuery(query, presigned), refQuery(string(s.canonicalQuery(query, presigned)), presigned), "canonical forms stay what they are")
		}
	})
}

func FuzzHMAC(f *testing.F) {
	f.Add([]byte("key"), []byte("data"))
	f.Add([]byte{}, make([]byte, 300))
	f.Fuzz(func(t *testing.T, key, data []byte) {
		key = key[:min(len(key), sha256.BlockSize)]
		m := hmac.New(sha256.New, key)
		m.Write(data)
		got := hmacSHA256(key, data)
		require.Equal(t, m.Sum(nil), got[:])
	})
}

func TestDeriveKeyOfAnyLength(t *testing.T) {
	for n := range 100 {
		secret := strings.Repeat("s", n)
		key := []byte("AWS4" + secret)
		for _, part := range []string{"20150830", "us-east-1", "aps", "aws4_request"} {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(part))
			key = m.Sum(nil)
		}
		got := deriveKey(secret, "20150830", "us-east-1", "aps")
		require.Equal(t, key, got[:])
	}
}
