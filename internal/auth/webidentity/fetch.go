package webidentity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	discoveryPath = "/.well-known/openid-configuration"

	maxDocument  = 512 << 10 // bytes of a discovery document or key set
	maxRedirects = 3
	maxBearer    = 64 << 10 // bytes of a bearer token file
)

// AllowPublicAndPrivate is the default of Config.AllowAddress. It refuses what
// no issuer has, and where machines keep their own credentials: link-local
// (cloud metadata services), multicast and unspecified addresses.
func AllowPublicAndPrivate(a netip.Addr) bool {
	a = a.Unmap()
	metadata6 := netip.MustParseAddr("fd00:ec2::254")
	return !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified() && a != metadata6
}

// fetcher reads an issuer's documents.
type fetcher struct {
	timeout time.Duration // of one request
	allow   func(netip.Addr) bool
	bearers map[string]string // origin -> file
}

// checkURL takes https, and http on this machine (kubectl proxy).
func checkURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, errors.New("a URL of scheme, host and path is needed")
	case u.Scheme == "https":
		return u, nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return u, nil
	}
	return nil, errors.New("scheme must be https")
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// keys fetches the issuer's key set. Errors are *Error.
func (f *fetcher) keys(ctx context.Context, iss *Issuer) (*keySet, error) {
	client, err := f.client(iss)
	if err != nil {
		return nil, &Error{Reason: ReasonDiscovery, text: "issuer " + shown(iss.URL), err: err}
	}
	defer client.CloseIdleConnections()
	base := iss.URL
	if iss.InternalURL != "" {
		base = iss.InternalURL
	}
	base = strings.TrimSuffix(base, "/")
	b, err := f.get(ctx, client, base+discoveryPath)
	if err != nil {
		return nil, err
	}
	at, err := keysAddress(b, iss, base)
	if err != nil {
		return nil, &Error{Reason: ReasonDiscovery, text: "discovery document of " + shown(iss.URL), err: err}
	}
	if b, err = f.get(ctx, client, at); err != nil {
		return nil, err
	}
	set, err := parseKeySet(b)
	if err != nil {
		return nil, &Error{Reason: ReasonDiscovery, text: "key set of " + shown(iss.URL), err: err}
	}
	return set, nil
}

// keysAddress reads a discovery document (OpenID Connect Discovery 1.0, 3). The
// document has to be about the issuer by its exact name (4.3). With an internal
// address the keys are fetched there too: below it, at the path that they have
// below the issuer, or else below its host.
func keysAddress(document []byte, iss *Issuer, base string) (string, error) {
	o, err := parseObject(document)
	if err != nil {
		return "", err
	}
	name, _, err := o.str("issuer")
	if err != nil || name != iss.URL {
		return "", fmt.Errorf("is about issuer %s", shown(name))
	}
	at, _, err := o.str("jwks_uri")
	if err != nil {
		return "", err
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return "", errors.New("member jwks_uri is not a URL")
	}
	if iss.InternalURL != "" {
		below, ok := strings.CutPrefix(at, strings.TrimSuffix(iss.URL, "/")+"/")
		if !ok {
			below = strings.TrimPrefix(u.RequestURI(), "/")
		}
		return base + "/" + below, nil
	}
	if u.Scheme != "https" {
		return "", errors.New("member jwks_uri must be https")
	}
	return at, nil
}

// client makes an HTTP client for one fetch. Fetches are rare, so that no
// connection is kept.
func (f *fetcher) client(iss *Issuer) (*http.Client, error) {
	roots, err := iss.roots()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: f.timeout, Control: func(_, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !f.allow(a.Addr()) {
			return fmt.Errorf("address %s is not allowed for issuers", address)
		}
		return nil
	}}
	return &http.Client{
		Timeout: f.timeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    f.timeout,
			MaxResponseHeaderBytes: 64 << 10,
			DisableKeepAlives:      true,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return errors.New("too many redirects")
			}
			if first := via[0].URL; r.URL.Host != first.Host || r.URL.Scheme != first.Scheme {
				return errors.New("redirect to another host")
			}
			return nil
		},
	}, nil
}

// roots are the authorities that may vouch for the issuer's host, nil for those
// of the system.
func (iss *Issuer) roots() (*x509.CertPool, error) {
	if iss.CAFile == "" && len(iss.CAPEM) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if len(iss.CAPEM) > 0 && !pool.AppendCertsFromPEM(iss.CAPEM) {
		return nil, errors.New("the certificate authorities given hold no certificate")
	}
	if iss.CAFile != "" {
		b, err := os.ReadFile(iss.CAFile)
		if err != nil {
			return nil, fmt.Errorf("certificate authorities: %w", err)
		}
		if !pool.AppendCertsFromPEM(b) {
			return nil, fmt.Errorf("certificate authorities: %s holds no certificate", iss.CAFile)
		}
	}
	return pool, nil
}

// get reads one document. Failures to get it at all are ReasonUnreachable.
func (f *fetcher) get(ctx context.Context, client *http.Client, at string) ([]byte, error) {
	fail := func(err error) error {
		return &Error{Reason: ReasonUnreachable, text: "fetch " + shown(at), err: err}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, http.NoBody)
	if err != nil {
		return nil, &Error{Reason: ReasonDiscovery, text: "fetch " + shown(at), err: err}
	}
	r.Header.Set("Accept", "application/json, application/jwk-set+json")
	if file, ok := f.bearers[r.URL.Scheme+"://"+r.URL.Host]; ok {
		token, err := readBearer(file)
		if err != nil {
			return nil, fail(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, fail(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fail(fmt.Errorf("answer %d", resp.StatusCode))
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	if err != nil {
		return nil, fail(err)
	}
	if len(b) > maxDocument {
		return nil, &Error{Reason: ReasonDiscovery, text: fmt.Sprintf("fetch %s: longer than %d bytes", shown(at), maxDocument)}
	}
	return b, nil
}

// readBearer reads the file at each fetch: kubelet replaces it every hour.
func readBearer(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("bearer token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || len(token) > maxBearer || strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("bearer token: %s does not hold one token", file)
	}
	return token, nil
}
