// Package sources connects to the data sources of dashboard workspaces: it
// signs or authenticates, refuses addresses that no data source has a reason to
// be at, and lets only reading (and silences) through.
package sources

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// Secrets opens the sealed secrets of a data source.
type Secrets interface {
	Secrets(d *records.DataSource) (map[string]string, error)
}

// Config says what data sources may use of the server.
type Config struct {
	// OwnCredentials lets data sources be signed for with the AWS credentials
	// that the server itself has.
	OwnCredentials bool
	// Refuse are networks that no data source may be in, besides those that are
	// always refused.
	Refuse []netip.Prefix
}

// Sources keeps a connection pool for every data source.
type Sources struct {
	cfg     Config
	secrets Secrets
	log     *slog.Logger

	mu    sync.Mutex
	conns map[string]*conn
}

type conn struct {
	updated   int64
	base      *url.URL
	transport http.RoundTripper
	idle      *http.Transport
	err       error
}

// New returns connections to the data sources whose secrets are given.
func New(cfg Config, secrets Secrets, log *slog.Logger) *Sources {
	return &Sources{cfg: cfg, secrets: secrets, log: log, conns: make(map[string]*conn)}
}

// maxConns bounds how many data sources are kept connected.
const maxConns = 1000

// Close lets go of idle connections.
func (s *Sources) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, c := range s.conns {
		c.close()
		delete(s.conns, k)
	}
}

func (c *conn) close() {
	if c.idle != nil {
		c.idle.CloseIdleConnections()
	}
}

// connect returns the connection of a data source, a new one after a change.
func (s *Sources) connect(d *records.DataSource) (*conn, error) {
	key := fmt.Sprintf("%s/%d", d.WorkspaceID, d.ID)
	stamp := d.Version
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.conns[key]; c != nil {
		if c.updated == stamp {
			return c, c.err
		}
		c.close()
	}
	if len(s.conns) >= maxConns {
		for k, c := range s.conns {
			c.close()
			delete(s.conns, k)
			break
		}
	}
	c := &conn{updated: stamp}
	c.err = s.open(c, d)
	s.conns[key] = c
	return c, c.err
}

func (s *Sources) open(c *conn, d *records.DataSource) error {
	secrets, err := s.secrets.Secrets(d)
	if err != nil {
		return err
	}
	if c.base, err = url.Parse(d.URL); err != nil || c.base.Host == "" {
		return fmt.Errorf("field URL: found %q, allowed are addresses that begin with http:// or https://", d.URL)
	}
	c.idle = &http.Transport{
		DialContext: (&net.Dialer{Timeout: 10 * time.Second, Control: s.refuseAddress}).DialContext, MaxIdleConnsPerHost: 32, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 2 * time.Minute, ForceAttemptHTTP2: true, DisableCompression: true,
	}
	if c.idle.TLSClientConfig, err = tlsConfig(d, secrets); err != nil {
		return err
	}
	c.transport = &authTransport{base: c.idle, d: d, secrets: secrets}
	if isSigned(d) {
		c.transport, err = s.signed(d, secrets, c.transport)
	}
	return err
}

func (s *Sources) signed(d *records.DataSource, secrets map[string]string, base http.RoundTripper) (http.RoundTripper, error) {
	cfg := sigv4.SignConfig{
		Region: d.Text("sigV4Region"), Service: d.Text("sigV4Service", "sigv4Service"), Profile: d.Text("sigV4Profile"),
		RoleARN: d.Text("sigV4AssumeRoleArn", "assumeRoleArn"), ExternalID: d.Text("sigV4ExternalId", "externalId"),
	}
	if cfg.Service == "" {
		cfg.Service = "aps"
	}
	if t := d.Text("sigV4AuthType"); t == "keys" || (t == "" && secrets["sigV4AccessKey"] != "") {
		cfg.AccessKey, cfg.SecretKey, cfg.SessionToken = secrets["sigV4AccessKey"], secrets["sigV4SecretKey"], secrets["sigV4SessionToken"]
		if cfg.AccessKey == "" || cfg.SecretKey == "" {
			return nil, errors.New("SigV4 with keys needs the secrets sigV4AccessKey and sigV4SecretKey")
		}
	} else if !s.cfg.OwnCredentials {
		// Whoever administers a dashboard workspace must not become what the
		// server itself is.
		return nil, errors.New("SigV4 with the server's own credentials (default chain, profile, instance) is not allowed here: use access and secret key, or have the administrator set ui.own_credentials")
	}
	return sigv4.NewSigner(cfg, base)
}

