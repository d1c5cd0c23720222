package signin

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/people/directory"
)

const (
	good   = "Kx7#vorhang-blau"
	better = "Qz4!teller-gruen"
)

type fixture struct {
	*Service
	t     *testing.T
	db    *bun.DB
	dir   *directory.Directory
	store string
	clock time.Time
	ann   directory.User
	here  Client
}

func open(t *testing.T) *fixture {
	t.Helper()
	ctx := t.Context()
	records, err := db.Open(ctx, filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	f := &fixture{t: t, db: records, clock: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC), here: Client{Address: "192.0.2.1", Agent: "Firefox"}}
	now := func() time.Time { return f.clock }
	f.dir = directory.New(directory.Config{Now: now}, records)
	store, err := f.dir.Store(ctx, "000000000000")
	require.NoError(t, err)
	f.store = store.ID
	f.Service, err = New(Config{Key: make([]byte, 32), Now: now}, records, f.dir)
	require.NoError(t, err)
	f.ann = f.person("ann")
	return f
}

func (f *fixture) person(name string) directory.User {
	f.t.Helper()
	u := directory.User{StoreID: f.store, UserName: name}
	u.Profile.DisplayName = "Some Body"
	u.Profile.SetEmail(name + "@example.com")
	u, err := f.dir.CreateUser(f.t.Context(), "test", u)
	require.NoError(f.t, err)
	return u
}

// accept goes the way of an invitation.
func (f *fixture) accept(u directory.User, password string) *Result {
	f.t.Helper()
	token, _, err := f.Invitation(f.t.Context(), &u)
	require.NoError(f.t, err)
	r, err := f.Accept(f.t.Context(), token, password, f.here)
	require.NoError(f.t, err)
	return r
}

func (f *fixture) signIn(password string) (*Result, error) {
	return f.Password(f.t.Context(), f.store, "ann", password, f.here)
}

// enrol sets up an authenticator and returns its secret.
func (f *fixture) enrol(s *Session) (secret string, recovery []string) {
	f.t.Helper()
	e, err := f.BeginTOTP(f.t.Context(), s, "phone")
	require.NoError(f.t, err)
	recovery, err = f.ConfirmTOTP(f.t.Context(), s, e.ID, f.code(e.Secret))
	require.NoError(f.t, err)
	return e.Secret, recovery
}

func (f *fixture) code(secret string) string {
	f.t.Helper()
	c, err := totp.GenerateCode(secret, f.clock)
	require.NoError(f.t, err)
	return c
}

func TestInvitation(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	old, _, err := f.Invitation(ctx, &f.ann)
	require.NoError(t, err)
	token, _, err := f.Invitation(ctx, &f.ann)
	require.NoError(t, err)
	_, err = f.Invited(ctx, old, f.here)
	require.ErrorIs(t, err, ErrBadLink, "a new mail ends the one before")
	for range 2 { // a mail program that looks at links uses none up
		u, err := f.Invited(ctx, token, f.here)
		require.NoError(t, err)
		require.Equal(t, f.ann.ID, u.ID)
	}
	var weak *PolicyError
	_, err = f.Accept(ctx, token, "short", f.here)
	require.ErrorAs(t, err, &weak)
	for i := range token { // any change makes it another's, or nobody's
		forged := token[:i] + string('A'+(token[i]-'A'+1)%26) + token[i+1:]
		_, err = f.Invited(ctx, forged, f.here)
		require.ErrorIs(t, err, ErrBadLink)
	}
	r, err := f.Accept(ctx, token, good, f.here)
	require.NoError(t, err)
	s, err := f.Session(ctx, r.Secret)
	require.NoError(t, err)
	require.Equal(t, f.ann.ID, s.User.ID)
	require.False(t, s.User.EmailVerified.IsZero(), "who has the link has the address")
	_, err = f.Accept(ctx, token, better, f.here)
	require.ErrorIs(t, err, ErrBadLink)
	_, err = f.signIn(good)
	require.NoError(t, err)
}

