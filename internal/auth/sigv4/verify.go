package sigv4

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Key is what a key store knows about an access key.
type Key struct {
	Secret string
	// Identity is handed through to Verified; the verifier does not look at it.
	Identity any
}

// Errors that a Keys implementation answers with. Anything else is treated as
// the store having failed.
var (
	ErrUnknownKey   = errors.New("unknown access key or token")
	ErrExpiredToken = errors.New("security token expired")
	// ErrThrottled: too many unknown keys are being asked for to look at one
	// more.
	ErrThrottled = errors.New("too many unknown access keys")
)

// Keys finds the secret of an access key. The session token is what the request
// carried, "" for none; whether one is needed, and belongs to the key, is the
// store's to say.
type Keys interface {
	LookupKey(ctx context.Context, accessKeyID, sessionToken string) (Key, error)
}

// Tolerance names a deviation from the signing rules that real clients have.
type Tolerance string

// The tolerances. Each has its switch in VerifierConfig and its counter.
const (
	// ToleratePath: path signed as sent, not normalised or encoded once.
	ToleratePath Tolerance = "path"
	// TolerateQuery: query signed as sent, neither sorted nor re-encoded
	// (curl before 8.1).
	TolerateQuery Tolerance = "query"
	// TolerateToken: x-amz-security-token not among the signed headers
	// (vmagent). The token is itself authenticated.
	TolerateToken Tolerance = "token"
	// TolerateContentHash: x-amz-content-sha256 not among the signed headers
	// (awscurl). It has to equal the body's hash all the same.
	TolerateContentHash Tolerance = "content_hash"
	// TolerateHostPort: the default port, 443 or 80, signed but not sent, or
	// sent but not signed (proxies add and remove it).
	TolerateHostPort Tolerance = "host_port"
	// TolerateForwardedHost: the host that a trusted proxy says the client
	// asked for, in X-Forwarded-Host.
	TolerateForwardedHost Tolerance = "forwarded_host"
)

// AllTolerances returns every tolerance, the default of the server.
func AllTolerances() []Tolerance {
	return []Tolerance{ToleratePath, TolerateQuery, TolerateToken, TolerateContentHash, TolerateHostPort, TolerateForwardedHost}
}

// Proxies tells what trusted proxies say about a request.
type Proxies interface {
	// ForwardedHost returns the host that the client asked a trusted proxy for.
	ForwardedHost(*http.Request) (string, bool)
	// Secure reports whether the client's connection is TLS.
	Secure(*http.Request) bool
	// ClientAddr returns the address that the request came from.
	ClientAddr(*http.Request) netip.Addr
}

// VerifierConfig says what a Verifier accepts.
type VerifierConfig struct {
	// Regions lists the regions a credential may be scoped to. Required.
	Regions []string
	// GlobalServices may be signed for us-east-1 as well, wherever we are. Nil
	// means iam and sts.
	GlobalServices []string
	// Skew is how far the request's time may be from ours. Zero means 5m.
	Skew time.Duration
	// Tolerances that are on; each use is counted.
	Tolerances []Tolerance
	// AllowUnsignedPayload accepts the literal UNSIGNED-PAYLOAD as signed
	// content hash, over TLS only.
	AllowUnsignedPayload bool
	// MaxUnverified bounds the memory, in bytes, that all bodies together may
	// take whose signature can only be checked after them and whose callers
	// have not sent anything good lately. Zero means 64 MiB.
	MaxUnverified int64
	// Proxies tells what trusted proxies say about a request. Nil means there
	// are none.
	Proxies Proxies
	// Debug, where given, gets the canonical request of every signature that
	// does not fit, and the caller the id to find it by. It shows what callers
	// send in path, query and signed headers, but no token.
	Debug *slog.Logger
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Registerer takes the counters. Nil means none are kept.
	Registerer prometheus.Registerer
}

// Verifier checks Signature Version 4. It is safe for concurrent use.
type Verifier struct {
	cfg       VerifierConfig
	keys      Keys
	tolerated *prometheus.CounterVec
	refused   *prometheus.CounterVec
	cache     signingKeys
	callers   callers
	// unverified is what bodies take now that MaxUnverified bounds.
	unverified atomic.Int64
}

