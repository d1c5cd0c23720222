package webidentity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"
)

// Issuer is an OpenID Connect issuer as somebody registered it.
type Issuer struct {
	// URL is the exact value of iss, such as https://host/id/ABC.
	URL string
	// ClientIDs are the audiences that tokens may be for.
	ClientIDs []string
	// KeySet is a static JWK Set. With one nothing is fetched.
	KeySet []byte
	// CAFile and CAPEM are the only authorities that may vouch for the host's
	// certificate. Neither means those of the system.
	CAFile string
	CAPEM  []byte
	// InternalURL is where discovery document and keys are fetched from, for
	// an issuer whose URL cannot be reached from here, such as the API server
	// of a cluster. The document there still has to name URL.
	InternalURL string
}

// fingerprint is equal for issuers whose keys come from the same place. Two
// accounts that register one URL with different authorities share nothing.
func (iss *Issuer) fingerprint() string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(iss.URL), iss.KeySet, []byte(iss.CAFile), iss.CAPEM, []byte(iss.InternalURL)} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return string(h.Sum(nil))
}

// Config of a Verifier. The zero value is usable.
type Config struct {
	// Leeway is how far the clocks of issuer and server may be apart. Zero
	// means 30s.
	Leeway time.Duration
	// KeysFor is how long fetched keys are used without asking again. Zero
	// means 1h.
	KeysFor time.Duration
	// StaleFor is for how much longer they are used while the issuer cannot be
	// reached. Zero means 23h, so that no key outlives its day.
	StaleFor time.Duration
	// RefreshEvery bounds how often one issuer is asked, whatever arrives.
	// Zero means 10s.
	RefreshEvery time.Duration
	// Timeout bounds one request to an issuer; a fetch takes two. Zero means
	// 4s.
	Timeout time.Duration
	// AllowAddress says which addresses may be connected to. Nil means
	// AllowPublicAndPrivate.
	AllowAddress func(netip.Addr) bool
	// TokenFiles holds, by origin such as https://kubernetes.default.svc, the
	// file with the bearer token to send there: an API server may not show its
	// keys to everybody. It is the operator's to set, never a caller's.
	TokenFiles map[string]string
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

// maxIssuers bounds the key sets in memory. The one not used for longest goes
// first.
const maxIssuers = 1024

// Verifier checks tokens, and keeps issuers' keys. It is safe for concurrent
// use. Close it.
type Verifier struct {
	cfg     Config
	fetcher *fetcher
	flights singleflight.Group
	ctx     context.Context // of fetches: they outlive the caller that began them
	cancel  context.CancelFunc
	tokens  *prometheus.CounterVec
	fetches *prometheus.CounterVec

	mu      sync.Mutex
	issuers map[string]*entry
	running sync.WaitGroup
	closed  bool
}

// entry holds one issuer's keys. Verifier.mu guards it; the set is immutable.
type entry struct {
	set     *keySet
	static  bool
	fetched time.Time // when set was
	asked   time.Time // when a fetch began last
	err     error     // how it ended
	used    time.Time
}

// New returns a Verifier.
func New(cfg Config) (*Verifier, error) {
	for _, d := range []struct {
		p *time.Duration
		v time.Duration
	}{{&cfg.Leeway, 30 * time.Second}, {&cfg.KeysFor, time.Hour}, {&cfg.StaleFor, 23 * time.Hour},
		{&cfg.RefreshEvery, 10 * time.Second}, {&cfg.Timeout, 4 * time.Second}} {
		if *d.p == 0 {
			*d.p = d.v
		}
		if *d.p < 0 {
			return nil, errors.New("web identity: a duration is negative")
		}
	}
	if cfg.AllowAddress == nil {
		cfg.AllowAddress = AllowPublicAndPrivate
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for origin := range cfg.TokenFiles {
		if u, err := checkURL(origin); err != nil || u.Path != "" {
			return nil, fmt.Errorf("web identity: token file for %q: an origin such as https://host:port is needed", origin)
		}
	}
	v := &Verifier{cfg: cfg, issuers: make(map[string]*entry),
		fetcher: &fetcher{timeout: cfg.Timeout, allow: cfg.AllowAddress, bearers: cfg.TokenFiles},
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mangru_web_identity_tokens_total", Help: "Web identity tokens by outcome of their verification.",
		}, []string{"result"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mangru_web_identity_key_fetches_total", Help: "Fetches of issuers' public keys by outcome.",
		}, []string{"result"}),
	}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	if cfg.Registerer != nil {
		for _, c := range []prometheus.Collector{v.tokens, v.fetches} {
			if err := cfg.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("register web identity metrics: %w", err)
			}
		}
	}
	return v, nil
}

