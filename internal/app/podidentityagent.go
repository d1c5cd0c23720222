package app

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/singleflight"

	"github.com/mangru/mangru/internal/auth/webidentity"
)

// podAgentConfig of a node's Pod Identity agent.
type podAgentConfig struct {
	Listen   string // host:port, link-local or loopback
	Cluster  string
	Endpoint string // of the server
	// MaxEntries bounds the credentials that are kept. Zero means 2000.
	MaxEntries int
	// MaxCalls bounds the calls to the server that run at once. Zero means 16.
	MaxCalls int
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

const (
	// maxTokenHeader bounds a request's header: a token and little else.
	maxTokenHeader = webidentity.MaxToken + 4096
	// agentCallTimeout bounds a call to the server.
	agentCallTimeout = 15 * time.Second
	// retryAfter is how long after a failed renewal the next one is tried.
	retryAfter = 30 * time.Second
	// fresh is the least that credentials are still valid when they are handed
	// out.
	fresh = 5 * time.Minute
)

// podAgent exchanges pods' tokens for credentials, and keeps these until they
// are half used up: after that they are fetched anew while the old ones go on
// being handed out where the server does not answer.
type podAgent struct {
	cfg    podAgentConfig
	host   string // that requests must be for
	client *http.Client
	logger *slog.Logger
	now    func() time.Time
	slots  chan struct{}
	calls  singleflight.Group

	answers *prometheus.CounterVec
	cached  prometheus.GaugeFunc

	mu      sync.Mutex
	entries map[tokenKey]*list.Element
	order   list.List // of *agentEntry, the last used first
}

// tokenKey is the hash of a token: tokens themselves are not kept.
type tokenKey [sha256.Size]byte

type agentEntry struct {
	key     tokenKey
	creds   agentCredentials
	renewAt time.Time
}

// agentCredentials is what SDKs read.
type agentCredentials struct {
	AccessKeyID     string    `json:"AccessKeyId"`
	SecretAccessKey string    `json:"SecretAccessKey"`
	Token           string    `json:"Token"`
	AccountID       string    `json:"AccountId"`
	Expiration      time.Time `json:"Expiration"`
}

// agentError is a refusal, as the agent answers it.
type agentError struct {
	status int
	code   string // for the metrics
	text   string
}

// Error implements error.
func (e *agentError) Error() string { return e.text }

func newPodAgent(cfg podAgentConfig, reg prometheus.Registerer, logger *slog.Logger) (*podAgent, error) {
	addr, err := netip.ParseAddrPort(cfg.Listen)
	if err != nil {
		return nil, usagef("--listen: found %q, expected an address and port such as 169.254.170.23:80", cfg.Listen)
	}
	if !nodeLocal(addr.Addr()) {
		return nil, usagef("--listen: %s can be reached from other machines; allowed are link-local and loopback addresses, and fd00:ec2::23", addr.Addr())
	}
	if cfg.Cluster == "" {
		return nil, usagef("--cluster: required")
	}
	if cfg.MaxEntries == 0 {
		cfg.MaxEntries = 2000
	}
	if cfg.MaxCalls == 0 {
		cfg.MaxCalls = 16
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	base, err := newTransport(os.Getenv("AWS_CA_BUNDLE"))
	if err != nil {
		return nil, err
	}
	a := &podAgent{cfg: cfg, host: addr.Addr().String(), client: &http.Client{Transport: base, Timeout: agentCallTimeout}, logger: logger,
		now: cfg.Now, slots: make(chan struct{}, cfg.MaxCalls), entries: make(map[tokenKey]*list.Element),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mangru_pod_identity_answers_total",
			Help: "Answers to pods by outcome: cached, fetched, stale, or the reason of the refusal."}, []string{"result"})}
	a.cached = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "mangru_pod_identity_cached", Help: "Credentials that are kept."}, func() float64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		return float64(len(a.entries))
	})
	for _, c := range []prometheus.Collector{a.answers, a.cached} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register pod identity metrics: %w", err)
		}
	}
	return a, nil
}

