package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
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
)

// AllTolerances returns every tolerance, the default of the server.
func AllTolerances() []Tolerance {
	return []Tolerance{ToleratePath, TolerateQuery, TolerateToken, TolerateContentHash}
}

// VerifierConfig says what a Verifier accepts.
type VerifierConfig struct {
	// Regions lists the regions a credential may be scoped to. Required.
	Regions []string
	// Skew is how far the request's time may be from ours. Zero means 5m.
	Skew time.Duration
	// Tolerances that are on; each use is counted.
	Tolerances []Tolerance
	// AllowUnsignedPayload accepts the literal UNSIGNED-PAYLOAD as signed
	// content hash, over TLS only.
	AllowUnsignedPayload bool
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
}

// NewVerifier returns a Verifier that asks keys for secrets.
func NewVerifier(cfg VerifierConfig, keys Keys) (*Verifier, error) {
	if len(cfg.Regions) == 0 {
		return nil, errors.New("signature verifier: no region to accept")
	}
	if cfg.Skew == 0 {
		cfg.Skew = 5 * time.Minute
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

func (v *Verifier) verify(r *http.Request, p *Parsed, want Expect) (*Verified, error) {
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
	key, keyErr := v.keys.LookupKey(r.Context(), p.AccessKeyID, p.SessionToken)
	if keyErr != nil && !errors.Is(keyErr, ErrUnknownKey) && !errors.Is(keyErr, ErrExpiredToken) {
		return nil, fmt.Errorf("look up access key: %w", keyErr)
	}
	if keyErr != nil {
		// Go on with a secret nobody has, so that an unknown key takes as
		// long as a wrong signature.
		key = Key{Secret: "no such key"}
	}
	signing := v.cache.get(p, key.Secret, keyErr == nil)

	early := claimed.signed && claimed.value != ""
	var how []Tolerance
	if early {
		if how, err = v.match(r, p, signing, claimed.value, keyErr); err != nil {
			return nil, err
		}
	}
	hash, err := readBody(r, want)
	if err != nil {
		return nil, err
	}
	if claimed.value != "" && claimed.value != unsignedPayload && claimed.value != hash {
		return nil, refuse(ReasonPayload, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if !early {
		if how, err = v.match(r, p, signing, hash, keyErr); err != nil {
			return nil, err
		}
	}
	return &Verified{AccessKeyID: p.AccessKeyID, Region: p.Region, Service: p.Service, Time: p.Time,
		Presigned: p.Presigned, Identity: key.Identity, Tolerances: append(used, how...)}, nil
}

// match tries the canonical forms, the strict one first, and says which
// tolerances the one that fitted needed.
func (v *Verifier) match(r *http.Request, p *Parsed, signing [32]byte, hash string, keyErr error) ([]Tolerance, error) {
	headers := canonicalHeaders(r, p.SignedHeaders)
	ok := false
	var how []Tolerance
	for _, f := range v.forms(r, p) {
		want := signature(signing, p, r.Method, f.path, f.query, headers, hash)
		if subtle.ConstantTimeCompare(want[:], p.Signature[:]) == 1 {
			ok, how = true, f.needs
			break
		}
	}
	switch {
	case errors.Is(keyErr, ErrExpiredToken):
		return nil, refuse(ReasonExpiredToken, "The security token included in the request is expired")
	case keyErr != nil:
		return nil, refuse(ReasonUnknownKey, "The security token included in the request is invalid.")
	case !ok:
		return nil, refuse(ReasonMismatch, mismatchMessage)
	}
	return how, nil
}

func (v *Verifier) tolerates(t Tolerance) bool { return slices.Contains(v.cfg.Tolerances, t) }

func (v *Verifier) checkScope(p *Parsed, service string) error {
	if p.Service != service {
		return refuse(ReasonService, fmt.Sprintf("Credential should be scoped to correct service: '%s'. ", service))
	}
	if !slices.Contains(v.cfg.Regions, p.Region) {
		return refuse(ReasonRegion, fmt.Sprintf("Credential should be scoped to a valid region, not '%s'. Valid: %s. ",
			p.Region, strings.Join(v.cfg.Regions, ", ")))
	}
	return nil
}

func (v *Verifier) checkTime(p *Parsed) error {
	now := v.cfg.Now().UTC()
	stamp := func(t time.Time) string { return t.UTC().Format(timeFormat) }
	skew := fmt.Sprintf("%g min.", v.cfg.Skew.Minutes())
	if late := now.Add(v.cfg.Skew); p.Time.After(late) {
		return refuse(ReasonSkew, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %s)",
			stamp(p.Time), stamp(late), stamp(now), skew))
	}
	if p.Presigned {
		if end := p.Time.Add(p.Expires); now.After(end) {
			return refuse(ReasonSkew, fmt.Sprintf("Signature expired: %s is now earlier than %s", stamp(end), stamp(now)))
		}
		return nil
	}
	if early := now.Add(-v.cfg.Skew); p.Time.Before(early) {
		return refuse(ReasonSkew, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %s)",
			stamp(p.Time), stamp(early), stamp(now), skew))
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
			return nil, refuse(ReasonIncomplete, fmt.Sprintf("SignedHeaders names '%s', which did not arrive with the request.", name))
		}
	}
	var used []Tolerance
	for name := range r.Header {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, "x-amz-") || signed(lower) {
			continue
		}
		t := TolerateToken
		switch lower {
		case "x-amz-security-token":
		case "x-amz-content-sha256":
			t = TolerateContentHash
		default:
			return nil, refuse(ReasonIncomplete, fmt.Sprintf("The header '%s' must be a 'SignedHeader' in the AWS Authorization.", lower))
		}
		if !v.tolerates(t) {
			return nil, refuse(ReasonIncomplete, fmt.Sprintf("The header '%s' must be a 'SignedHeader' in the AWS Authorization.", lower))
		}
		used = append(used, t)
	}
	slices.Sort(used)
	return used, nil
}

