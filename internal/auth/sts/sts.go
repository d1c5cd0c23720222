// Package sts gives temporary credentials: to users, to roles that somebody may
// assume, and to workloads that prove by a token of their cluster who they are.
//
// Credentials are not stored. All that they stand for is sealed into the
// session token, so that any replica with the same keys can open it; see
// Service.Open. The role's policies are not in it: they are read at each
// request.
//
// Every refusal is an *Error in the words of AWS. Where AWS' answer does not
// tell a role that does not exist from one that does not trust the caller, ours
// does not either.
package sts

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/policy"
	"github.com/mangru/mangru/internal/auth/webidentity"
)

// The longest sessions.
const (
	// MaxUserSession is the longest life of any credentials. Keys of the
	// Keyring have to open for as long.
	MaxUserSession     = maxUserDuration * time.Second
	defaultUserSession = 12 * time.Hour
	defaultRoleSession = time.Hour
	maxChainedSession  = time.Hour
	podSession         = 6 * time.Hour
)

// Tokens verifies web identity tokens.
type Tokens interface {
	Verify(ctx context.Context, t *webidentity.Token, iss webidentity.Issuer) (*webidentity.Claims, error)
	// Refused counts a token that did not get as far.
	Refused(r webidentity.Reason)
}

// Config of a Service.
type Config struct {
	Store  Store
	Tokens Tokens
	Keys   Keyring
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Registerer takes the metrics. Nil means none are kept.
	Registerer prometheus.Registerer
}

// Service is the token service. It is safe for concurrent use.
type Service struct {
	cfg      Config
	sealer   *sealer
	opened   opened
	trusts   policy.Cache // trust policies, by their text
	requests *prometheus.CounterVec
}

// New returns the Service.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Tokens == nil || cfg.Keys == nil {
		return nil, errors.New("sts: store, token verifier and keys are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	sealer, err := newSealer(cfg.Keys)
	if err != nil {
		return nil, err
	}
	s := &Service{cfg: cfg, sealer: sealer, requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mangru_sts_requests_total", Help: "Requests for temporary credentials by operation and outcome: ok, or the code of the refusal.",
	}, []string{"operation", "result"})}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(s.requests); err != nil {
			return nil, fmt.Errorf("register sts metrics: %w", err)
		}
	}
	return s, nil
}

// count takes the outcome of an operation.
func (s *Service) count(operation string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
		var e *Error
		if errors.As(err, &e) {
			result = e.Code
		}
	}
	s.requests.WithLabelValues(operation, result).Inc()
}

// Caller is who asks, and the condition keys of the request (aws:sourceip and
// so on, lower-case). Keys that follow from the principal are the store's to
// add.
type Caller struct {
	Principal iam.Principal
	Context   map[string][]string
}

// Credentials are temporary credentials.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	Expires         time.Time
}

// String keeps the secrets out of logs.
func (c Credentials) String() string { return "temporary credentials " + c.AccessKeyID }

// GoString keeps the secrets out of logs.
func (c Credentials) GoString() string { return c.String() }

// Session is what an operation that gives credentials answers.
type Session struct {
	Credentials Credentials
	// Principal is who the credentials stand for.
	Principal iam.Principal
	// PackedPolicySize is the part of the space for session policies and tags
	// that is used, in percent; nil where there are none.
	PackedPolicySize *int32
	// TokenSize is the length of the session token in bytes, TokenUtilization
	// the part of the longest that this is, in percent.
	TokenSize, TokenUtilization int32
}

// issue makes the credentials of p, whose Session says everything but the
// times.
func (s *Service) issue(p iam.Principal, life time.Duration, minToken int) (*Session, error) {
	now := s.cfg.Now().UTC().Truncate(time.Second)
	p.Session.Issued, p.Session.Expires = now, now.Add(life)
	packed, compressed, err := pack(p.Session)
	if err != nil {
		return nil, fmt.Errorf("pack session: %w", err)
	}
	percent := ceilPercent(len(packed), maxPacked)
	if percent > 100 {
		return nil, fail(CodePackedPolicy, "Packed size of session policies and tags consumes %d%% of allotted space.", percent)
	}
	p.AccessKeyID = newKeyID(p.AccountID)
	secret := newSecret()
	token, err := s.sealer.seal(p.AccessKeyID, encode(&p, secret, packed, compressed, minToken))
	if errors.Is(err, errTooLarge) {
		return nil, fail(CodePackedPolicy, "Session policies, tags and identity together do not fit into a session token of %d bytes.", maxToken)
	}
	if err != nil {
		return nil, err
	}
	out := &Session{Principal: p, TokenSize: int32(len(token)), TokenUtilization: ceilPercent(len(token), maxToken),
		Credentials: Credentials{AccessKeyID: p.AccessKeyID, SecretAccessKey: secret, SessionToken: token, Expires: p.Session.Expires}}
	if !emptyPack(p.Session) {
		out.PackedPolicySize = &percent
	}
	return out, nil
}