// Close ends running fetches and waits for them.
func (v *Verifier) Close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.cancel()
	v.running.Wait()
}

// CheckIssuer reports what is wrong with an issuer's registration, apart from
// whether it answers.
func CheckIssuer(iss *Issuer) error {
	if u, err := checkURL(iss.URL); err != nil || u.Scheme != "https" {
		return fmt.Errorf("issuer %q: an https URL without user, query and fragment is needed", iss.URL)
	}
	if iss.InternalURL != "" {
		if _, err := checkURL(iss.InternalURL); err != nil {
			return fmt.Errorf("internal URL %q of issuer %q: %w", iss.InternalURL, iss.URL, err)
		}
	}
	return nil
}

// Refused counts a token that was refused before Verify, such as by Parse or
// because nobody registered its issuer.
func (v *Verifier) Refused(r Reason) { v.tokens.WithLabelValues(string(r)).Inc() }

// Verify checks a token against the issuer that it is expected to be from: the
// name of the issuer, the signature, then exp, nbf and iat, then that it is for
// one of the issuer's client ids. Where the token names an authorised party
// (azp) it is that which has to be a client id. Errors are *Error, or the
// context's.
func (v *Verifier) Verify(ctx context.Context, t *Token, iss Issuer) (*Claims, error) {
	c, err := v.verify(ctx, t, &iss)
	var e *Error
	switch {
	case errors.As(err, &e):
		v.tokens.WithLabelValues(string(e.Reason)).Inc()
	case err != nil:
		v.tokens.WithLabelValues("canceled").Inc()
	default:
		v.tokens.WithLabelValues("ok").Inc()
	}
	return c, err
}

func (v *Verifier) verify(ctx context.Context, t *Token, iss *Issuer) (*Claims, error) {
	if t.issuer != iss.URL {
		return nil, refuse(ReasonIssuer, "issuer is %s, expected was %s", shown(t.issuer), shown(iss.URL))
	}
	if err := CheckIssuer(iss); err != nil {
		return nil, &Error{Reason: ReasonDiscovery, text: "registration", err: err}
	}
	keys, err := v.keys(ctx, t, iss)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(keys, func(k key) bool { return t.signedBy(&k) }) {
		return nil, refuse(ReasonSignature, "signature does not match key %s", shown(t.keyID))
	}
	c, err := t.read()
	if err != nil {
		return nil, err
	}
	if err := v.checkTimes(c); err != nil {
		return nil, err
	}
	audience := c.Audience
	if c.AuthorizedParty != "" {
		audience = []string{c.AuthorizedParty}
	}
	if !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(iss.ClientIDs, a) }) {
		return nil, refuse(ReasonAudience, "audience %s is not among the client ids of %s", shown(audience[0]), shown(iss.URL))
	}
	return c, nil
}

