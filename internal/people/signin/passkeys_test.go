package signin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/people/directory"
)

const (
	flagPresent, flagVerified, flagKey = 0x01, 0x04, 0x40
	site                               = "https://mangru.example"
)

// authenticator is one in software, as FIDO2 says. Tests change it to lie.
type authenticator struct {
	t       *testing.T
	key     *ecdsa.PrivateKey
	id      []byte
	handle  string
	count   uint32
	flags   byte
	origin  string
	rp      string
	content string // of the challenge's type; empty is the right one
}

func newAuthenticator(t *testing.T) *authenticator {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	return &authenticator{t: t, key: key, id: id, flags: flagPresent | flagVerified, origin: site, rp: "mangru.example"}
}

var raw64 = base64.RawURLEncoding

// options reads what a page would hand over.
func (a *authenticator) options(c *Ceremony) (challenge, user string) {
	text, err := json.Marshal(c.Options)
	require.NoError(a.t, err)
	var o struct {
		PublicKey struct {
			Challenge string
			User      struct{ ID string }
		}
	}
	require.NoError(a.t, json.Unmarshal(text, &o))
	return o.PublicKey.Challenge, o.PublicKey.User.ID
}

func (a *authenticator) client(kind, challenge string) []byte {
	if a.content != "" {
		kind = a.content
	}
	text, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false})
	require.NoError(a.t, err)
	return text
}

func (a *authenticator) data(extra byte) []byte {
	rp := sha256.Sum256([]byte(a.rp))
	return binary.BigEndian.AppendUint32(append(rp[:], a.flags|extra), a.count)
}

func (a *authenticator) answer(response map[string]any) []byte {
	text, err := json.Marshal(map[string]any{"id": raw64.EncodeToString(a.id), "rawId": raw64.EncodeToString(a.id), "type": "public-key", "response": response})
	require.NoError(a.t, err)
	return text
}

// register answers navigator.credentials.create.
func (a *authenticator) register(c *Ceremony) []byte {
	challenge, user := a.options(c)
	handle, err := raw64.DecodeString(user)
	require.NoError(a.t, err)
	a.handle = string(handle)
	public, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: a.key.X.FillBytes(make([]byte, 32)), -3: a.key.Y.FillBytes(make([]byte, 32))})
	require.NoError(a.t, err)
	data := append(a.data(flagKey), make([]byte, 16)...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.id)))
	data = append(append(data, a.id...), public...)
	object, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	require.NoError(a.t, err)
	return a.answer(map[string]any{"clientDataJSON": raw64.EncodeToString(a.client("webauthn.create", challenge)), "attestationObject": raw64.EncodeToString(object)})
}

// sign answers navigator.credentials.get.
func (a *authenticator) sign(c *Ceremony) []byte {
	a.count++
	challenge, _ := a.options(c)
	client, data := a.client("webauthn.get", challenge), a.data(0)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte{}, data...), sum[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	require.NoError(a.t, err)
	return a.answer(map[string]any{"clientDataJSON": raw64.EncodeToString(client), "authenticatorData": raw64.EncodeToString(data),
		"signature": raw64.EncodeToString(signature), "userHandle": raw64.EncodeToString([]byte(a.handle))})
}

// withPasskey is a person with a password and a passkey.
func withPasskey(t *testing.T, f *fixture) (*Session, *authenticator) {
	t.Helper()
	f.cfg.Origin = func() string { return site }
	sess := f.accept(f.ann, good).Session
	a := newAuthenticator(t)
	begin, err := f.BeginPasskey(t.Context(), sess)
	require.NoError(t, err)
	codes, err := f.FinishPasskey(t.Context(), sess, begin.Token, "key", a.register(begin))
	require.NoError(t, err)
	require.Len(t, codes, recoveryCodes)
	return sess, a
}