func ceilPercent(n, of int) int32 { return int32((100*n + of - 1) / of) }

// assumed is the session of a role.
func assumed(r *iam.Role, session iam.Session) iam.Principal {
	session.RoleARN, session.RoleID = r.ARN, r.ID
	p := iam.Principal{AccountID: r.AccountID, Session: &session}
	setAssumed(&p)
	return p
}

// lifetime decides how long a role's session lives.
func lifetime(r *iam.Role, asked *int32, chained bool) (time.Duration, error) {
	most := r.MaxSession
	if most == 0 {
		most = time.Hour
	}
	if asked == nil {
		return min(defaultRoleSession, most), nil
	}
	d := time.Duration(*asked) * time.Second
	switch {
	case chained && d > maxChainedSession:
		return 0, fail(CodeValidation, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	case d > most:
		return 0, fail(CodeValidation, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return d, nil
}

// sessionPolicies checks the policies that a caller passes. They may name AWS'
// managed policies and those of the role's account.
func (s *Service) sessionPolicies(ctx context.Context, account string, c *Common) (policies []string, err error) {
	size := 0
	if c.Policy != nil {
		if _, err := policy.Parse([]byte(*c.Policy), policy.Identity); err != nil {
			var bad *policy.MalformedError
			if errors.As(err, &bad) {
				return nil, fail(CodeMalformedPolicy, "%s", bad.Error())
			}
			return nil, err
		}
		policies, size = []string{*c.Policy}, len(*c.Policy)
	}
	for _, arn := range c.PolicyARNs {
		size += len(arn)
		m := policyARN().FindStringSubmatch(arn)
		if m == nil {
			return nil, fail(CodeValidation, "ARN %s is not valid.", quoted(arn))
		}
		if m[1] != "aws" && m[1] != account {
			return nil, fail(CodeValidation, "Managed session policy %s is not in the account of the role.", quoted(arn))
		}
		switch _, err := s.cfg.Store.Policy(ctx, account, arn); {
		case err != nil && !errors.Is(err, iam.ErrNoSuchEntity):
			return nil, fmt.Errorf("look up session policy: %w", err)
		case err != nil:
			return nil, fail(CodeValidation, "Managed session policy %s does not exist or is not attachable.", quoted(arn))
		}
	}
	if size > maxPolicy {
		return nil, fail(CodePackedPolicy, "Session policies have %d characters, allowed are %d.", size, maxPolicy)
	}
	return policies, nil
}

// keyEncoding is base 32 without padding.
var keyEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// temporaryPrefix begins the ids of temporary access keys.
const temporaryPrefix = "ASIA"

// newKeyID returns the id of a temporary access key. As in AWS' ids 40 of its 80
// bits are the account's number; the others are random. The id is no secret and
// need not be unique: what counts is the token.
func newKeyID(account string) string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	if n, err := strconv.ParseUint(account, 10, 40); err == nil {
		b[0] = b[0]&0x80 | byte(n>>33)
		b[1], b[2], b[3], b[4] = byte(n>>25), byte(n>>17), byte(n>>9), byte(n>>1)
		b[5] = b[5]&0x7f | byte(n<<7)
	}
	return temporaryPrefix + keyEncoding.EncodeToString(b[:])
}

// accountOfKey reads the account out of a temporary key's id.
func accountOfKey(id string) (string, bool) {
	rest, ok := strings.CutPrefix(id, temporaryPrefix)
	b, err := keyEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) != 10 {
		return "", false
	}
	n := uint64(b[0]&0x7f)<<33 | uint64(b[1])<<25 | uint64(b[2])<<17 | uint64(b[3])<<9 | uint64(b[4])<<1 | uint64(b[5])>>7
	account := fmt.Sprintf("%012d", n)
	return account, len(account) == 12
}

// newSecret returns 40 characters, 238 bits or more, without the two of base 64
// that break careless shell lines.
func newSecret() string {
	for {
		var b [30]byte
		_, _ = rand.Read(b[:]) // never fails
		if s := base64.StdEncoding.EncodeToString(b[:]); !strings.ContainsAny(s, "+/") {
			return s
		}
	}
}