// NewVerifier returns a Verifier that asks keys for secrets.
func NewVerifier(cfg VerifierConfig, keys Keys) (*Verifier, error) {
	if len(cfg.Regions) == 0 {
		return nil, errors.New("signature verifier: no region to accept")
	}
	if cfg.Skew == 0 {
		cfg.Skew = 5 * time.Minute
	}
	if cfg.MaxUnverified == 0 {
		cfg.MaxUnverified = 64 << 20
	}
	if cfg.GlobalServices == nil {
		cfg.GlobalServices = []string{"iam", "sts"}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, t := range cfg.Tolerances {
		if !slices.Contains(AllTolerances(), t) {
			return nil, fmt.Errorf("signature tolerance %q: allowed are %v", t, AllTolerances())
		}
	}
	v := &Verifier{cfg: cfg, keys: keys,
		tolerated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mangru_sigv4_tolerated_total", Help: "Requests verified only thanks to a tolerance.",
		}, []string{"tolerance"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mangru_sigv4_refused_total", Help: "Requests whose signature was refused.",
		}, []string{"reason"}),
	}
	if cfg.Registerer != nil {
		for _, c := range []prometheus.Collector{v.tolerated, v.refused} {
			if err := cfg.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("register signature metrics: %w", err)
			}
		}
	}
	return v, nil
}

// Expect is what the route that the request goes to asks for.
type Expect struct {
	// Service is the signing name, such as "aps".
	Service string
	// MaxBody bounds the body in bytes as it is on the wire.
	MaxBody int64
	// MaxBodyKnob names the setting behind MaxBody in the error.
	MaxBodyKnob string
}

// Verified is the outcome of a good signature.
type Verified struct {
	AccessKeyID string
	Region      string
	Service     string
	Time        time.Time
	Presigned   bool
	// Identity is what Keys returned.
	Identity any
	// Tolerances that the request needed.
	Tolerances []Tolerance
}

// Verify checks the signature of r, whose authentication part p was read by
// Parse. It reads the whole body, at most want.MaxBody bytes, and replaces
// r.Body by a *Body over the same bytes; the caller closes that Body when the
// request is done, which gives its memory back. A signature that covers a
// content hash is checked before the body is read. Refusals are *Error.
func (v *Verifier) Verify(r *http.Request, p *Parsed, want Expect) (*Verified, error) {
	out, err := v.verify(r, p, want)
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			v.refused.WithLabelValues(string(e.Reason)).Inc()
		}
		return nil, err
	}
	for _, t := range out.Tolerances {
		v.tolerated.WithLabelValues(string(t)).Inc()
	}
	return out, nil
}

// Refused counts a request that Parse or the router refused before Verify.
func (v *Verifier) Refused(reason Reason) { v.refused.WithLabelValues(string(reason)).Inc() }