func TestPasskeyAlone(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	sess, a := withPasskey(t, f)
	begin, err := f.BeginPasskeySignIn(ctx, f.here)
	require.NoError(t, err)
	answer := a.sign(begin)
	r, err := f.PasskeySignIn(ctx, f.store, begin.Token, answer, f.here)
	require.NoError(t, err)
	require.Equal(t, f.ann.ID, r.Session.User.ID)
	require.Equal(t, []string{kindPasskey}, r.Session.Methods)
	_, err = f.PasskeySignIn(ctx, f.store, begin.Token, answer, f.here)
	require.ErrorIs(t, err, ErrBadLink, "a challenge is answered once")

	// Another challenge, with the answer to the first.
	again, err := f.BeginPasskeySignIn(ctx, f.here)
	require.NoError(t, err)
	_, err = f.PasskeySignIn(ctx, f.store, again.Token, answer, f.here)
	require.ErrorIs(t, err, ErrBadPasskey)

	// A challenge that is too old.
	late, err := f.BeginPasskeySignIn(ctx, f.here)
	require.NoError(t, err)
	f.clock = f.clock.Add(passkeyLife + time.Second)
	_, err = f.PasskeySignIn(ctx, f.store, late.Token, a.sign(late), f.here)
	require.ErrorIs(t, err, ErrBadLink)

	disabled := true
	boss := f.person("boss")
	_, err = f.dir.UpdateUser(ctx, "test", f.store, sess.User.ID, directory.UserUpdate{Disabled: &disabled})
	require.NoError(t, err)
	next, err := f.BeginPasskeySignIn(ctx, f.here)
	require.NoError(t, err)
	_, err = f.PasskeySignIn(ctx, f.store, next.Token, a.sign(next), f.here)
	require.ErrorIs(t, err, ErrBadPasskey, "a disabled person")
	// Somebody else's handle with one's own key.
	a.handle = boss.ID
	next, err = f.BeginPasskeySignIn(ctx, f.here)
	require.NoError(t, err)
	_, err = f.PasskeySignIn(ctx, f.store, next.Token, a.sign(next), f.here)
	require.ErrorIs(t, err, ErrBadPasskey)
}

// What an authenticator, or who pretends to be one, may not do.
func TestPasskeyRefused(t *testing.T) {
	for name, lie := range map[string]func(a *authenticator){
		"a page of another origin":        func(a *authenticator) { a.origin = "https://mangru.example.evil.test" },
		"a page of another port":          func(a *authenticator) { a.origin = site + ":8443" },
		"another site's credential":       func(a *authenticator) { a.rp = "evil.test" },
		"its user not verified":           func(a *authenticator) { a.flags = flagPresent },
		"nobody there":                    func(a *authenticator) { a.flags = flagVerified },
		"another key":                     func(a *authenticator) { a.key = newAuthenticator(a.t).key },
		"an unknown credential":           func(a *authenticator) { a.id = newAuthenticator(a.t).id },
		"a copy, whose counter went back": func(a *authenticator) { a.count = 3 },
		"a registration":                  func(a *authenticator) { a.content = "webauthn.create" },
	} {
		t.Run(name, func(t *testing.T) {
			f := open(t)
			_, a := withPasskey(t, f)
			a.count = 10
			begin, err := f.BeginPasskeySignIn(t.Context(), f.here)
			require.NoError(t, err)
			_, err = f.PasskeySignIn(t.Context(), f.store, begin.Token, a.sign(begin), f.here)
			require.NoError(t, err)
			lie(a)
			begin, err = f.BeginPasskeySignIn(t.Context(), f.here)
			require.NoError(t, err)
			r, err := f.PasskeySignIn(t.Context(), f.store, begin.Token, a.sign(begin), f.here)
			require.ErrorIs(t, err, ErrBadPasskey)
			require.Nil(t, r)
		})
	}
}

func TestPasskeyAsSecondFactor(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	_, a := withPasskey(t, f)
	step, err := f.signIn(good)
	require.NoError(t, err)
	require.NotEmpty(t, step.Factor)
	require.True(t, step.Passkey)
	_, err = f.Factor(ctx, step.Factor, "000000", false, f.here)
	require.ErrorIs(t, err, ErrBadCode)
	// A signature that was asked for to sign in alone is none for this.
	alone, err := f.BeginPasskeySignIn(ctx, f.here)
	require.NoError(t, err)
	_, err = f.FactorPasskey(ctx, step.Factor, alone.Token, a.sign(alone), false, f.here)
	require.ErrorIs(t, err, ErrBadLink)
	_, err = f.BeginFactorPasskey(ctx, "no token", f.here)
	require.ErrorIs(t, err, ErrBadLink)
	begin, err := f.BeginFactorPasskey(ctx, step.Factor, f.here)
	require.NoError(t, err)
	a.flags = flagPresent // a touch is enough: the password came before
	r, err := f.FactorPasskey(ctx, step.Factor, begin.Token, a.sign(begin), true, f.here)
	require.NoError(t, err)
	require.Equal(t, []string{"password", kindPasskey}, r.Session.Methods)
	// The browser is remembered.
	here := f.here
	here.Device = r.Device
	done, err := f.Password(ctx, f.store, "ann", good, here)
	require.NoError(t, err)
	require.NotNil(t, done.Session)
}

