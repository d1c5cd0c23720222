package signin

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	_ "embed" // the list of common words
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/uptrace/bun"
	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/mangru/mangru/internal/people/directory"
)

// Parameters of argon2id, as OWASP recommends them.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
	// maxHashing bounds how many passwords are hashed at once.
	maxHashing = 4
)

// The policy, that of IAM Identity Center.
const (
	minPassword  = 8
	maxPassword  = 64
	keptPassword = 3 // that may not be used again, the present one among them
)

type passwordRow struct {
	bun.BaseModel `bun:"table:person_passwords"`
	UserID        string `bun:",pk"`
	Hash          string
	OldHashes     string
	MustChange    bool
	ExpiresAt     int64
	ChangedAt     int64
}

func (s *Service) argon(ctx context.Context, password, salt []byte) ([]byte, error) {
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey(password, salt, argonTime, argonMemory, argonThreads, argonKey), nil
}

// normal makes a password the same however a keyboard composes characters.
func normal(password string) []byte { return norm.NFKC.Bytes([]byte(password)) }

// hashPassword returns the PHC form of a password's hash.
func (s *Service) hashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails; it ends the program instead
	key, err := s.argon(ctx, normal(password), salt)
	if err != nil {
		return "", err
	}
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, b64.EncodeToString(salt), b64.EncodeToString(key)), nil
}

// checkPassword reports whether hash is of password. Hashes with other
// parameters are none of ours.
func (s *Service) checkPassword(ctx context.Context, hash, password string) (bool, error) {
	prefix := fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, argonMemory, argonTime, argonThreads)
	rest, ok := strings.CutPrefix(hash, prefix)
	salt64, key64, ok2 := strings.Cut(rest, "$")
	salt, err1 := base64.RawStdEncoding.DecodeString(salt64)
	want, err2 := base64.RawStdEncoding.DecodeString(key64)
	if !ok || !ok2 || err1 != nil || err2 != nil || len(want) != argonKey {
		return false, errors.New("the hash of a password is damaged")
	}
	got, err := s.argon(ctx, normal(password), salt)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

// words are the words that most passwords of the published lists are made of.
//
//go:embed words.txt
var words string

var commonWords = sync.OnceValue(func() map[string]bool {
	set := make(map[string]bool)
	lines := bufio.NewScanner(strings.NewReader(words))
	for lines.Scan() {
		for _, w := range strings.Fields(lines.Text()) {
			set[w] = true
		}
	}
	return set
})

// CheckPolicy says what a password of u lacks, as a *PolicyError.
func CheckPolicy(u *directory.User, password string) error {
	n := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return &PolicyError{"characters", "The password has characters that are none."}
	case n < minPassword:
		return &PolicyError{"short", fmt.Sprintf("The password needs at least %d characters.", minPassword)}
	case n > maxPassword:
		return &PolicyError{"long", fmt.Sprintf("The password may have at most %d characters.", maxPassword)}
	}
	var lower, upper, digit, other bool
	for _, r := range password {
		switch {
		case unicode.IsLower(r):
			lower = true
		case unicode.IsUpper(r):
			upper = true
		case unicode.IsDigit(r):
			digit = true
		default:
			other = true
		}
	}
	if !lower || !upper || !digit || !other {
		return &PolicyError{"classes", "The password needs a lower-case letter, an upper-case letter, a digit and another character."}
	}
	plain := strings.ToLower(password)
	local, _, _ := strings.Cut(u.Email(), "@")
	for _, own := range []string{u.UserName, local} {
		if len(own) >= 4 && strings.Contains(plain, strings.ToLower(own)) {
			return &PolicyError{"own", "The password may not contain your name."}
		}
	}
	if isCommon(password) {
		return &PolicyError{"common", "This password is in lists of stolen passwords, or nearly: choose another."}
	}
	return nil
}

var leet = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "@", "a", "$", "s", "!", "i", "|", "l", "+", "t")

// isCommon reports whether a password is a common word in disguise: letters for
// digits, something before or after, said twice, or a run of the keyboard. This
// covers what lists of stolen passwords have of those that fit the policy.
func isCommon(password string) bool {
	plain := strings.ToLower(password)
	notLetter := func(r rune) bool { return !unicode.IsLetter(r) }
	for _, form := range []string{strings.TrimFunc(plain, notLetter), strings.TrimFunc(leet.Replace(strings.TrimRight(plain, "0123456789!?.*#-_ ")), notLetter), strings.TrimFunc(leet.Replace(plain), notLetter)} {
		core := strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) {
				return r
			}
			return -1
		}, form)
		if len(core) < 3 || commonWords()[core] || repeats(core) {
			return true
		}
		// Two common words make one; "welcome" and "home".
		for i := 3; i <= len(core)-3; i++ {
			if commonWords()[core[:i]] && commonWords()[core[i:]] {
				return true
			}
		}
	}
	return false
}

