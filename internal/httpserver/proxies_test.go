package httpserver

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseProxies(t *testing.T) {
	p, err := ParseProxies([]string{"10.0.0.0/8", "192.0.2.1", "::ffff:192.0.2.2", "fd00::/8", "10.1.2.3/8"})
	require.NoError(t, err)
	require.Len(t, p, 5)
	require.Equal(t, "10.0.0.0/8", p[4].String())
	for _, bad := range []string{"", "x", "10.0.0.0/33", "10.0.0.1:80"} {
		_, err := ParseProxies([]string{"10.0.0.1", bad})
		require.ErrorContains(t, err, "[1]")
	}
}

func TestForwarded(t *testing.T) {
	trusted, err := ParseProxies([]string{"10.0.0.0/8", "fd00::/8"})
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		remote string
		header http.Header
		tls    bool
		client string
		secure bool
		host   string
	}{
		"direct":                       {"192.0.2.1:5", nil, false, "192.0.2.1", false, ""},
		"direct over TLS":              {"192.0.2.1:5", nil, true, "192.0.2.1", true, ""},
		"stranger's claims":            {"192.0.2.1:5", http.Header{"X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"h"}}, false, "192.0.2.1", false, ""},
		"proxy":                        {"10.1.1.1:5", http.Header{"X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"h:1"}}, false, "1.2.3.4", true, "h:1"},
		"proxy without headers":        {"10.1.1.1:5", nil, false, "10.1.1.1", false, ""},
		"client lies to the proxy":     {"10.1.1.1:5", http.Header{"X-Forwarded-For": {"6.6.6.6, 1.2.3.4"}, "X-Forwarded-Host": {"lie, h"}, "X-Forwarded-Proto": {"https, http"}}, false, "1.2.3.4", false, "h"},
		"two fields":                   {"10.1.1.1:5", http.Header{"X-Forwarded-For": {"6.6.6.6", "1.2.3.4"}, "X-Forwarded-Host": {"lie", "h"}}, false, "1.2.3.4", false, "h"},
		"two proxies":                  {"10.1.1.1:5", http.Header{"X-Forwarded-For": {"6.6.6.6, 1.2.3.4, 10.2.2.2"}}, false, "1.2.3.4", false, ""},
		"proxies all the way":          {"10.1.1.1:5", http.Header{"X-Forwarded-For": {"10.3.3.3, 10.2.2.2"}}, false, "10.3.3.3", false, ""},
		"with port":                    {"10.1.1.1:5", http.Header{"X-Forwarded-For": {"1.2.3.4:99"}}, false, "1.2.3.4", false, ""},
		"IPv6":                         {"[fd00::1]:5", http.Header{"X-Forwarded-For": {"2001:db8::1"}}, false, "2001:db8::1", false, ""},
		"IPv4 in IPv6":                 {"[::ffff:10.1.1.1]:5", http.Header{"X-Forwarded-For": {"::ffff:1.2.3.4"}}, false, "1.2.3.4", false, ""},
		"garbage before":               {"10.1.1.1:5", http.Header{"X-Forwarded-For": {"x, 10.2.2.2"}}, false, "10.2.2.2", false, ""},
		"garbage":                      {"10.1.1.1:5", http.Header{"X-Forwarded-For": {"<script>"}}, false, "10.1.1.1", false, ""},
		"no address of the connection": {"pipe", http.Header{"X-Forwarded-For": {"1.2.3.4"}, "X-Forwarded-Host": {"h"}}, false, "invalid IP", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tc.remote, Header: tc.header}
			if tc.tls {
				r.TLS = &tls.ConnectionState{}
			}
			require.Equal(t, tc.client, trusted.ClientAddr(r).String())
			require.Equal(t, tc.secure, trusted.Secure(r))
			host, ok := trusted.ForwardedHost(r)
			require.Equal(t, tc.host, host)
			require.Equal(t, tc.host != "", ok)
			none, ok := Proxies(nil).ForwardedHost(r)
			require.False(t, ok || none != "")
		})
	}
}

func TestNotes(t *testing.T) {
	p, v := Notes(t.Context(), "reason")
	require.Empty(t, p+v)
}