func TestInvitationEnds(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	token, expires, err := f.Invitation(ctx, &f.ann)
	require.NoError(t, err)
	f.clock = expires.Add(time.Millisecond)
	_, err = f.Accept(ctx, token, good, f.here)
	require.ErrorIs(t, err, ErrBadLink)
	token, _, err = f.Invitation(ctx, &f.ann)
	require.NoError(t, err)
	_, err = f.dir.UpdateUser(ctx, "test", f.store, f.ann.ID, directory.UserUpdate{Profile: func(p *directory.Profile) error { p.SetEmail("other@example.com"); return nil }})
	require.NoError(t, err)
	_, err = f.Accept(ctx, token, good, f.here)
	require.ErrorIs(t, err, ErrBadLink, "it went to an address that is not the person's any more")
}

// One link, asked for by many at once, works once.
func TestLinkOnce(t *testing.T) {
	f := open(t)
	token, err := f.LoginLink(t.Context(), f.ann.ID)
	require.NoError(t, err)
	var wg sync.WaitGroup
	var mu sync.Mutex
	worked := 0
	for range 8 {
		wg.Go(func() {
			_, _, err := f.UseLoginLink(context.WithoutCancel(t.Context()), token, f.here)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				worked++
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, worked)
}

func TestPassword(t *testing.T) {
	f := open(t)
	f.accept(f.ann, good)
	for _, p := range []string{"", "x", good + "x", strings.ToLower(good)} {
		_, err := f.signIn(p)
		require.ErrorIs(t, err, ErrRefused)
	}
	_, err := f.Password(t.Context(), f.store, "nobody", good, f.here)
	require.ErrorIs(t, err, ErrRefused)
	r, err := f.Password(t.Context(), f.store, "ANN@example.com", good, f.here)
	require.NoError(t, err)
	require.NotEmpty(t, r.Secret)

	off := true
	_, err = f.dir.UpdateUser(t.Context(), "test", f.store, f.ann.ID, directory.UserUpdate{Disabled: &off})
	require.NoError(t, err)
	_, err = f.Session(t.Context(), r.Secret)
	require.ErrorIs(t, err, ErrNotSignedIn, "at once, also for open sessions")
	_, err = f.signIn(good)
	require.ErrorIs(t, err, ErrRefused)
}

func TestPolicy(t *testing.T) {
	u := &directory.User{UserName: "ann.lee"}
	u.Profile.SetEmail("workmail@example.com")
	for password, code := range map[string]string{
		"Aa1!aaa": "short", strings.Repeat("Aa1!", 17): "long", "alllower1!": "classes", "ALLUPPER1!": "classes", "NoDigits!!": "classes", "NoOther11x": "classes",
		"Xy!9ann.lee": "own", "Workmail!9zz": "own", "Password1!": "common", "P@ssw0rd123": "common", "P@$$w0rd2024!": "common", "Welcome123!": "common",
		"Summer2025!": "common", "Qwerty123!": "common", "!1Football1!": "common", "Letmein!2345": "common", "Iloveyou1!": "common", "Aaaaaaa1!": "common", "Welcomehome1!": "common",
	} {
		var weak *PolicyError
		require.ErrorAs(t, CheckPolicy(u, password), &weak, password)
		require.Equal(t, code, weak.Code, password)
	}
	for _, password := range []string{good, better, "corgi-Umzug-77-lampe", "비밀번호-Abc9x", "tR0ub4dour&3x"} {
		require.NoError(t, CheckPolicy(u, password), password)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add("Password1!")
	f.Add("")
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, p string) {
		if CheckPolicy(&directory.User{UserName: "u"}, p) == nil {
			require.GreaterOrEqual(t, len([]rune(p)), minPassword)
		}
	})
}

func TestChangePassword(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	r := f.accept(f.ann, good)
	other, err := f.signIn(good)
	require.NoError(t, err)
	require.ErrorIs(t, f.ChangePassword(ctx, r.Session, "wrong", better, f.here), ErrRefused)
	var again *PolicyError
	require.ErrorAs(t, f.ChangePassword(ctx, r.Session, good, good, f.here), &again)
	require.NoError(t, f.ChangePassword(ctx, r.Session, good, better, f.here))
	_, err = f.Session(ctx, other.Secret)
	require.ErrorIs(t, err, ErrNotSignedIn)
	_, err = f.Session(ctx, r.Secret)
	require.NoError(t, err)
	_, err = f.signIn(good)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorAs(t, f.ChangePassword(ctx, r.Session, better, good, f.here), &again, "the one before")
}

func TestOneTimePassword(t *testing.T) {
	f := open(t)
	p, _, err := f.OneTimePassword(t.Context(), &f.ann)
	require.NoError(t, err)
	r, err := f.signIn(p)
	require.NoError(t, err)
	require.Empty(t, r.Secret)
	r, err = f.Accept(t.Context(), r.MustChange, good, f.here)
	require.NoError(t, err)
	require.NotEmpty(t, r.Secret)
	_, err = f.signIn(p)
	require.ErrorIs(t, err, ErrRefused)
	p, expires, err := f.OneTimePassword(t.Context(), &f.ann)
	require.NoError(t, err)
	f.clock = expires.Add(time.Millisecond)
	_, err = f.signIn(p)
	require.ErrorIs(t, err, ErrRefused)
}

func TestSecondFactor(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	r := f.accept(f.ann, good)
	e, err := f.BeginTOTP(ctx, r.Session, "phone")
	require.NoError(t, err)
	_, err = f.ConfirmTOTP(ctx, r.Session, e.ID, "000000")
	require.ErrorIs(t, err, ErrBadCode)
	// A process that ended here leaves an account without a second factor.
	half, err := f.signIn(good)
	require.NoError(t, err)
	require.NotEmpty(t, half.Secret)
	first := f.code(e.Secret)
	recovery, err := f.ConfirmTOTP(ctx, r.Session, e.ID, first)
	require.NoError(t, err)
	require.Len(t, recovery, recoveryCodes)
	_, err = f.Session(ctx, half.Secret)
	require.ErrorIs(t, err, ErrNotSignedIn, "sessions from before end")

	step, err := f.signIn(good)
	require.NoError(t, err)
	require.Empty(t, step.Secret)
	_, err = f.Factor(ctx, step.Factor, first, false, f.here)
	require.ErrorIs(t, err, ErrBadCode, "a code works once")
	f.clock = f.clock.Add(totpPeriod * time.Second)
	done, err := f.Factor(ctx, step.Factor, f.code(e.Secret), true, f.here)
	require.NoError(t, err)
	require.Equal(t, []string{"password", kindTOTP}, done.Session.Methods)
	_, err = f.Factor(ctx, step.Factor, f.code(e.Secret), true, f.here)
	require.ErrorIs(t, err, ErrBadLink)

	// The browser is remembered, for this person.
	known := f.here
	known.Device = done.Device
	again, err := f.Password(ctx, f.store, "ann", good, known)
	require.NoError(t, err)
	require.NotEmpty(t, again.Secret)
	bob := f.person("bob")
	b := f.accept(bob, better)
	f.enrol(b.Session)
	other, err := f.Password(ctx, f.store, "bob", better, known)
	require.NoError(t, err)
	require.NotEmpty(t, other.Factor)

	// Recovery codes work once each.
	for want := range 2 {
		step, err = f.signIn(good)
		require.NoError(t, err)
		_, err = f.Factor(ctx, step.Factor, strings.ToUpper(recovery[0]), false, f.here)
		if want == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ErrBadCode)
		}
	}
}