func (v *Verifier) checkTimes(c *Claims) error {
	now := v.cfg.Now()
	switch {
	case !now.Before(c.Expires.Add(v.cfg.Leeway)):
		// Numbers as AWS has them: what a person compares with the token's.
		return refuse(ReasonExpired, "Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), c.Expires.Unix())
	case c.NotBefore.After(now.Add(v.cfg.Leeway)):
		return refuse(ReasonNotYet, "not valid before %d, now is %d", c.NotBefore.Unix(), now.Unix())
	case c.Issued.After(now.Add(v.cfg.Leeway)):
		return refuse(ReasonNotYet, "issued at %d, now is %d", c.Issued.Unix(), now.Unix())
	}
	return nil
}

// keys returns the issuer's keys that may have signed the token, and fetches
// them when they are missing, old, or do not hold the token's.
func (v *Verifier) keys(ctx context.Context, t *Token, iss *Issuer) ([]key, error) {
	id := iss.fingerprint()
	e, err := v.entry(id, iss)
	if err != nil {
		return nil, err
	}
	unknown := refuse(ReasonKey, "issuer %s has no %s key %s", shown(iss.URL), t.algorithm, shown(t.keyID))
	fresh := e.static || v.cfg.Now().Sub(e.fetched) < v.cfg.KeysFor
	if e.set != nil && fresh {
		if found := e.set.find(t); len(found) > 0 {
			return found, nil
		}
		if e.static {
			return nil, unknown
		}
	}
	switch e, err = v.refresh(ctx, id, iss); {
	case err != nil:
		return nil, err
	case e.set == nil:
		return nil, e.err
	case v.cfg.Now().Sub(e.fetched) >= v.cfg.KeysFor+v.cfg.StaleFor:
		return nil, e.err
	}
	if found := e.set.find(t); len(found) > 0 {
		return found, nil
	}
	if e.err != nil { // the key may be a new one: nobody knows until the issuer answers
		return nil, e.err
	}
	return nil, unknown
}

// entry returns a copy of what is known about the issuer.
func (v *Verifier) entry(id string, iss *Issuer) (entry, error) {
	now := v.cfg.Now()
	v.mu.Lock()
	if e, ok := v.issuers[id]; ok {
		e.used = now
		defer v.mu.Unlock()
		return *e, nil
	}
	v.mu.Unlock()
	e := entry{used: now}
	if len(iss.KeySet) > 0 {
		set, err := parseKeySet(iss.KeySet)
		if err != nil {
			return entry{}, &Error{Reason: ReasonDiscovery, text: "static key set of " + shown(iss.URL), err: err}
		}
		e.set, e.static = set, true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.issuers[id]; !ok {
		v.makeRoom()
		v.issuers[id] = &e
	}
	return *v.issuers[id], nil
}

func (v *Verifier) makeRoom() {
	if len(v.issuers) < maxIssuers {
		return
	}
	var oldest string
	var at time.Time
	for id, e := range v.issuers {
		if oldest == "" || e.used.Before(at) {
			oldest, at = id, e.used
		}
	}
	delete(v.issuers, oldest)
}

// refresh fetches the issuer's keys, unless that was tried a moment ago, and
// returns what is known then. Callers at the same time share one fetch. The
// error is the context's.
func (v *Verifier) refresh(ctx context.Context, id string, iss *Issuer) (entry, error) {
	copied := *iss
	done := v.flights.DoChan(id, func() (any, error) { return v.fetch(id, &copied), nil })
	select {
	case r := <-done:
		e, _ := r.Val.(entry)
		return e, nil
	case <-ctx.Done():
		return entry{}, ctx.Err()
	}
}

// fetch is one fetch of an issuer's keys, at most one every RefreshEvery, and
// what is known afterwards.
func (v *Verifier) fetch(id string, iss *Issuer) entry {
	v.mu.Lock()
	e, ok := v.issuers[id]
	if !ok { // made room for another meanwhile
		e = &entry{used: v.cfg.Now()}
		v.issuers[id] = e
	}
	now := v.cfg.Now()
	tooSoon := !e.asked.IsZero() && now.Sub(e.asked) < v.cfg.RefreshEvery
	if v.closed || tooSoon {
		if v.closed {
			e.err = refuse(ReasonUnreachable, "stopping")
		}
		defer v.mu.Unlock()
		return *e
	}
	e.asked, e.err = now, nil
	v.running.Add(1)
	v.mu.Unlock()
	defer v.running.Done()

	set, err := v.fetcher.keys(v.ctx, iss)
	result := "ok"
	if err != nil {
		result = string(ReasonUnreachable)
		var own *Error
		if errors.As(err, &own) {
			result = string(own.Reason)
		}
	}
	v.fetches.WithLabelValues(result).Inc()
	v.mu.Lock()
	defer v.mu.Unlock()
	e.err = err
	if err == nil {
		e.set, e.fetched = set, now
	}
	return *e
}