func (v *Verifier) verify(r *http.Request, p *Parsed, want Expect) (out *Verified, err error) {
	if err := v.checkScope(p, want.Service); err != nil {
		return nil, err
	}
	if err := v.checkTime(p); err != nil {
		return nil, err
	}
	used, err := v.checkSignedHeaders(r, p)
	if err != nil {
		return nil, err
	}
	claimed, err := v.claimedHash(r, p)
	if err != nil {
		return nil, err
	}
	key, err := v.keys.LookupKey(r.Context(), p.AccessKeyID, p.SessionToken)
	if err != nil {
		return nil, v.refuseKey(r, p, err)
	}
	signing := v.cache.get(p, key.Secret)

	early := claimed.signed && claimed.value != ""
	var how []Tolerance
	if early {
		if how, err = v.match(r, p, &signing, claimed.value); err != nil {
			return nil, err
		}
	}
	var room *allowance
	if !early {
		room = v.allow(r, p)
		defer room.giveBack()
	}
	hash, err := readBody(r, want, room)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = r.Body.Close() // nobody else will
		}
	}()
	if claimed.value != "" && claimed.value != unsignedPayload && claimed.value != hash {
		return nil, refuse(ReasonPayload, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if !early {
		if how, err = v.match(r, p, &signing, hash); err != nil {
			return nil, err
		}
	}
	v.callers.know(v.callerOf(r, p), v.cfg.Now())
	return &Verified{AccessKeyID: p.AccessKeyID, Region: p.Region, Service: p.Service, Time: p.Time,
		Presigned: p.Presigned, Identity: key.Identity, Tolerances: append(used, how...)}, nil
}

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// refuseKey says why there is no secret to verify with. It first verifies with a
// secret that nobody has, so that an unknown key takes the time of a wrong
// signature; neither the body nor the tolerances are worth the work.
func (v *Verifier) refuseKey(r *http.Request, p *Parsed, cause error) error {
	refusal := refuse(ReasonUnknownKey, "The security token included in the request is invalid.")
	switch {
	case errors.Is(cause, ErrThrottled):
		return refuse(ReasonThrottled, "Rate exceeded")
	case errors.Is(cause, ErrExpiredToken):
		refusal = refuse(ReasonExpiredToken, "The security token included in the request is expired")
	case !errors.Is(cause, ErrUnknownKey):
		return fmt.Errorf("look up access key: %w", cause)
	}
	dummy := v.cache.get(&Parsed{Date: p.Date, Region: p.Region, Service: p.Service}, "no such key")
	s := scratches.Get().(*scratch)
	defer s.release()
	s.prepare(r, p)
	_ = s.fits(r, p, &dummy, strictForm(r), emptyHash)
	return refusal
}

// match demands that the signature is that of the request in one of the forms
// that are accepted, and says which tolerances it needed.
func (v *Verifier) match(r *http.Request, p *Parsed, key *[sha256.Size]byte, hash string) ([]Tolerance, error) {
	how, ok := v.fit(r, p, key, hash)
	if ok {
		return how, nil
	}
	message := mismatchMessage
	if v.cfg.Debug != nil {
		message += " (log id " + v.explain(r, p, hash) + ")"
	}
	return nil, refuse(ReasonMismatch, message)
}

// fit tries the canonical forms, the strict one first, and says which
// tolerances the one that fitted needed.
func (v *Verifier) fit(r *http.Request, p *Parsed, key *[sha256.Size]byte, hash string) ([]Tolerance, bool) {
	s := scratches.Get().(*scratch)
	defer s.release()
	s.prepare(r, p)
	strict := strictForm(r)
	if s.fits(r, p, key, strict, hash) {
		return nil, true
	}
	if len(v.cfg.Tolerances) == 0 {
		return nil, false
	}
	one, two := v.otherForms(r, p, s)
	for _, f := range slices.Concat(one, two) {
		if s.fits(r, p, key, f, hash) {
			return f.needs, true
		}
	}
	for _, h := range v.otherHosts(r) {
		s.prepareHost(r, p, h.name)
		for _, f := range append([]form{strict}, one...) {
			if s.fits(r, p, key, f, hash) {
				return slices.Concat(f.needs, h.needs), true
			}
		}
	}
	return nil, false
}

// explain logs the canonical request that was expected and returns the id of
// the log line.
func (v *Verifier) explain(r *http.Request, p *Parsed, hash string) string {
	s := scratches.Get().(*scratch)
	defer s.release()
	id := rand.Text()[:12]
	shown, secret := r.Clone(r.Context()), "[redacted]"
	if shown.Header.Get(tokenHeader) != "" {
		shown.Header.Set(tokenHeader, secret)
	}
	// The hash in the string to sign is of the real one.
	s.prepare(r, p)
	toSign := string(appendStringToSign(nil, p, s.canonicalRequest(r, strictForm(r), hash)))
	s.prepare(shown, p)
	canonical := string(s.canonicalRequest(shown, strictForm(r), hash))
	if p.SessionToken != "" {
		canonical = strings.ReplaceAll(canonical, string(appendReencoded(nil, url.QueryEscape(p.SessionToken))), secret)
	}
	v.cfg.Debug.Info("signature does not match", "log_id", id, "access_key", p.AccessKeyID,
		"canonical_request", canonical, "string_to_sign", toSign)
	return id
}

func (v *Verifier) secure(r *http.Request) bool {
	return r.TLS != nil || v.cfg.Proxies != nil && v.cfg.Proxies.Secure(r)
}

func (v *Verifier) tolerates(t Tolerance) bool { return slices.Contains(v.cfg.Tolerances, t) }

func (v *Verifier) checkScope(p *Parsed, service string) error {
	if p.Service != service {
		return refuse(ReasonService, fmt.Sprintf("Credential should be scoped to correct service: '%s'. ", service))
	}
	if p.Region == globalRegion && slices.Contains(v.cfg.GlobalServices, service) {
		return nil
	}
	if !slices.Contains(v.cfg.Regions, p.Region) {
		return refuse(ReasonRegion, fmt.Sprintf("Credential should be scoped to a valid region, not '%s'. Valid: %s. ",
			clip(p.Region), strings.Join(v.cfg.Regions, ", ")))
	}
	return nil
}

func (v *Verifier) checkTime(p *Parsed) error {
	now := v.cfg.Now().UTC()
	stamp := func(t time.Time) string { return t.UTC().Format(timeFormat) }
	skew := func() string { return fmt.Sprintf("%g min.", v.cfg.Skew.Minutes()) }
	if late := now.Add(v.cfg.Skew); p.Time.After(late) {
		return refuse(ReasonSkew, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %s)",
			stamp(p.Time), stamp(late), stamp(now), skew()))
	}
	if p.Presigned {
		if end := p.Time.Add(p.Expires); now.After(end) {
			return refuse(ReasonExpired, fmt.Sprintf("Signature expired: %s is now earlier than %s", stamp(end), stamp(now)))
		}
		return nil
	}
	if early := now.Add(-v.cfg.Skew); p.Time.Before(early) {
		return refuse(ReasonSkew, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %s)",
			stamp(p.Time), stamp(early), stamp(now), skew()))
	}
	return nil
}