// Guessing codes ends the step, and then the password is needed again.
func TestCodesCannotBeGuessed(t *testing.T) {
	f := open(t)
	r := f.accept(f.ann, good)
	secret, _ := f.enrol(r.Session)
	f.clock = f.clock.Add(time.Hour)
	step, err := f.signIn(good)
	require.NoError(t, err)
	for range codeTries {
		_, err = f.Factor(t.Context(), step.Factor, "123", false, f.here)
		require.ErrorIs(t, err, ErrBadCode)
	}
	_, err = f.Factor(t.Context(), step.Factor, f.code(secret), false, f.here)
	require.ErrorIs(t, err, ErrBadLink)
}

// Who tries passwords from many addresses is stopped, and keeps nobody out of
// their own browser.
func TestBruteForceLocksNobodyOut(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	own := f.here
	own.Device = f.accept(f.ann, good).Device
	var slow *ThrottledError
	for i := range strangerTries + 1 {
		from := Client{Address: "198.51.100." + string(rune('0'+i%10)) + string(rune('0'+i/10))}
		_, err := f.Password(ctx, f.store, "ann", "Wrong1!wrong", from)
		if i < strangerTries {
			require.ErrorIs(t, err, ErrRefused)
		} else {
			require.ErrorAs(t, err, &slow)
		}
	}
	_, err := f.Password(ctx, f.store, "ann", good, Client{Address: "203.0.113.9"})
	require.ErrorAs(t, err, &slow, "strangers are stopped, right or wrong")
	_, err = f.Password(ctx, f.store, "ann", good, own)
	require.NoError(t, err)
	// A browser that is not known has the way of the mail.
	token, u, err := f.Reset(ctx, f.store, "ann@example.com", Client{Address: "203.0.113.9"})
	require.NoError(t, err)
	require.Equal(t, f.ann.ID, u.ID)
	_, err = f.Accept(ctx, token, better, Client{Address: "203.0.113.9"})
	require.NoError(t, err)
	f.clock = f.clock.Add(throttleWindow)
	_, err = f.Password(ctx, f.store, "ann", better, Client{Address: "203.0.113.9"})
	require.NoError(t, err)
}