func TestPasskeyStepUpAndRemoval(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	sess, a := withPasskey(t, f)
	// The same authenticator again, by somebody else.
	bob := f.accept(f.person("bob"), better).Session
	begin, err := f.BeginPasskey(ctx, bob)
	require.NoError(t, err)
	_, err = f.FinishPasskey(ctx, bob, begin.Token, "mine now", a.register(begin))
	require.ErrorIs(t, err, ErrBadPasskey)
	a.handle = f.ann.ID

	f.clock = f.clock.Add(stepUpLife + time.Second)
	factors, err := f.Factors(ctx, f.ann.ID)
	require.NoError(t, err)
	require.Len(t, factors, 1)
	_, err = f.BeginPasskey(ctx, sess)
	require.ErrorIs(t, err, ErrStepUp)
	require.ErrorIs(t, f.RemoveFactor(ctx, sess, factors[0].ID), ErrStepUp)
	ask, err := f.BeginStepUpPasskey(ctx, sess)
	require.NoError(t, err)
	require.ErrorIs(t, f.StepUpPasskey(ctx, bob, ask.Token, a.sign(ask)), ErrBadLink, "another's challenge")
	require.NoError(t, f.StepUpPasskey(ctx, sess, ask.Token, a.sign(ask)))
	require.NoError(t, f.RemoveFactor(ctx, sess, factors[0].ID))
	alone, err := f.BeginPasskeySignIn(ctx, f.here)
	require.NoError(t, err)
	_, err = f.PasskeySignIn(ctx, f.store, alone.Token, a.sign(alone), f.here)
	require.ErrorIs(t, err, ErrBadPasskey)
	r, err := f.signIn(good)
	require.NoError(t, err)
	require.NotNil(t, r.Session, "no factor is left")
}

// A process that ends between the two halves leaves the account as it was.
func TestPasskeyHalfDone(t *testing.T) {
	f := open(t)
	f.cfg.Origin = func() string { return site }
	sess := f.accept(f.ann, good).Session
	_, err := f.BeginPasskey(t.Context(), sess)
	require.NoError(t, err)
	r, err := f.signIn(good)
	require.NoError(t, err)
	require.NotNil(t, r.Session)
	f.clock = f.clock.Add(2 * passkeyLife)
	require.NoError(t, f.Sweep(t.Context()))
	n, err := f.db.NewSelect().Table("person_challenges").Count(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestPasskeyOrigin(t *testing.T) {
	f := open(t)
	for at, want := range map[string]string{
		"https://mangru.example": "https://mangru.example", "https://mangru.example:8443": "https://mangru.example:8443",
		"http://127.0.0.1:3000": "http://localhost:3000", "http://[::1]:3000": "http://localhost:3000", "http://localhost:3000": "http://localhost:3000",
		"http://mangru.example": "", "https://192.0.2.7": "", "": "",
	} {
		f.cfg.Origin = func() string { return at }
		require.Equal(t, want, f.PasskeyOrigin(), at)
	}
	f.cfg.Origin = func() string { return "http://mangru.example" }
	_, err := f.BeginPasskeySignIn(t.Context(), f.here)
	require.ErrorIs(t, err, ErrNoPasskeys)
}

// Ceremonies that were begun while there was room do not make room.
func TestPasskeysHaveALimit(t *testing.T) {
	f := open(t)
	sess, _ := withPasskey(t, f)
	var begun []*Ceremony
	for range maxFactors {
		c, err := f.BeginPasskey(t.Context(), sess)
		require.NoError(t, err)
		begun = append(begun, c)
	}
	for i, c := range begun {
		_, err := f.FinishPasskey(t.Context(), sess, c.Token, "key", newAuthenticator(t).register(c))
		if i < maxFactors-1 {
			require.NoError(t, err)
			continue
		}
		var limit *directory.LimitError
		require.ErrorAs(t, err, &limit)
	}
}