// nodeLocal reports whether only the machine itself reaches an address.
func nodeLocal(a netip.Addr) bool {
	return a.IsLoopback() || a.IsLinkLocalUnicast() || a == netip.MustParseAddr("fd00:ec2::23")
}

// handler answers pods, and health checks and metrics beside.
func (a *podAgent) handler(g prometheus.Gatherer) http.Handler {
	metrics := promhttp.HandlerFor(g, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/credentials":
			a.serve(w, r)
		case "/-/healthy", "/-/ready":
			_, _ = w.Write([]byte("Pod Identity agent is ready.\n"))
		case "/metrics":
			metrics.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

func (a *podAgent) serve(w http.ResponseWriter, r *http.Request) {
	creds, how, err := a.answer(r)
	if err != nil {
		var refused *agentError
		if !errors.As(err, &refused) {
			refused = &agentError{http.StatusInternalServerError, "error", "Internal error."}
		}
		a.answers.WithLabelValues(refused.code).Inc()
		a.logger.Warn("no credentials for a pod", "from", r.RemoteAddr, "err", err)
		http.Error(w, refused.text, refused.status)
		return
	}
	a.answers.WithLabelValues(how).Inc()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(creds) // the pod may be gone
}

// answer finds the credentials for a request's token, and tells how.
func (a *podAgent) answer(r *http.Request) (creds agentCredentials, how string, err error) {
	if r.Method != http.MethodGet {
		return creds, "", &agentError{http.StatusMethodNotAllowed, "method", "Only GET is allowed."}
	}
	// A name that somebody pointed here could make a browser or a proxy ask.
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if strings.Trim(host, "[]") != a.host {
		return creds, "", &agentError{http.StatusForbidden, "host", "Access Denied. Called agent through invalid address, please use " + a.host + "."}
	}
	token := r.Header.Get("Authorization")
	if token == "" {
		return creds, "", &agentError{http.StatusBadRequest, "token", "Service account token cannot be empty"}
	}
	if _, err := webidentity.Parse(token); err != nil {
		return creds, "", &agentError{http.StatusBadRequest, "token", "Service account token cannot be parsed"}
	}
	key := tokenKey(sha256.Sum256([]byte(token)))
	have, renew, ok := a.lookup(key)
	if ok && !renew {
		return have, "cached", nil
	}
	creds, err = a.fetch(r.Context(), key, token)
	var refused *agentError
	switch {
	case err == nil:
		return creds, "fetched", nil
	case ok && (!errors.As(err, &refused) || refused.status >= http.StatusInternalServerError || refused.status == http.StatusTooManyRequests):
		// The server is away, or busy: what is still valid serves.
		a.postpone(key)
		return have, "stale", nil
	case ok:
		a.forget(key) // the token or the association is not good any more
	}
	return creds, "", err
}

// lookup returns the credentials that are kept for a token, and whether it is
// time to renew them.
func (a *podAgent) lookup(key tokenKey) (creds agentCredentials, renew, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.entries[key]
	if !ok {
		return creds, false, false
	}
	entry, _ := e.Value.(*agentEntry)
	now := a.now()
	if !now.Add(fresh).Before(entry.creds.Expiration) {
		a.remove(e)
		return creds, false, false
	}
	a.order.MoveToFront(e)
	return entry.creds, !now.Before(entry.renewAt), true
}

func (a *podAgent) remove(e *list.Element) {
	if entry, ok := a.order.Remove(e).(*agentEntry); ok {
		delete(a.entries, entry.key)
	}
}

func (a *podAgent) forget(key tokenKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.entries[key]; ok {
		a.remove(e)
	}
}

func (a *podAgent) postpone(key tokenKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.entries[key]; ok {
		if entry, ok := e.Value.(*agentEntry); ok {
			entry.renewAt = a.now().Add(retryAfter)
		}
	}
}

// store keeps credentials until they are half used up, a little earlier or
// later, so that the pods of a node do not renew all at once.
func (a *podAgent) store(key tokenKey, creds agentCredentials) {
	now := a.now()
	half := creds.Expiration.Sub(now) / 2
	if half <= 0 {
		return
	}
	renew := now.Add(half - time.Duration(rand.Int64N(int64(half)/10+1)))
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.entries[key]; ok {
		a.remove(e)
	}
	a.entries[key] = a.order.PushFront(&agentEntry{key, creds, renew})
	for len(a.entries) > a.cfg.MaxEntries {
		a.remove(a.order.Back())
	}
}

// fetch asks the server, once for all that ask with the same token at a time.
func (a *podAgent) fetch(ctx context.Context, key tokenKey, token string) (agentCredentials, error) {
	done := a.calls.DoChan(string(key[:]), func() (any, error) {
		select {
		case a.slots <- struct{}{}:
			defer func() { <-a.slots }()
		default:
			return nil, &agentError{http.StatusTooManyRequests, "busy", "Too many requests for credentials at once. Try again."}
		}
		// Others may wait for it: it outlives the request that began it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), agentCallTimeout)
		defer cancel()
		creds, err := a.call(ctx, token)
		if err != nil {
			return nil, err
		}
		a.store(key, creds)
		return creds, nil
	})
	select {
	case <-ctx.Done():
		return agentCredentials{}, ctx.Err()
	case res := <-done:
		creds, _ := res.Val.(agentCredentials)
		return creds, res.Err
	}
}

// call is AssumeRoleForPodIdentity, which the token itself authenticates.
func (a *podAgent) call(ctx context.Context, token string) (agentCredentials, error) {
	body, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		return agentCredentials{}, err
	}
	at := a.cfg.Endpoint + "/clusters/" + url.PathEscape(a.cfg.Cluster) + "/assume-role-for-pod-identity"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(body))
	if err != nil {
		return agentCredentials{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := a.client.Do(req)
	if err != nil {
		return agentCredentials{}, &agentError{http.StatusServiceUnavailable, "unreachable", "The server for credentials does not answer."}
	}
	defer func() { _ = res.Body.Close() }()
	const most = 256 << 10
	text, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return agentCredentials{}, &agentError{http.StatusBadGateway, "unreachable", "The answer of the server for credentials broke off."}
	}
	if res.StatusCode != http.StatusOK {
		return agentCredentials{}, refusalOf(res, text)
	}
	var out struct {
		AssumedRoleUser struct{ Arn string }
		Credentials     struct {
			AccessKeyID     string `json:"accessKeyId"`
			SecretAccessKey string `json:"secretAccessKey"`
			SessionToken    string `json:"sessionToken"`
			Expiration      float64
		}
	}
	c := &out.Credentials
	if err := json.Unmarshal(text, &out); err != nil || c.AccessKeyID == "" || c.SecretAccessKey == "" || c.SessionToken == "" {
		return agentCredentials{}, &agentError{http.StatusBadGateway, "answer", "The answer of the server for credentials has none."}
	}
	account := ""
	if parts := strings.SplitN(out.AssumedRoleUser.Arn, ":", 6); len(parts) == 6 {
		account = parts[4]
	}
	return agentCredentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, Token: c.SessionToken, AccountID: account,
		Expiration: time.UnixMilli(int64(c.Expiration * 1000)).UTC()}, nil
}

// refusalOf passes on what the server says, in the form that pods' owners know
// from Amazon's agent.
func refusalOf(res *http.Response, text []byte) *agentError {
	code, _, _ := strings.Cut(res.Header.Get("x-amzn-errortype"), ":")
	var body struct{ Message string }
	_ = json.Unmarshal(text, &body) // what is not JSON has no message
	fault := "client"
	if res.StatusCode >= http.StatusInternalServerError {
		fault = "server"
	}
	label := "refused"
	if code == "" {
		code, label = "UnknownError", "unknown"
	}
	return &agentError{res.StatusCode, label, fmt.Sprintf("[%.64s]: (%.64s): %.512s, fault: %s", res.Header.Get("x-amzn-requestid"), code, body.Message, fault)}
}