const unsignedPayload = "UNSIGNED-PAYLOAD"

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
		if v.cfg.AllowUnsignedPayload && signed && r.TLS != nil {
			return h, nil
		}
		return h, refuse(ReasonPayload, "UNSIGNED-PAYLOAD is not accepted here: sign the hash of the body.")
	}
	if strings.HasPrefix(h.value, "STREAMING-") {
		return h, refuse(ReasonPayload, "Chunked payload signing (STREAMING-...) is not accepted here: sign the hash of the body.")
	}
	if b, err := hex.DecodeString(h.value); err != nil || len(b) != sha256.Size || h.value != strings.ToLower(h.value) {
		return h, refuse(ReasonPayload, "The header 'x-amz-content-sha256' must be 64 lower-case hexadecimal digits.")
	}
	return h, nil
}

// signingKeys caches the keys derived from a secret; the derivation costs four
// HMACs and holds for a day.
type signingKeys struct {
	mu sync.Mutex
	m  map[scope]derived
}

type scope struct{ accessKeyID, date, region, service string }

type derived struct {
	secret string
	key    [32]byte
}

// maxSigningKeys bounds the cache; beyond it, it starts anew.
const maxSigningKeys = 4096

func (c *signingKeys) get(p *Parsed, secret string, known bool) [32]byte {
	id := scope{p.AccessKeyID, p.Date, p.Region, p.Service}
	if !known {
		id.accessKeyID = "" // made-up ids shall not push real keys out
	}
	c.mu.Lock()
	d, ok := c.m[id]
	c.mu.Unlock()
	// The secret is compared, so that a replaced one never lives on here.
	if ok && subtle.ConstantTimeCompare([]byte(d.secret), []byte(secret)) == 1 {
		return d.key
	}
	d = derived{secret: secret, key: deriveKey(secret, p.Date, p.Region, p.Service)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxSigningKeys {
		c.m = make(map[scope]derived)
	}
	c.m[id] = d
	return d.key
}

func deriveKey(secret, date, region, service string) [32]byte {
	k := hmacSHA256([]byte("AWS4"+secret), date)
	for _, part := range []string{region, service, terminator} {
		k = hmacSHA256(k[:], part)
	}
	return k
}

func hmacSHA256(key []byte, data string) (out [32]byte) {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	h.Sum(out[:0])
	return out
}
