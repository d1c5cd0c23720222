package signin

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"image/png"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
	"github.com/uptrace/bun"
)

const (
	kindTOTP      = "totp"
	maxFactors    = 8
	totpPeriod    = 30
	totpSecret    = 20 // bytes
	recoveryCodes = 10
	maxName       = 60
)

// Factor is a second factor of a person.
type Factor struct {
	ID, Kind, Name string
	Created, Used  time.Time
}

type factorRow struct {
	bun.BaseModel `bun:"table:person_factors"`
	ID            string `bun:"id,pk"`
	UserID        string
	Kind          string
	Name          string
	Secret        string
	// Credential is the id of a passkey.
	Credential string
	Confirmed  bool
	LastStep   int64
	CreatedAt  int64
	UsedAt     int64
}

type recoveryRow struct {
	bun.BaseModel `bun:"table:person_recovery_codes"`
	UserID        string `bun:",pk"`
	Hash          string `bun:",pk"`
}

func newSeal(key []byte) (cipher.AEAD, error) {
	const size = 32
	if key == nil {
		return nil, nil // no second factors can be set up or used
	}
	if len(key) != size {
		return nil, fmt.Errorf("the key of second factors has %d bytes, not %d", len(key), size)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

var errNoKey = errors.New("second factors need a key, and none is set")

// sealed encrypts a secret for the row of owner.
func (s *Service) sealed(secret []byte, owner string) string {
	nonce := make([]byte, s.seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails; it ends the program instead
	return base64.StdEncoding.EncodeToString(s.seal.Seal(nonce, nonce, secret, []byte(owner)))
}

func (s *Service) open(text, owner string) ([]byte, error) {
	if s.seal == nil {
		return nil, errNoKey
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) < s.seal.NonceSize() {
		return nil, errors.New("a sealed secret is damaged")
	}
	n := s.seal.NonceSize()
	secret, err := s.seal.Open(nil, b[:n], b[n:], []byte(owner))
	if err != nil {
		return nil, errors.New("a sealed secret cannot be opened: it was made with another key")
	}
	return secret, nil
}

// Factors lists a person's second factors, oldest first.
func (s *Service) Factors(ctx context.Context, userID string) ([]Factor, error) {
	var rows []factorRow
	if err := s.db.NewSelect().Model(&rows).Where("user_id = ? AND confirmed", userID).Order("created_at", "id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list factors: %w", err)
	}
	var out []Factor
	for _, r := range rows {
		out = append(out, Factor{r.ID, r.Kind, r.Name, at(r.CreatedAt), at(r.UsedAt)})
	}
	return out, nil
}

// Enrolment is an authenticator that is being set up.
type Enrolment struct {
	ID string
	// Secret is base32, for typing; URL the otpauth: form, for a QR code.
	Secret, URL string
	// QR is a PNG of the URL, in base64.
	QR string
}

// BeginTOTP begins to set up an authenticator. It counts once ConfirmTOTP has
// shown that it works; until then the account is as it was.
func (s *Service) BeginTOTP(ctx context.Context, sess *Session, name string) (*Enrolment, error) {
	if s.seal == nil {
		return nil, errNoKey
	}
	if !sess.Fresh(s.cfg.Now()) {
		return nil, ErrStepUp
	}
	if err := checkFactorName(&name); err != nil {
		return nil, err
	}
	if err := s.roomForFactor(ctx, sess.User.ID); err != nil {
		return nil, err
	}
	secret := make([]byte, totpSecret)
	_, _ = rand.Read(secret) // never fails; it ends the program instead
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "Mangru", AccountName: sess.User.UserName, Secret: secret, Period: totpPeriod, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
	if err != nil {
		return nil, fmt.Errorf("make an authenticator's secret: %w", err)
	}
	row := &factorRow{ID: uuid.NewString(), UserID: sess.User.ID, Kind: kindTOTP, Name: name, CreatedAt: s.now()}
	row.Secret = s.sealed(secret, row.ID)
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*factorRow)(nil)).Where("user_id = ? AND NOT confirmed", sess.User.ID).Exec(ctx); err != nil {
			return err
		}
		_, err := tx.NewInsert().Model(row).Exec(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("begin to set up an authenticator: %w", err)
	}
	qr, err := picture(key)
	return &Enrolment{ID: row.ID, Secret: key.Secret(), URL: key.URL(), QR: qr}, err
}