// checkSignedHeaders demands the headers that have to be under the signature.
func (v *Verifier) checkSignedHeaders(r *http.Request, p *Parsed) ([]Tolerance, error) {
	signed := func(name string) bool { _, ok := slices.BinarySearch(p.SignedHeaders, name); return ok }
	if !signed("host") {
		return nil, refuse(ReasonIncomplete, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if !p.Presigned && !signed(p.dateHeader) {
		return nil, refuse(ReasonIncomplete, fmt.Sprintf("'%s' must be a 'SignedHeader' in the AWS Authorization.", p.dateHeader))
	}
	for _, name := range p.SignedHeaders {
		if !headerPresent(r, name) {
			return nil, refuse(ReasonIncomplete, fmt.Sprintf("SignedHeaders names '%s', which did not arrive with the request.", clip(name)))
		}
	}
	var used []Tolerance
	for name := range r.Header {
		if len(name) < len(amzPrefix) || !strings.EqualFold(name[:len(amzPrefix)], amzPrefix) {
			continue
		}
		lower := strings.ToLower(name)
		if signed(lower) {
			continue
		}
		var t Tolerance
		switch lower {
		case "x-amz-security-token":
			t = TolerateToken
		case "x-amz-content-sha256":
			t = TolerateContentHash
		}
		// Everything else, above all x-amz-target, says what is to be done.
		if t == "" || !v.tolerates(t) {
			return nil, refuse(ReasonIncomplete, fmt.Sprintf("The header '%s' must be a 'SignedHeader' in the AWS Authorization.", clip(lower)))
		}
		used = append(used, t)
	}
	slices.Sort(used)
	return used, nil
}

// globalRegion is what the services without regions are signed for.
const globalRegion = "us-east-1"

const tokenHeader = "X-Amz-Security-Token"

const amzPrefix = "x-amz-"

const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	streamingPrefix = "STREAMING-"
)

type contentHash struct {
	value  string // "" for none
	signed bool
}

// claimedHash reads x-amz-content-sha256 and refuses what it must not be.
func (v *Verifier) claimedHash(r *http.Request, p *Parsed) (contentHash, error) {
	values := r.Header.Values("X-Amz-Content-Sha256")
	if len(values) == 0 {
		return contentHash{}, nil
	}
	_, signed := slices.BinarySearch(p.SignedHeaders, "x-amz-content-sha256")
	h := contentHash{value: values[0], signed: signed}
	if len(values) > 1 {
		return h, refuse(ReasonPayload, "The header 'x-amz-content-sha256' must be given once.")
	}
	if h.value == unsignedPayload {
		if v.cfg.AllowUnsignedPayload && signed && v.secure(r) {
			return h, nil
		}
		return h, refuse(ReasonPayload, "UNSIGNED-PAYLOAD is not accepted here: sign the hash of the body.")
	}
	if strings.HasPrefix(h.value, streamingPrefix) {
		return h, refuse(ReasonPayload, "Chunked payload signing (STREAMING-...) is not accepted here: sign the hash of the body.")
	}
	if b, err := hex.DecodeString(h.value); err != nil || len(b) != sha256.Size || h.value != strings.ToLower(h.value) {
		return h, refuse(ReasonPayload, "The header 'x-amz-content-sha256' must be 64 lower-case hexadecimal digits.")
	}
	return h, nil
}