func TestUnknownNamesAreSlowedAlike(t *testing.T) {
	f := open(t)
	var slow *ThrottledError
	for i := range strangerTries + 1 {
		_, err := f.Password(t.Context(), f.store, "nobody", "Wrong1!wrong", Client{Address: string(rune('a' + i))})
		if i < strangerTries {
			require.ErrorIs(t, err, ErrRefused)
		} else {
			require.ErrorAs(t, err, &slow)
		}
	}
}

func TestReset(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	_, _, err := f.Reset(ctx, f.store, "ann@example.com", f.here)
	require.ErrorIs(t, err, ErrBadLink, "an address that was never verified gets no mail")
	_, _, err = f.Reset(ctx, f.store, "nobody@example.com", f.here)
	require.ErrorIs(t, err, ErrBadLink)
	r := f.accept(f.ann, good)
	secret, _ := f.enrol(r.Session)
	token, _, err := f.Reset(ctx, f.store, "ann@example.com", f.here)
	require.NoError(t, err)
	f.clock = f.clock.Add(time.Minute)
	done, err := f.Accept(ctx, token, better, f.here)
	require.NoError(t, err)
	require.Empty(t, done.Secret, "a mailbox does not replace the second factor")
	_, err = f.Session(ctx, r.Secret)
	require.ErrorIs(t, err, ErrNotSignedIn)
	_, err = f.Factor(ctx, done.Factor, f.code(secret), false, f.here)
	require.NoError(t, err)
	var slow *ThrottledError
	for range mailTries {
		_, _, err = f.Reset(ctx, f.store, "ann@example.com", f.here)
	}
	require.ErrorAs(t, err, &slow)
}