func picture(key *otp.Key) (string, error) {
	const side = 240
	img, err := key.Image(side, side)
	if err != nil {
		return "", fmt.Errorf("picture of an authenticator's secret: %w", err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", fmt.Errorf("picture of an authenticator's secret: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// ConfirmTOTP ends the set-up of an authenticator with a code of it. With the
// first factor come recovery codes, which are shown this once; the other
// sessions of the person end.
func (s *Service) ConfirmTOTP(ctx context.Context, sess *Session, id, code string) (recovery []string, err error) {
	if err := s.throttle.take("code:"+sess.User.ID, codeTries*2, throttleWindow); err != nil {
		return nil, err
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		row := &factorRow{ID: id}
		err := tx.NewSelect().Model(row).WherePK().Where("user_id = ? AND NOT confirmed", sess.User.ID).Scan(ctx)
		if noRows(err) {
			return ErrBadLink
		}
		if err != nil {
			return err
		}
		if ok, err := s.checkTOTP(row, code); err != nil || !ok {
			return errors.Join(err, ErrBadCode)
		}
		row.Confirmed, row.UsedAt = true, s.now()
		if _, err := tx.NewUpdate().Model(row).WherePK().Exec(ctx); err != nil {
			return err
		}
		recovery, err = s.firstFactor(ctx, tx, sess)
		return err
	})
	return recovery, err
}

// RemoveFactor takes a factor away. The last one takes the recovery codes along.
func (s *Service) RemoveFactor(ctx context.Context, sess *Session, id string) error {
	if !sess.Fresh(s.cfg.Now()) {
		return ErrStepUp
	}
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewDelete().Model((*factorRow)(nil)).Where("user_id = ? AND id = ?", sess.User.ID, id).Exec(ctx); err != nil {
			return err
		}
		n, err := tx.NewSelect().Model((*factorRow)(nil)).Where("user_id = ? AND confirmed", sess.User.ID).Count(ctx)
		if err != nil || n > 0 {
			return err
		}
		_, err = tx.NewDelete().Model((*recoveryRow)(nil)).Where("user_id = ?", sess.User.ID).Exec(ctx)
		return err
	})
}

// ResetFactors takes all factors of a person away, for an administrator whom
// they asked. Their sessions end.
func (s *Service) ResetFactors(ctx context.Context, userID string) error {
	return s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		_, err1 := tx.NewDelete().Model((*factorRow)(nil)).Where("user_id = ?", userID).Exec(ctx)
		_, err2 := tx.NewDelete().Model((*recoveryRow)(nil)).Where("user_id = ?", userID).Exec(ctx)
		return errors.Join(err1, err2, s.endOthers(ctx, tx, userID, ""))
	})
}

// RecoveryCodes makes new recovery codes; the old ones end.
func (s *Service) RecoveryCodes(ctx context.Context, sess *Session) (codes []string, err error) {
	if !sess.Fresh(s.cfg.Now()) {
		return nil, ErrStepUp
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		codes, err = s.newRecoveryCodes(ctx, tx, sess.User.ID)
		return err
	})
	return codes, err
}

func (s *Service) newRecoveryCodes(ctx context.Context, tx bun.IDB, userID string) ([]string, error) {
	if _, err := tx.NewDelete().Model((*recoveryRow)(nil)).Where("user_id = ?", userID).Exec(ctx); err != nil {
		return nil, err
	}
	codes := make([]string, recoveryCodes)
	for i := range codes {
		var b [10]byte // 80 bits: a plain hash is enough
		_, _ = rand.Read(b[:])
		c := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
		codes[i] = c[:4] + "-" + c[4:8] + "-" + c[8:12] + "-" + c[12:]
		row := &recoveryRow{UserID: userID, Hash: recoveryHash(userID, codes[i])}
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return nil, err
		}
	}
	return codes, nil
}

func recoveryHash(userID, code string) string {
	plain := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(code))
	return hashToken(userID + " " + plain)
}

// RecoveryLeft returns how many recovery codes a person has.
func (s *Service) RecoveryLeft(ctx context.Context, userID string) (int, error) {
	return s.db.NewSelect().Model((*recoveryRow)(nil)).Where("user_id = ?", userID).Count(ctx)
}

// useCode takes a code of an authenticator or a recovery code, each once.
func (s *Service) useCode(ctx context.Context, tx bun.IDB, userID, code string) (method string, err error) {
	code = strings.TrimSpace(code)
	var rows []factorRow
	if err := tx.NewSelect().Model(&rows).Where("user_id = ? AND confirmed AND kind = ?", userID, kindTOTP).Scan(ctx); err != nil {
		return "", fmt.Errorf("read factors: %w", err)
	}
	for i := range rows {
		ok, err := s.checkTOTP(&rows[i], code)
		if err != nil {
			return "", err
		}
		if !ok {
			continue
		}
		rows[i].UsedAt = s.now()
		_, err = tx.NewUpdate().Model(&rows[i]).Column("last_step", "used_at").WherePK().Exec(ctx)
		return kindTOTP, err
	}
	res, err := tx.NewDelete().Model((*recoveryRow)(nil)).Where("user_id = ? AND hash = ?", userID, recoveryHash(userID, code)).Exec(ctx)
	if err != nil {
		return "", fmt.Errorf("use a recovery code: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return "", errors.Join(err, ErrBadCode)
	}
	return "recovery", nil
}

// checkTOTP compares a code with those of now and of one step before and after,
// and notes the step: a code works once (RFC 6238, section 5.2).
func (s *Service) checkTOTP(row *factorRow, code string) (bool, error) {
	secret, err := s.open(row.Secret, row.ID)
	if err != nil {
		return false, err
	}
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
	now := s.cfg.Now().Unix() / totpPeriod
	for step := now - 1; step <= now+1; step++ {
		want, err := hotp.GenerateCodeCustom(text, uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}) // #nosec G115 -- a time after 1970
		if err != nil {
			return false, fmt.Errorf("code of an authenticator: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && step > row.LastStep {
			row.LastStep = step
			return true, nil
		}
	}
	return false, nil
}