func tlsConfig(d *records.DataSource, secrets map[string]string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: d.Text("serverName"), InsecureSkipVerify: d.Flag("tlsSkipVerify")} //nolint:gosec // a setting of the administrator's
	if d.Flag("tlsAuthWithCACert") {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(secrets["tlsCACert"])) {
			return nil, errors.New("secret tlsCACert: no certificate in PEM form in it")
		}
	}
	if d.Flag("tlsAuth") {
		cert, err := tls.X509KeyPair([]byte(secrets["tlsClientCert"]), []byte(secrets["tlsClientKey"]))
		if err != nil {
			return nil, errors.New("secrets tlsClientCert and tlsClientKey: no certificate with its key in PEM form in them")
		}
		cfg.Certificates = []tls.Certificate{cert}
	}
	return cfg, nil
}

// authTransport adds basic authentication and the headers of the settings.
type authTransport struct {
	base    http.RoundTripper
	d       *records.DataSource
	secrets map[string]string
}

func (t *authTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if t.d.BasicAuth {
		r.SetBasicAuth(t.d.BasicAuthUser, t.secrets["basicAuthPassword"])
	}
	for i := 1; ; i++ {
		name := t.d.Text(fmt.Sprintf("httpHeaderName%d", i))
		if name == "" {
			break
		}
		r.Header.Set(name, t.secrets[fmt.Sprintf("httpHeaderValue%d", i)])
	}
	return t.base.RoundTrip(r)
}

// refuseAddress keeps connections away from addresses that answer anybody on
// this machine with secrets: link-local ones (the metadata services of clouds)
// and those that name no single host. It sees the address after resolution.
func (s *Sources) refuseAddress(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return err
	}
	if err := CheckAddress(ip); err != nil {
		return err
	}
	for _, p := range s.cfg.Refuse {
		if p.Contains(ip.Unmap().WithZone("")) {
			return &AddressError{ip, "the setting ui.refuse_addresses has it"}
		}
	}
	return nil
}

// AddressError says that an address may not be called.
type AddressError struct {
	Address netip.Addr
	Why     string
}

// Error implements error.
func (e *AddressError) Error() string {
	return fmt.Sprintf("The address %s may not be called from here: %s.", e.Address, e.Why)
}

// CheckAddress says why an address may not be called, if so.
func CheckAddress(ip netip.Addr) error {
	ip = embedded(ip.Unmap().WithZone(""))
	if ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || metadata[ip] {
		return &AddressError{ip, "it is link-local, multicast or that of a metadata service"}
	}
	return nil
}