func TestSessions(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	a := f.accept(f.ann, good)
	b, err := f.signIn(good)
	require.NoError(t, err)
	require.NotEqual(t, a.Secret, b.Secret)
	list, err := f.Sessions(ctx, f.ann)
	require.NoError(t, err)
	require.Len(t, list, 2)
	bob := f.person("bob")
	require.NoError(t, f.EndSession(ctx, bob.ID, a.Session.ID))
	_, err = f.Session(ctx, a.Secret)
	require.NoError(t, err, "nobody ends another's")
	require.NoError(t, f.EndSession(ctx, f.ann.ID, a.Session.ID))
	_, err = f.Session(ctx, a.Secret)
	require.ErrorIs(t, err, ErrNotSignedIn)
	f.clock = f.clock.Add(f.cfg.IdleLife + time.Second)
	_, err = f.Session(ctx, b.Secret)
	require.ErrorIs(t, err, ErrNotSignedIn, "at rest")
	c, err := f.signIn(good)
	require.NoError(t, err)
	for f.clock.Before(c.Session.Expires) {
		_, err = f.Session(ctx, c.Secret)
		require.NoError(t, err)
		f.clock = f.clock.Add(30 * time.Minute)
	}
	_, err = f.Session(ctx, c.Secret)
	require.ErrorIs(t, err, ErrNotSignedIn, "too old, though never at rest")
}

func TestStepUp(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	r := f.accept(f.ann, good)
	f.clock = f.clock.Add(stepUpLife)
	_, err := f.BeginTOTP(ctx, r.Session, "phone")
	require.ErrorIs(t, err, ErrStepUp)
	_, err = f.RecoveryCodes(ctx, r.Session)
	require.ErrorIs(t, err, ErrStepUp)
	require.ErrorIs(t, f.RemoveFactor(ctx, r.Session, "x"), ErrStepUp)
	require.ErrorIs(t, f.StepUp(ctx, r.Session, "wrong", ""), ErrRefused)
	require.NoError(t, f.StepUp(ctx, r.Session, good, ""))
	f.enrol(r.Session)
	f.clock = f.clock.Add(stepUpLife)
	require.ErrorIs(t, f.StepUp(ctx, r.Session, good, "1"), ErrBadCode)
}

// Hashes are argon2id with the parameters that OWASP recommends, each with a salt
// of its own; those of other parameters are none of ours.
func TestHashing(t *testing.T) {
	f, ctx := open(t), t.Context()
	hash, err := f.hashPassword(ctx, good)
	require.NoError(t, err)
	require.Regexp(t, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, hash)
	again, err := f.hashPassword(ctx, good)
	require.NoError(t, err)
	require.NotEqual(t, hash, again)
	for password, want := range map[string]bool{good: true, good + "x": false, "": false} {
		ok, err := f.checkPassword(ctx, hash, password)
		require.NoError(t, err)
		require.Equal(t, want, ok, "%q", password)
	}
	_, err = f.checkPassword(ctx, strings.Replace(hash, "m=19456", "m=8", 1), good)
	require.Error(t, err)
}

// Who reads the database can't sign in with what is there.
func TestNothingSecretIsStored(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	r := f.accept(f.ann, good)
	secret, recovery := f.enrol(r.Session)
	link, err := f.LoginLink(ctx, f.ann.ID)
	require.NoError(t, err)
	var dump strings.Builder
	for _, table := range []string{"person_passwords", "person_factors", "person_recovery_codes", "person_sessions", "person_devices", "person_links", "directory_users"} {
		rows, err := f.db.QueryContext(ctx, "SELECT * FROM "+table)
		require.NoError(t, err)
		defer rows.Close()
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			cells := make([]any, len(columns))
			for i := range cells {
				cells[i] = new(any)
			}
			require.NoError(t, rows.Scan(cells...))
			for _, c := range cells {
				if s, ok := (*c.(*any)).(string); ok {
					dump.WriteString(s + "\n")
				}
			}
		}
		require.NoError(t, rows.Err())
	}
	require.Contains(t, dump.String(), "ann@example.com")
	for what, s := range map[string]string{"password": good, "authenticator": secret, "recovery": recovery[0], "session": r.Secret, "device": r.Device, "link": link} {
		require.NotContains(t, dump.String(), s, what)
	}
}
