package webidentity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixture struct {
	*Verifier
	clock clock
	key   signer
	iss   *issuer
}

func setup(t *testing.T, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{clock: newClock(), key: newSigner(t, "k1", "RS256")}
	f.iss = newIssuer(t, f.key)
	cfg := Config{Now: f.clock.now}
	for _, c := range change {
		c(&cfg)
	}
	var err error
	f.Verifier, err = New(cfg)
	require.NoError(t, err)
	t.Cleanup(f.Verifier.Close)
	return f
}

func (f *fixture) token(t *testing.T) string {
	return compact(t, f.key, f.key.header(), f.iss.claims(f.clock.now()))
}

func (f *fixture) check(raw string, iss Issuer) (*Claims, error) {
	tok, err := Parse(raw)
	if err != nil {
		return nil, err
	}
	return f.Verify(context.Background(), tok, iss)
}

func requireReason(t *testing.T, want Reason, err error) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Reason, "%v", err)
}

func TestVerify(t *testing.T) {
	f := setup(t)
	c, err := f.check(f.token(t), f.iss.registered())
	require.NoError(t, err)
	require.Equal(t, subject, c.Subject)
	require.Equal(t, []string{"sts.amazonaws.com"}, c.Audience)
	require.Equal(t, f.iss.URL, c.Issuer)
	require.Equal(t, f.clock.now().Add(time.Hour).Unix(), c.Expires.Unix())
	require.JSONEq(t, `"b1d6"`, string(c.Member("jti")))
	k, ok := c.Kubernetes()
	require.True(t, ok)
	require.Equal(t, Kubernetes{Namespace: "prometheus", ServiceAccount: "amp-irsa-role", ServiceAccountUID: "u1",
		Pod: "collector-0", PodUID: "u2", Node: "n1"}, k)
	// Keys are fetched once.
	_, err = f.check(f.token(t), f.iss.registered())
	require.NoError(t, err)
	require.EqualValues(t, 1, f.iss.keyFetches.Load())
}

func TestKubernetesClaimHasToAgreeWithSubject(t *testing.T) {
	f := setup(t)
	c, err := f.check(compact(t, f.key, f.key.header(), with(f.iss.claims(f.clock.now()), "sub", "system:serviceaccount:kube-system:admin")), f.iss.registered())
	require.NoError(t, err)
	_, ok := c.Kubernetes()
	require.False(t, ok)
}

func TestAlgorithms(t *testing.T) {
	f := setup(t)
	var keys []signer
	for alg := range algorithms {
		keys = append(keys, newSigner(t, "key-"+alg, alg))
	}
	f.iss.set(func() { f.iss.keys = keys })
	for _, k := range keys {
		raw := compact(t, k, k.header(), f.iss.claims(f.clock.now()))
		_, err := f.check(raw, f.iss.registered())
		require.NoError(t, err, k.alg)

		// One bit of the signature, and one of what it is over.
		dot := strings.LastIndexByte(raw, '.')
		sig, err := decodeSegment(raw[dot+1:])
		require.NoError(t, err)
		sig[len(sig)/2] ^= 1
		_, err = f.check(raw[:dot+1]+b64(sig), f.iss.registered())
		requireReason(t, ReasonSignature, err)
		payload := strings.Split(raw, ".")[1]
		b, err := decodeSegment(payload)
		require.NoError(t, err)
		other := strings.Replace(string(b), "collector-0", "collector-1", 1)
		require.NotEqual(t, string(b), other)
		_, err = f.check(strings.Replace(raw, payload, b64([]byte(other)), 1), f.iss.registered())
		requireReason(t, ReasonSignature, err)

		// The key of one algorithm is not for another.
		for _, other := range keys {
			if other.alg == k.alg {
				continue
			}
			_, err := f.check(compact(t, k, members{"alg": other.alg, "kid": k.id}, f.iss.claims(f.clock.now())), f.iss.registered())
			requireReason(t, ReasonKey, err)
		}
	}
}

