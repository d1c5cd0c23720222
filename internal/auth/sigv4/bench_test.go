package sigv4

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

// cpu reports the processor time of this process per operation, which other
// load on the machine disturbs less than the clock's time.
func cpu(b *testing.B, loop func()) {
	b.Helper()
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	before := used()
	loop()
	b.ReportMetric(float64(used()-before)/float64(b.N)/1000, "cpu-µs/op")
}

func BenchmarkVerify(b *testing.B) {
	for _, tc := range []struct {
		name, method, path string
		size               int
	}{
		{"get", "GET", "/workspaces/ws-1/api/v1/query?query=up&time=1", 0},
		{"get, escapes", "GET", "/workspaces/ws-1/api/v1/query_range?start=1&end=2&step=15&query=" + url.QueryEscape(`sum by (namespace) (rate(container_cpu_usage_seconds_total{image!=""}[5m]))`), 0},
		{"100 kB", "POST", "/workspaces/ws-1/api/v1/remote_write", 100_000},
	} {
		b.Run(tc.name, func(b *testing.B) {
			v := newVerifier(b, AllTolerances()...)
			body := bytes.Repeat([]byte("x"), tc.size)
			r := sdkRequest(b, tc.method, "http://h.example"+tc.path, string(body), nil)
			want := Expect{Service: "service", MaxBody: 1 << 20}
			reader := bytes.NewReader(nil)
			source := io.NopCloser(reader)
			b.ReportAllocs()
			cpu(b, func() {
				for b.Loop() {
					reader.Reset(body)
					r.Body = source
					p, err := Parse(r)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := v.Verify(r, p, want); err != nil {
						b.Fatal(err)
					}
					_ = r.Body.Close()
				}
			})
		})
	}
}

// BenchmarkHash is what the hash of a body costs by itself.
func BenchmarkHash(b *testing.B) {
	body := make([]byte, 100_000)
	cpu(b, func() {
		for b.Loop() {
			sha256.Sum256(body)
		}
	})
}

// BenchmarkRefuse is the cost of requests that are not good, which anybody can
// send.
func BenchmarkRefuse(b *testing.B) {
	worst := func(r *http.Request) {
		r.RequestURI, r.Host = "/a//b%2Fc/./d", "h.example"
		r.URL.RawQuery = "b=2&a=%zz"
		r.Header.Set("X-Forwarded-Host", "front.example")
	}
	for _, tc := range []struct {
		name   string
		want   Reason
		change func(*http.Request)
	}{
		{"unsigned", ReasonMissing, func(r *http.Request) { r.Header.Del("Authorization") }},
		{"malformed", ReasonIncomplete, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") }},
		{"unknown key", ReasonUnknownKey, func(r *http.Request) { replaceAuth(r, suiteKey, "AKIDOTHER") }},
		{"bad signature", ReasonMismatch, func(r *http.Request) { r.URL.RawQuery = "x=1" }},
		{"bad signature, all tolerances", ReasonMismatch, worst},
	} {
		b.Run(tc.name, func(b *testing.B) {
			v := newVerifier(b, AllTolerances()...)
			v.cfg.Proxies = proxies{}
			r := sdkRequest(b, "GET", "http://h.example/workspaces/ws-1/api/v1/query?query=up", "", nil)
			tc.change(r)
			want := Expect{Service: "service", MaxBody: 1 << 20}
			b.ReportAllocs()
			cpu(b, func() {
				for b.Loop() {
					p, err := Parse(r)
					if err == nil {
						r.Body = io.NopCloser(strings.NewReader(""))
						_, err = v.Verify(r, p, want)
					}
					var e *Error
					if !errors.As(err, &e) || e.Reason != tc.want {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
