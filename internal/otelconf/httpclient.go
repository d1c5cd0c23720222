package otelconf

import (
	"net/url"
	"slices"
	"strings"

	commoncfg "github.com/prometheus/common/config"
)

// clientTuning are the fields of the collector's HTTP clients that make no
// difference here.
type clientTuning struct {
	Compression       *node `conf:"compression"`
	CompressionParams *node `conf:"compression_params"`
	ReadBuffer        *node `conf:"read_buffer_size"`
	WriteBuffer       *node `conf:"write_buffer_size"`
	MaxIdle           *node `conf:"max_idle_conns"`
	MaxIdleHost       *node `conf:"max_idle_conns_per_host"`
	MaxConns          *node `conf:"max_conns_per_host"`
	IdleTimeout       *node `conf:"idle_conn_timeout"`
	NoKeepAlive       *node `conf:"disable_keep_alives"`
	KeepAlive         *node `conf:"keepalive"`
	HTTP2Read         *node `conf:"http2_read_idle_timeout"`
	HTTP2Ping         *node `conf:"http2_ping_timeout"`
	Cookies           *node `conf:"cookies"`
	ForceHTTP2        *node `conf:"force_attempt_http2"`
	Middlewares       *node `conf:"middlewares"`
}

// topLevelClientKeys are the fields of an exporter that belong into its http block.
var topLevelClientKeys = []string{
	"endpoint", "proxy_url", "tls", "headers", "auth", "compression", "compression_params", "read_buffer_size", "write_buffer_size", "max_idle_conns",
	"max_idle_conns_per_host", "max_conns_per_host", "idle_conn_timeout", "disable_keep_alives", "keepalive", "http2_read_idle_timeout", "http2_ping_timeout",
	"cookies", "force_attempt_http2", "middlewares",
}

type tlsBody struct {
	Insecure   bool   `conf:"insecure"`
	SkipVerify bool   `conf:"insecure_skip_verify"`
	ServerName string `conf:"server_name_override"`
	CAFile     string `conf:"ca_file"`
	CertFile   string `conf:"cert_file"`
	KeyFile    string `conf:"key_file"`
	CA         string `conf:"ca_pem"`
	Cert       string `conf:"cert_pem"`
	Key        string `conf:"key_pem"`
	MinVersion string `conf:"min_version"`
	MaxVersion string `conf:"max_version"`
	Reload     *node  `conf:"reload_interval"`
	SystemCAs  *node  `conf:"include_system_ca_certs_pool"`
	Ciphers    *node  `conf:"cipher_suites"`
	Curves     *node  `conf:"curve_preferences"`
	TPM        *node  `conf:"tpm"`
}

// clientTLS applies the tls block of body, which is at path.
func (l *loader) clientTLS(c *commoncfg.HTTPClientConfig, t tlsBody, body *node, path string) {
	tls := commoncfg.TLSConfig{
		CA: t.CA, Cert: t.Cert, Key: commoncfg.Secret(t.Key), CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile,
		ServerName: t.ServerName, InsecureSkipVerify: t.SkipVerify,
	}
	for _, v := range []struct {
		key, text string
		out       *commoncfg.TLSVersion
	}{{"min_version", t.MinVersion, &tls.MinVersion}, {"max_version", t.MaxVersion, &tls.MaxVersion}} {
		version, ok := commoncfg.TLSVersions["TLS"+strings.ReplaceAll(v.text, ".", "")]
		if v.text != "" && !ok {
			n := body.at("tls", v.key)
			l.add(&Error{File: n.pos.file, Line: n.pos.line, Field: path + ".tls." + v.key, Text: "unknown TLS version", Found: v.text, Allowed: []string{"1.0", "1.1", "1.2", "1.3"}})
		}
		*v.out = version
	}
	for _, key := range []string{"cipher_suites", "curve_preferences", "tpm"} {
		if n := body.at("tls", key); !n.isNull() && (n.kind == scalar || n.children() > 0) {
			l.at(n.pos, path+".tls."+key, "is not supported: Go's own choice is used")
		}
	}
	if err := tls.Validate(); err != nil {
		l.at(body.get("tls").pos, path+".tls", "%v", err)
	}
	c.TLSConfig = tls
}

// clientProxy applies the proxy_url of body, which is at path. Without one the
// collector's clients look at HTTPS_PROXY and its like.
func (l *loader) clientProxy(c *commoncfg.HTTPClientConfig, raw string, body *node, path string) {
	if raw == "" {
		c.ProxyFromEnvironment = true
		return
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		l.at(body.get("proxy_url").pos, path+".proxy_url", "not a URL")
		return
	}
	c.ProxyURL = commoncfg.URL{URL: u}
}

// protectedHeaders are what the protocol sets itself.
var protectedHeaders = []string{"content-encoding", "content-type", "x-prometheus-remote-write-version", "user-agent", "host", "content-length"}

// headers reads headers in both of their forms: a mapping, or a list of names and
// values.
func (l *loader) headers(n *node, path string) map[string]string {
	if n.isNull() {
		return nil
	}
	headers := map[string]string{}
	if n.kind == sequence {
		var list []struct {
			Name  string `conf:"name"`
			Value string `conf:"value"`
		}
		decodeInto(n, path, &list, &l.problems)
		for _, h := range list {
			headers[h.Name] = h.Value
		}
	} else {
		decodeInto(n, path, &headers, &l.problems)
	}
	for _, name := range sortedKeys(headers) {
		if slices.Contains(protectedHeaders, strings.ToLower(name)) {
			l.warn(n.pos, join(path, name), "the header is set by the protocol, so this one is not sent")
			delete(headers, name)
		}
	}
	return headers
}