// TestRefusals has a good token but for one thing.
func TestRefusals(t *testing.T) {
	f := setup(t)
	now := f.clock.now()
	claims, header := f.iss.claims(now), f.key.header()
	stranger := newSigner(t, "k1", "RS256")
	public, err := x509.MarshalPKIXPublicKey(f.key.private.Public())
	require.NoError(t, err)
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	part := func(v any) string { b, _ := json.Marshal(v); return b64(b) }
	hs := func(alg string, secret []byte) string {
		signed := part(members{"alg": alg, "kid": "k1"}) + "." + part(claims)
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(signed))
		return signed + "." + b64(m.Sum(nil))
	}
	signed := func(header, claims any) string { return compact(t, f.key, header, claims) }
	good := signed(header, claims)
	_, err = f.check(good, f.iss.registered())
	require.NoError(t, err)
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, tc := range []struct {
		name string
		raw  string
		want Reason
	}{
		{"empty", "", ReasonMalformed},
		{"two parts", strings.Join(strings.Split(good, ".")[:2], "."), ReasonMalformed},
		{"four parts", good + ".AAAA", ReasonMalformed},
		{"no signature", good[:strings.LastIndexByte(good, '.')+1], ReasonMalformed},
		{"padded", good + "=", ReasonMalformed},
		{"standard alphabet", strings.Replace(good, "_", "/", 1) + "+", ReasonMalformed},
		{"line break", good[:20] + "\n" + good[20:], ReasonMalformed},
		{"unused bits set", good[:len(good)-1] + string(good[len(good)-1]+1), ReasonMalformed},
		{"too long", good + strings.Repeat("A", MaxToken), ReasonMalformed},
		{"header twice", signed(`{"alg":"RS256","kid":"k1","kid":"k2"}`, claims), ReasonMalformed},
		{"issuer twice, escaped", signed(header, `{"iss":"`+f.iss.URL+`","\u0069ss":"x"}`), ReasonMalformed},
		{"inner member twice", signed(header, `{"iss":"a","kubernetes.io":{"namespace":"a","namespace":"b"}}`), ReasonMalformed},
		{"text after claims", signed(header, `{"iss":"a"}{}`), ReasonMalformed},
		{"deep", signed(header, `{"iss":"a","x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+"}"), ReasonMalformed},
		{"not UTF-8", signed(header, "{\"iss\":\"\xff\"}"), ReasonMalformed},
		{"claims null", signed(header, "null"), ReasonMalformed},
		{"claims list", signed(header, "[]"), ReasonMalformed},
		{"alg none", part(members{"alg": "none"}) + "." + part(claims) + ".AAAA", ReasonAlgorithm},
		{"alg None", part(members{"alg": "None", "kid": "k1"}) + "." + part(claims) + ".AAAA", ReasonAlgorithm},
		{"alg none without signature", part(members{"alg": "none"}) + "." + part(claims) + ".", ReasonAlgorithm},
		{"alg missing", signed(members{"kid": "k1"}, claims), ReasonAlgorithm},
		{"alg a number", signed(members{"alg": 1, "kid": "k1"}, claims), ReasonMalformed},
		{"alg in other case", signed(members{"alg": "rs256", "kid": "k1"}, claims), ReasonAlgorithm},
		{"header ALG", signed(members{"ALG": "RS256", "kid": "k1"}, claims), ReasonAlgorithm},
		{"HS256 with the public key", hs("HS256", publicPEM), ReasonAlgorithm},
		{"HS256 with the public key, DER", hs("HS256", public), ReasonAlgorithm},
		{"RS256 that is an HMAC", hs("RS256", publicPEM), ReasonSignature},
		{"crit", signed(with(header, "crit", []string{"exp"}), claims), ReasonAlgorithm},
		{"crit empty", signed(with(header, "crit", []string{}), claims), ReasonAlgorithm},
		{"other key of same id", compact(t, stranger, header, claims), ReasonSignature},
		{"kid unknown", signed(with(header, "kid", "k2"), claims), ReasonKey},
		{"kid empty", signed(with(header, "kid", ""), claims), ReasonKey},
		{"kid a path", signed(with(header, "kid", "../../../dev/null"), claims), ReasonKey},
		{"kid SQL", signed(with(header, "kid", "k1' OR '1'='1"), claims), ReasonKey},
		{"kid long", signed(with(header, "kid", strings.Repeat("k", 300)), claims), ReasonMalformed},
		{"kid a list", signed(with(header, "kid", []string{"k1"}), claims), ReasonMalformed},
		{"own key in jwk", compact(t, stranger, with(header, "jwk", stranger.jwk()), claims), ReasonSignature},
		{"iss other", signed(header, with(claims, "iss", "https://other.example")), ReasonIssuer},
		{"iss with slash", signed(header, with(claims, "iss", f.iss.URL+"/")), ReasonIssuer},
		{"iss in upper case", signed(header, with(claims, "iss", strings.ToUpper(f.iss.URL))), ReasonIssuer},
		{"iss missing", signed(header, with(claims, "iss", nil)), ReasonClaim},
		{"iss a list", signed(header, with(claims, "iss", []string{f.iss.URL})), ReasonClaim},
		{"ISS", signed(header, with(with(claims, "iss", nil), "ISS", f.iss.URL)), ReasonClaim},
		{"sub missing", signed(header, with(claims, "sub", nil)), ReasonClaim},
		{"sub a number", signed(header, with(claims, "sub", 7)), ReasonClaim},
		{"aud missing", signed(header, with(claims, "aud", nil)), ReasonClaim},
		{"aud empty", signed(header, with(claims, "aud", []string{})), ReasonClaim},
		{"aud of numbers", signed(header, with(claims, "aud", []int{1})), ReasonClaim},
		{"aud other", signed(header, with(claims, "aud", "kubernetes")), ReasonAudience},
		{"aud prefix", signed(header, with(claims, "aud", "sts.amazonaws.com.evil")), ReasonAudience},
		{"azp other", signed(header, with(claims, "azp", "someone")), ReasonAudience},
		{"exp missing", signed(header, with(claims, "exp", nil)), ReasonClaim},
		{"exp a string", signed(header, with(claims, "exp", "1999999999")), ReasonClaim},
		{"exp far", signed(header, with(claims, "exp", 1e300)), ReasonClaim},
		{"exp null", signed(header, with(claims, "exp", json.RawMessage("null"))), ReasonClaim},
		{"expired", signed(header, with(claims, "exp", at(-30*time.Second))), ReasonExpired},
		{"nbf ahead", signed(header, with(claims, "nbf", at(31*time.Second))), ReasonNotYet},
		{"iat ahead", signed(header, with(claims, "iat", at(31*time.Second))), ReasonNotYet},
		{"iat missing", signed(header, with(claims, "iat", nil)), ReasonClaim},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := f.check(tc.raw, f.iss.registered())
			require.Nil(t, c)
			requireReason(t, tc.want, err)
			require.NotContains(t, err.Error(), strings.Split(good, ".")[2])
		})
	}
}

// TestAccepted has what is unusual and all right.
func TestAccepted(t *testing.T) {
	f := setup(t)
	now := f.clock.now()
	claims, header := f.iss.claims(now), f.key.header()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for name, raw := range map[string]string{
		"typ missing":        compact(t, f.key, with(header, "typ", nil), claims),
		"typ at+jwt":         compact(t, f.key, with(header, "typ", "at+jwt"), claims),
		"kid missing":        compact(t, f.key, with(header, "kid", nil), claims),
		"aud a string":       compact(t, f.key, header, with(claims, "aud", "sts.amazonaws.com")),
		"aud several":        compact(t, f.key, header, with(claims, "aud", []string{"a", "sts.amazonaws.com"})),
		"azp":                compact(t, f.key, header, with(with(claims, "azp", "sts.amazonaws.com"), "aud", "other")),
		"exp within leeway":  compact(t, f.key, header, with(claims, "exp", at(-29*time.Second))),
		"nbf within leeway":  compact(t, f.key, header, with(claims, "nbf", at(30*time.Second))),
		"exp with fractions": compact(t, f.key, header, with(claims, "exp", float64(at(time.Hour))+.5)),
		"nbf missing":        compact(t, f.key, header, with(claims, "nbf", nil)),
	} {
		_, err := f.check(raw, f.iss.registered())
		require.NoError(t, err, name)
	}
}

// TestKeyAddressesInHeader makes sure that nothing is fetched from where a token
// says, however it says it.
func TestKeyAddressesInHeader(t *testing.T) {
	f := setup(t)
	asked := 0
	trap := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer trap.Close()
	stranger := newSigner(t, "k1", "RS256")
	for _, name := range []string{"jku", "x5u"} {
		_, err := f.check(compact(t, stranger, with(f.key.header(), name, trap.URL), f.iss.claims(f.clock.now())), f.iss.registered())
		requireReason(t, ReasonSignature, err)
		_, err = f.check(compact(t, f.key, with(f.key.header(), name, trap.URL), f.iss.claims(f.clock.now())), f.iss.registered())
		require.NoError(t, err)
	}
	require.Zero(t, asked)
}

func TestTokenWithoutKeyIDNeedsOneKey(t *testing.T) {
	f := setup(t)
	f.iss.set(func() { f.iss.keys = append(f.iss.keys, newSigner(t, "k2", "RS256")) })
	_, err := f.check(compact(t, f.key, with(f.key.header(), "kid", nil), f.iss.claims(f.clock.now())), f.iss.registered())
	requireReason(t, ReasonKey, err)
}

func TestRotation(t *testing.T) {
	f := setup(t)
	iss := f.iss.registered()
	_, err := f.check(f.token(t), iss)
	require.NoError(t, err)
	next := newSigner(t, "k2", "ES256")
	f.iss.set(func() { f.iss.keys = append(f.iss.keys, next) })

	rotated := compact(t, next, next.header(), f.iss.claims(f.clock.now()))
	_, err = f.check(rotated, iss)
	requireReason(t, ReasonKey, err) // asked a moment ago
	require.EqualValues(t, 1, f.iss.keyFetches.Load())
	f.clock.advance(10 * time.Second)
	_, err = f.check(rotated, iss)
	require.NoError(t, err)
	require.EqualValues(t, 2, f.iss.keyFetches.Load())
	_, err = f.check(f.token(t), iss)
	require.NoError(t, err)

	// Names of keys that nobody has do not make us ask more often.
	for range 50 {
		_, err = f.check(compact(t, f.key, with(f.key.header(), "kid", "nobody's"), f.iss.claims(f.clock.now())), iss)
		requireReason(t, ReasonKey, err)
	}
	require.EqualValues(t, 2, f.iss.keyFetches.Load())

	// A key that was taken away is gone when its time is over.
	f.iss.set(func() { f.iss.keys = []signer{next} })
	f.clock.advance(59 * time.Minute)
	_, err = f.check(f.token(t), iss)
	require.NoError(t, err)
	f.clock.advance(time.Minute)
	_, err = f.check(f.token(t), iss)
	requireReason(t, ReasonKey, err)
}

func TestIssuerDown(t *testing.T) {
	f := setup(t)
	iss := f.iss.registered()
	_, err := f.check(f.token(t), iss)
	require.NoError(t, err)
	f.iss.set(func() { f.iss.down = true })
	f.clock.advance(2 * time.Hour)
	for range 3 {
		_, err = f.check(f.token(t), iss)
		require.NoError(t, err, "old keys do while the issuer is down")
	}
	require.EqualValues(t, 2, f.iss.discoveries.Load())
	unknown := compact(t, f.key, with(f.key.header(), "kid", "k9"), f.iss.claims(f.clock.now()))
	_, err = f.check(unknown, iss)
	requireReason(t, ReasonUnreachable, err)
	f.clock.advance(22 * time.Hour)
	_, err = f.check(f.token(t), iss)
	requireReason(t, ReasonUnreachable, err)
	f.iss.set(func() { f.iss.down = false })
	_, err = f.check(f.token(t), iss)
	requireReason(t, ReasonUnreachable, err) // asked a moment ago
	f.clock.advance(10 * time.Second)
	_, err = f.check(f.token(t), iss)
	require.NoError(t, err)
}

func TestOneFetchForMany(t *testing.T) {
	f := setup(t)
	iss, raw := f.iss.registered(), f.token(t)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := f.check(raw, iss); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, f.iss.keyFetches.Load())
}

func TestCallerMayLeave(t *testing.T) {
	f := setup(t)
	release, entered := make(chan struct{}), make(chan struct{})
	slow := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(release)
	tok, err := Parse(compact(t, f.key, f.key.header(), with(f.iss.claims(f.clock.now()), "iss", slow.URL)))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	iss := Issuer{URL: slow.URL, ClientIDs: []string{"sts.amazonaws.com"}, CAPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: slow.Certificate().Raw})}
	go func() {
		_, err := f.Verify(ctx, tok, iss)
		done <- err
	}()
	<-entered
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	f.Verifier.Close() // ends the fetch that nobody waits for
}

func TestDiscovery(t *testing.T) {
	huge := `{"keys":[],"x":"` + strings.Repeat("x", maxDocument) + `"}`
	for name, tc := range map[string]struct {
		change func(*issuer)
		want   Reason
	}{
		"other issuer":    {func(i *issuer) { i.document = members{"issuer": i.URL + "/", "jwks_uri": i.URL + "/openid/v1/jwks"} }, ReasonDiscovery},
		"no issuer":       {func(i *issuer) { i.document = members{"jwks_uri": i.URL + "/openid/v1/jwks"} }, ReasonDiscovery},
		"http keys":       {func(i *issuer) { i.document = members{"issuer": i.URL, "jwks_uri": "http://127.0.0.1:1/"} }, ReasonDiscovery},
		"no keys address": {func(i *issuer) { i.document = members{"issuer": i.URL} }, ReasonDiscovery},
		"not an object":   {func(i *issuer) { i.document = []string{"x"} }, ReasonDiscovery},
		"keys not found":  {func(i *issuer) { i.document = members{"issuer": i.URL, "jwks_uri": i.URL + "/none"} }, ReasonUnreachable},
		"keys empty":      {func(i *issuer) { i.keySet = `{"keys":[]}` }, ReasonDiscovery},
		"keys twice":      {func(i *issuer) { i.keySet = `{"keys":[],"keys":[]}` }, ReasonDiscovery},
		"keys huge":       {func(i *issuer) { i.keySet = huge }, ReasonDiscovery},
		"redirect loop":   {func(i *issuer) { i.redirect = i.URL + "/openid/v1/jwks" }, ReasonUnreachable},
		"down":            {func(i *issuer) { i.down = true }, ReasonUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			reg := prometheus.NewRegistry()
			f := setup(t, func(c *Config) { c.Registerer = reg })
			f.iss.set(func() { tc.change(f.iss) })
			_, err := f.check(f.token(t), f.iss.registered())
			requireReason(t, tc.want, err)
			require.InDelta(t, 1, testutil.ToFloat64(f.fetches.WithLabelValues(string(tc.want))), 0)
			require.InDelta(t, 1, testutil.ToFloat64(f.tokens.WithLabelValues(string(tc.want))), 0)
		})
	}
}

// TestRedirectToAnotherHost has another host that would answer well.
func TestRedirectToAnotherHost(t *testing.T) {
	f := setup(t)
	another := newIssuer(t, f.key)
	f.iss.set(func() { f.iss.redirect = another.URL + "/openid/v1/jwks" })
	_, err := f.check(f.token(t), f.iss.registered())
	requireReason(t, ReasonUnreachable, err)
	require.ErrorContains(t, err, "redirect to another host")
	require.Zero(t, another.keyFetches.Load())
}

// TestCurveDecides: a key without alg is for the one algorithm of its curve,
// whatever a token says.
func TestCurveDecides(t *testing.T) {
	f := setup(t)
	k := newSigner(t, "k", "ES256")
	iss := f.iss.registered()
	set, err := json.Marshal(members{"keys": []members{with(k.jwk(), "alg", nil)}})
	require.NoError(t, err)
	iss.KeySet = set
	_, err = f.check(compact(t, k, k.header(), f.iss.claims(f.clock.now())), iss)
	require.NoError(t, err)
	k.alg = "ES384" // P-256 over SHA-384
	_, err = f.check(compact(t, k, k.header(), f.iss.claims(f.clock.now())), iss)
	requireReason(t, ReasonKey, err)
}

func TestCertificateAuthorities(t *testing.T) {
	f := setup(t)
	iss := f.iss.registered()
	iss.CAPEM = nil
	_, err := f.check(f.token(t), iss) // not one that the system knows
	requireReason(t, ReasonUnreachable, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, f.iss.ca(), 0o600))
	iss.CAFile = file
	_, err = f.check(f.token(t), iss)
	require.NoError(t, err, "another registration has its own keys")
	require.NoError(t, os.WriteFile(file, []byte("nothing"), 0o600))
	f.clock.advance(48 * time.Hour)
	_, err = f.check(f.token(t), iss)
	requireReason(t, ReasonDiscovery, err)
}

// TestRegistrationsShareNothing: who registers an issuer with keys of his own
// must not be believed by others that registered the same issuer.
func TestRegistrationsShareNothing(t *testing.T) {
	f := setup(t)
	mine := newSigner(t, "k1", "RS256")
	forged := compact(t, mine, mine.header(), f.iss.claims(f.clock.now()))
	own := f.iss.registered()
	own.KeySet = keySetOf(mine)
	_, err := f.check(forged, own)
	require.NoError(t, err)
	_, err = f.check(forged, f.iss.registered())
	requireReason(t, ReasonSignature, err)
}

func TestStaticKeys(t *testing.T) {
	f := setup(t)
	iss := Issuer{URL: f.iss.URL, ClientIDs: []string{"sts.amazonaws.com"}, KeySet: keySetOf(f.key)}
	_, err := f.check(f.token(t), iss)
	require.NoError(t, err)
	f.clock.advance(1000 * time.Hour)
	_, err = f.check(f.token(t), iss)
	require.NoError(t, err)
	_, err = f.check(compact(t, f.key, with(f.key.header(), "kid", "k2"), f.iss.claims(f.clock.now())), iss)
	requireReason(t, ReasonKey, err)
	require.Zero(t, f.iss.discoveries.Load())
	iss.KeySet = []byte("{}")
	_, err = f.check(f.token(t), iss)
	requireReason(t, ReasonDiscovery, err)
}

// TestInternalURL is a cluster whose issuer's name is not an address.
func TestInternalURL(t *testing.T) {
	const name = "https://kubernetes.default.svc.cluster.local"
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("me\n"), 0o600))
	var origin string
	f := setup(t)
	origin = f.iss.URL
	v, err := New(Config{Now: f.clock.now, TokenFiles: map[string]string{origin: file}})
	require.NoError(t, err)
	defer v.Close()
	f.iss.set(func() {
		f.iss.document = members{"issuer": name, "jwks_uri": "https://172.18.0.2:6443/openid/v1/jwks"}
		f.iss.bearer = "me"
	})
	raw := compact(t, f.key, f.key.header(), with(f.iss.claims(f.clock.now()), "iss", name))
	tok, err := Parse(raw)
	require.NoError(t, err)
	iss := Issuer{URL: name, InternalURL: origin + "/", CAPEM: f.iss.ca(), ClientIDs: []string{"sts.amazonaws.com"}}
	c, err := v.Verify(context.Background(), tok, iss)
	require.NoError(t, err)
	require.Equal(t, name, c.Issuer)
	_, err = f.check(raw, iss) // this one has no token to show
	requireReason(t, ReasonUnreachable, err)

	for at, want := range map[string]string{
		name + "/keys":                    "https://in/base/keys",
		"https://10.0.0.1/openid/v1/jwks": "https://in/base/openid/v1/jwks",
		"https://10.0.0.1/k?x=1":          "https://in/base/k?x=1",
	} {
		d, _ := json.Marshal(members{"issuer": name, "jwks_uri": at})
		got, err := keysAddress(d, &Issuer{URL: name, InternalURL: "https://in/base"}, "https://in/base")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestAddresses(t *testing.T) {
	for _, a := range []string{"169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1"} {
		require.False(t, AllowPublicAndPrivate(netip.MustParseAddr(a)), a)
	}
	for _, a := range []string{"10.0.0.1", "127.0.0.1", "8.8.8.8", "fd00::1"} {
		require.True(t, AllowPublicAndPrivate(netip.MustParseAddr(a)), a)
	}
	f := setup(t, func(c *Config) { c.AllowAddress = func(a netip.Addr) bool { return !a.IsLoopback() } })
	_, err := f.check(f.token(t), f.iss.registered())
	requireReason(t, ReasonUnreachable, err)
	require.ErrorContains(t, err, "not allowed for issuers")
	require.Zero(t, f.iss.discoveries.Load())
}

func TestCheckIssuer(t *testing.T) {
	require.NoError(t, CheckIssuer(&Issuer{URL: "https://h/id/1"}))
	require.NoError(t, CheckIssuer(&Issuer{URL: "https://h", InternalURL: "http://127.0.0.1:8001/"}))
	for _, u := range []string{"", "http://h", "https://u:p@h", "https://h?x", "https://h#x", "ftp://h", "https://", "://"} {
		require.Error(t, CheckIssuer(&Issuer{URL: u}), u)
	}
	require.Error(t, CheckIssuer(&Issuer{URL: "https://h", InternalURL: "http://10.0.0.1"}))
}

func TestKeySet(t *testing.T) {
	ok := newSigner(t, "a", "ES256").jwk()
	rsaKey := newSigner(t, "r", "RS256").jwk()
	for name, bad := range map[string]members{
		"encryption":  with(ok, "use", "enc"),
		"sign only":   with(ok, "key_ops", []string{"sign"}),
		"symmetric":   {"kty": "oct", "k": "AAAA", "kid": "a"},
		"HS256":       with(ok, "alg", "HS256"),
		"other curve": with(ok, "crv", "P-521"),
		"off curve":   with(ok, "x", b64(sha([]byte("x")))),
		"short x":     with(ok, "x", "AAAA"),
		"short RSA":   with(rsaKey, "n", b64([]byte(strings.Repeat("\xff", 128)))),
		"huge RSA":    with(rsaKey, "n", b64([]byte(strings.Repeat("\xff", 2000)))),
		"even RSA":    with(rsaKey, "n", b64([]byte(strings.Repeat("\xfe", 256)))),
		"exponent 1":  with(rsaKey, "e", "AQ"),
		"exponent 2":  with(rsaKey, "e", "Ag"),
		"no modulus":  with(rsaKey, "n", nil),
	} {
		b, err := json.Marshal(members{"keys": []members{bad}})
		require.NoError(t, err)
		_, err = CheckKeySet(b)
		require.Error(t, err, name)
		// A key that cannot be used does not spoil the others.
		b, err = json.Marshal(members{"keys": []any{bad, nil, ok}})
		require.NoError(t, err)
		n, err := CheckKeySet(b)
		require.NoError(t, err, name)
		require.Equal(t, 1, n)
	}
	many := make([]members, maxKeys+1)
	for i := range many {
		many[i] = ok
	}
	b, err := json.Marshal(members{"keys": many})
	require.NoError(t, err)
	_, err = CheckKeySet(b)
	require.ErrorContains(t, err, "201 keys")
	for _, doc := range []string{"", "null", "[]", "{}", `{"keys":null}`, `{"keys":{}}`, `{"keys":[1]}`} {
		_, err := CheckKeySet([]byte(doc))
		require.Error(t, err, doc)
	}
}

func TestIssuersAreBounded(t *testing.T) {
	f := setup(t)
	raw := f.token(t)
	for i := range maxIssuers + 10 {
		f.clock.advance(time.Second)
		iss := Issuer{URL: f.iss.URL, ClientIDs: []string{string(rune('a' + i))}, CAFile: strings.Repeat("x", i), KeySet: keySetOf(f.key)}
		_, err := f.check(raw, iss)
		requireReason(t, ReasonAudience, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	require.Len(t, f.issuers, maxIssuers)
}

func FuzzParse(f *testing.F) {
	k := newSigner(f, "k1", "ES256")
	iss := &issuer{Server: &httptest.Server{URL: "https://issuer.example"}}
	claims := iss.claims(time.Unix(1e9, 0))
	f.Add(compact(f, k, k.header(), claims))
	f.Add(compact(f, k, with(k.header(), "kid", nil), claims))
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.AA")
	v, err := New(Config{})
	require.NoError(f, err)
	f.Cleanup(v.Close)
	other := newSigner(f, "k1", "ES256")
	f.Fuzz(func(t *testing.T, raw string) {
		tok, err := Parse(raw)
		if err != nil {
			var e *Error
			require.True(t, errors.As(err, &e))
			require.LessOrEqual(t, len(err.Error()), 1000)
			return
		}
		// What is read must be the only text for what it says.
		require.Equal(t, tok.signed+"."+b64(tok.signature), raw)
		_, err = v.Verify(context.Background(), tok, Issuer{URL: tok.Issuer(), ClientIDs: []string{"sts.amazonaws.com"}, KeySet: keySetOf(other)})
		require.Error(t, err, "nobody has that key")
	})
}

func FuzzKeySet(f *testing.F) {
	for alg := range algorithms {
		f.Add(keySetOf(newSigner(f, "k", alg)))
	}
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`))
	k := newSigner(f, "k1", "RS256")
	tok, err := Parse(compact(f, k, k.header(), members{"iss": "https://i"}))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseKeySet(b)
		if err != nil {
			return
		}
		for _, found := range s.find(tok) {
			require.False(t, tok.signedBy(&found))
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			k := newSigner(b, "k1", alg)
			i := newIssuer(b, k)
			v, err := New(Config{})
			require.NoError(b, err)
			defer v.Close()
			raw, iss := compact(b, k, k.header(), i.claims(time.Now())), i.registered()
			b.ReportAllocs()
			for b.Loop() {
				tok, err := Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := v.Verify(context.Background(), tok, iss); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