// embedded is the IPv4 address inside an IPv6 one that gateways translate: NAT64
// (64:ff9b::/96) and 6to4 (2002::/16).
func embedded(ip netip.Addr) netip.Addr {
	if !ip.Is6() {
		return ip
	}
	b := ip.As16()
	switch {
	case nat64.Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return ip
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96")

var metadata = map[netip.Addr]bool{
	netip.MustParseAddr("fd00:ec2::254"): true, netip.MustParseAddr("fd00:ec2::23"): true, netip.MustParseAddr("100.100.100.200"): true,
}

// readAPI lists what of the Prometheus API may be reached through a data
// source: reading, never writing or administration. silenceAPI is the part of
// the alert manager that editors may change.
var (
	readAPI    = regexp.MustCompile(`^api/v1/(query|query_range|query_exemplars|labels|label/[^/]+/values|series|metadata|rules|alerts|format_query|parse_query|cardinality/[a-z_]+|status/(buildinfo|runtimeinfo|tsdb|flags))$`)
	alertAPI   = regexp.MustCompile(`^(alertmanager/)?api/v2/(alerts|alerts/groups|silences|silence/[^/]+|receivers|status)$`)
	silenceAPI = regexp.MustCompile(`^(alertmanager/)?api/v2/(silences|silence/[^/]+)$`)
)

func allowed(method, rest string) bool {
	switch method {
	case http.MethodGet, http.MethodHead:
		return readAPI.MatchString(rest) || alertAPI.MatchString(rest)
	case http.MethodPost:
		return readAPI.MatchString(rest) || silenceAPI.MatchString(rest)
	case http.MethodDelete:
		return silenceAPI.MatchString(rest)
	default:
		return false
	}
}

// Silences reports whether a request changes what notifies people.
func Silences(method, rest string) bool {
	return method != http.MethodGet && method != http.MethodHead && silenceAPI.MatchString(rest)
}

// maxQueryBody bounds a query sent as a form.
const maxQueryBody = 1 << 20

// Proxy forwards one request to the data source. rest is the path below the data
// source's URL, still escaped as the caller sent it.
func (s *Sources) Proxy(w http.ResponseWriter, r *http.Request, d *records.DataSource, rest string) {
	clean, err := url.PathUnescape(rest)
	if err != nil || path.Clean("/"+clean) != "/"+clean || !allowed(r.Method, rest) {
		writeMessage(w, http.StatusForbidden, "this path of a data source can't be reached from here: "+rest)
		return
	}
	c, err := s.connect(d)
	if err != nil {
		writeMessage(w, http.StatusBadGateway, fmt.Sprintf("data source %s: %v", d.Name, err))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQueryBody))
	if err != nil {
		writeMessage(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a query may have at most %d bytes", maxQueryBody))
		return
	}
	out := r.Clone(r.Context())
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	p := httputil.ReverseProxy{
		Transport: c.transport,
		ErrorLog:  slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Rewrite:   func(pr *httputil.ProxyRequest) { rewrite(pr, r, c.base, rest, clean) },
		ModifyResponse: func(res *http.Response) error {
			for k := range res.Header {
				switch k {
				case "Content-Type", "Content-Length", "Content-Encoding", "Retry-After":
				default:
					res.Header.Del(k)
				}
			}
			// A refused signature must not look like a browser that is signed out,
			// and nobody is led elsewhere.
			if res.StatusCode == http.StatusUnauthorized || (res.StatusCode >= 300 && res.StatusCode < 400) {
				res.StatusCode = http.StatusBadGateway
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the browser went away
			}
			writeMessage(w, http.StatusBadGateway, fmt.Sprintf("data source %s did not answer: %v", d.Name, err))
		},
	}
	p.ServeHTTP(w, out)
}

// rewrite aims a request at the data source. Only what the query needs goes on:
// no cookies, no browser identity.
func rewrite(pr *httputil.ProxyRequest, r *http.Request, base *url.URL, rest, clean string) {
	u := base.JoinPath("/")
	u.RawPath = u.EscapedPath() + rest
	u.Path += clean
	u.RawQuery = r.URL.RawQuery
	pr.Out.URL, pr.Out.Host = u, u.Host
	h := http.Header{}
	for _, k := range []string{"Accept", "Content-Type", "Accept-Encoding"} {
		if v := r.Header.Get(k); v != "" {
			h.Set(k, v)
		}
	}
	pr.Out.Header = h
}

// maxAnswer bounds what is read of an answer that is turned into frames.
const maxAnswer = 64 << 20

// Query calls the Prometheus API of a data source.
func (s *Sources) Query(ctx context.Context, d *records.DataSource, op string, form map[string]string) (int, []byte, error) {
	c, err := s.connect(d)
	if err != nil {
		return 0, nil, fmt.Errorf("data source %s: %w", d.Name, err)
	}
	values := url.Values{}
	for k, v := range form {
		values.Set(k, v)
	}
	target, body := c.base.JoinPath("api/v1", op), values.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if strings.EqualFold(d.Text("httpMethod"), http.MethodGet) {
		target.RawQuery = body
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil); err != nil {
			return 0, nil, err
		}
	}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return 0, nil, fmt.Errorf("data source %s did not answer: %w", d.Name, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return res.StatusCode, text, err
}

func writeMessage(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": text}) // a caller that left is no error of ours
}