// repeats reports whether s is one part again and again.
func repeats(s string) bool {
	for n := 1; n <= len(s)/2; n++ {
		if len(s)%n == 0 && strings.Repeat(s[:n], len(s)/n) == s && (n < 3 || commonWords()[s[:n]]) {
			return true
		}
	}
	return false
}

// setPassword writes a new password of u in tx. What hashes is passed in: it
// takes long and must not hold the transaction.
func (s *Service) setPassword(ctx context.Context, tx bun.IDB, userID, hash string, oneTime bool) error {
	row := &passwordRow{UserID: userID}
	err := tx.NewSelect().Model(row).WherePK().Scan(ctx)
	if err != nil && !noRows(err) {
		return err
	}
	var old []string
	if err == nil {
		if err := json.Unmarshal([]byte(row.OldHashes), &old); err != nil {
			return fmt.Errorf("record of old passwords: %w", err)
		}
		if !row.MustChange {
			old = append([]string{row.Hash}, old...)
		}
	}
	old = old[:min(len(old), keptPassword-1)]
	text, err := json.Marshal(append([]string{}, old...))
	if err != nil {
		return err
	}
	*row = passwordRow{UserID: userID, Hash: hash, OldHashes: string(text), MustChange: oneTime, ChangedAt: s.now()}
	if oneTime {
		row.ExpiresAt = s.cfg.Now().Add(oneTimeLife).UnixMilli()
	}
	_, err = tx.NewInsert().Model(row).On("CONFLICT (user_id) DO UPDATE").Exec(ctx)
	return err
}

// newHash checks a new password against the policy and the ones before it, and
// hashes it.
func (s *Service) newHash(ctx context.Context, u *directory.User, password string) (string, error) {
	if err := CheckPolicy(u, password); err != nil {
		return "", err
	}
	row := &passwordRow{UserID: u.ID}
	err := s.db.NewSelect().Model(row).WherePK().Scan(ctx)
	if err != nil && !noRows(err) {
		return "", fmt.Errorf("read a password: %w", err)
	}
	if err == nil {
		var old []string
		if err := json.Unmarshal([]byte(row.OldHashes), &old); err != nil {
			return "", fmt.Errorf("record of old passwords: %w", err)
		}
		for _, h := range append(old, row.Hash) {
			same, err := s.checkPassword(ctx, h, password)
			if err != nil {
				return "", err
			}
			if same {
				return "", &PolicyError{"again", fmt.Sprintf("The password is one of your last %d: choose another.", keptPassword)}
			}
		}
	}
	return s.hashPassword(ctx, password)
}

// HasPassword reports whether a person has one that is no one-time password.
func (s *Service) HasPassword(ctx context.Context, userID string) (bool, error) {
	n, err := s.db.NewSelect().Model((*passwordRow)(nil)).Where("user_id = ? AND NOT must_change", userID).Count(ctx)
	return n > 0, err
}

// ChangePassword exchanges the password of a signed-in person, who has to know
// the present one if there is one. Other sessions end.
func (s *Service) ChangePassword(ctx context.Context, sess *Session, present, password string, c Client) error {
	u := sess.User
	if err := s.throttle.take("password:"+u.ID, passwordTries, throttleWindow); err != nil {
		return err
	}
	row := &passwordRow{UserID: u.ID}
	err := s.db.NewSelect().Model(row).WherePK().Scan(ctx)
	switch {
	case noRows(err): // came by a link
		if !sess.Fresh(s.cfg.Now()) {
			return ErrStepUp
		}
	case err != nil:
		return fmt.Errorf("read a password: %w", err)
	default:
		ok, err := s.checkPassword(ctx, row.Hash, present)
		if err != nil {
			return err
		}
		if !ok {
			return ErrRefused
		}
	}
	hash, err := s.newHash(ctx, &u, password)
	if err != nil {
		return err
	}
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := s.setPassword(ctx, tx, u.ID, hash, false); err != nil {
			return err
		}
		return s.endOthers(ctx, tx, u.ID, sess.ID)
	})
}

// OneTimePassword gives a person a password that is good for one sign-in, at
// which they have to choose another, and for a day. Their sessions end.
func (s *Service) OneTimePassword(ctx context.Context, u *directory.User) (string, time.Time, error) {
	const letters = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails; it ends the program instead
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	password := string(b[:5]) + "-" + string(b[5:10]) + "-" + string(b[10:])
	hash, err := s.hashPassword(ctx, password)
	if err != nil {
		return "", time.Time{}, err
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := s.setPassword(ctx, tx, u.ID, hash, true); err != nil {
			return err
		}
		return s.endOthers(ctx, tx, u.ID, "")
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make a one-time password: %w", err)
	}
	return password, s.cfg.Now().Add(oneTimeLife), nil
}
