package signin

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/people/directory"
)

const kindPasskey = "passkey"

// What a passkey is asked to sign for. A signature for one is none for another.
const (
	askRegister = "passkey-register"
	askAlone    = "passkey-alone"
	askFactor   = "passkey-factor"
	askStepUp   = "passkey-stepup"
)

const passkeyLife = 5 * time.Minute

var (
	// ErrBadPasskey says that a passkey's answer was not accepted; why is in what
	// wraps it, for the log.
	ErrBadPasskey = errors.New("the passkey was not accepted")
	// ErrNoPasskeys says that browsers allow none at the address of the pages.
	ErrNoPasskeys = errors.New("passkeys need pages at a name, over HTTPS or on localhost; at an address browsers allow none")
)

// PasskeyOrigin is where passkeys are made and used, such as
// https://mangru.example.com; empty where browsers allow none. Pages on a
// loopback address have them at localhost.
func (s *Service) PasskeyOrigin() string {
	if s.cfg.Origin == nil {
		return ""
	}
	u, err := url.Parse(s.cfg.Origin())
	if err != nil || u.Host == "" {
		return ""
	}
	ip := net.ParseIP(u.Hostname())
	switch {
	case ip == nil && (u.Scheme == "https" || u.Hostname() == "localhost"):
		return u.Scheme + "://" + u.Host
	case ip.IsLoopback():
		if u.Port() == "" {
			return u.Scheme + "://localhost"
		}
		return u.Scheme + "://localhost:" + u.Port()
	}
	return ""
}

func (s *Service) relyingParty() (*webauthn.WebAuthn, error) {
	origin := s.PasskeyOrigin()
	if origin == "" {
		return nil, ErrNoPasskeys
	}
	u, err := url.Parse(origin)
	if err != nil {
		return nil, ErrNoPasskeys
	}
	return webauthn.New(&webauthn.Config{RPID: u.Hostname(), RPDisplayName: "Mangru", RPOrigins: []string{origin}, AttestationPreference: protocol.PreferNoAttestation})
}

// keyHolder is a person with their passkeys, as package webauthn wants it.
type keyHolder struct {
	directory.User
	rows []factorRow
	keys []webauthn.Credential
}

func (h *keyHolder) WebAuthnID() []byte                         { return []byte(h.ID) }
func (h *keyHolder) WebAuthnName() string                       { return h.UserName }
func (h *keyHolder) WebAuthnDisplayName() string                { return h.Shown() }
func (h *keyHolder) WebAuthnCredentials() []webauthn.Credential { return h.keys }

func (s *Service) keyHolder(ctx context.Context, db bun.IDB, u directory.User) (*keyHolder, error) {
	h := &keyHolder{User: u}
	if err := db.NewSelect().Model(&h.rows).Where("user_id = ? AND confirmed AND kind = ?", u.ID, kindPasskey).Order("created_at", "id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read passkeys: %w", err)
	}
	for i := range h.rows {
		text, err := s.open(h.rows[i].Secret, h.rows[i].ID)
		if err != nil {
			return nil, err
		}
		var key webauthn.Credential
		if err := json.Unmarshal(text, &key); err != nil {
			return nil, fmt.Errorf("read a passkey: %w", err)
		}
		h.keys = append(h.keys, key)
	}
	return h, nil
}

// Ceremony is what a browser is to hand to its authenticator.
type Ceremony struct {
	// Token comes back with the answer.
	Token string
	// Options is what navigator.credentials.create or get takes, as JSON: an
	// object with the member publicKey.
	Options any
}

// BeginPasskey begins to register a passkey for a signed-in person.
func (s *Service) BeginPasskey(ctx context.Context, sess *Session) (*Ceremony, error) {
	if s.seal == nil {
		return nil, errNoKey
	}
	if !sess.Fresh(s.cfg.Now()) {
		return nil, ErrStepUp
	}
	if err := s.roomForFactor(ctx, sess.User.ID); err != nil {
		return nil, err
	}
	rp, err := s.relyingParty()
	if err != nil {
		return nil, err
	}
	h, err := s.keyHolder(ctx, s.db, sess.User)
	if err != nil {
		return nil, err
	}
	// One that can sign in alone, where the authenticator has the room.
	options, data, err := rp.BeginRegistration(h, webauthn.WithResidentKeyRequirement(protocol.ResidentKeyRequirementPreferred),
		webauthn.WithExclusions(webauthn.Credentials(h.keys).CredentialDescriptors()))
	if err != nil {
		return nil, fmt.Errorf("begin to register a passkey: %w", err)
	}
	token, err := s.NewChallenge(ctx, askRegister, sess.User.ID, data, passkeyLife)
	return &Ceremony{token, options}, err
}

// FinishPasskey registers the passkey that answered. As with an authenticator
// app, recovery codes come with the first factor, and other sessions end.
func (s *Service) FinishPasskey(ctx context.Context, sess *Session, token, name string, answer []byte) (recovery []string, err error) {
	if !sess.Fresh(s.cfg.Now()) {
		return nil, ErrStepUp
	}
	if err := checkFactorName(&name); err != nil {
		return nil, err
	}
	// Many may have begun while there was room.
	if err := s.roomForFactor(ctx, sess.User.ID); err != nil {
		return nil, err
	}
	var data webauthn.SessionData
	if err := s.UseChallenge(ctx, askRegister, sess.User.ID, token, &data); err != nil {
		return nil, err
	}
	rp, err := s.relyingParty()
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return nil, badPasskey(err)
	}
	key, err := rp.CreateCredential(&keyHolder{User: sess.User}, data, parsed)
	if err != nil {
		return nil, badPasskey(err)
	}
	row := &factorRow{ID: uuid.NewString(), UserID: sess.User.ID, Kind: kindPasskey, Name: name, Confirmed: true, CreatedAt: s.now(), Credential: base64.RawURLEncoding.EncodeToString(key.ID)}
	if err := s.sealKey(row, key); err != nil {
		return nil, err
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		// A credential is one person's: else who registers it again could take it over.
		n, err := tx.NewSelect().Model((*factorRow)(nil)).Where("credential = ?", row.Credential).Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%w: it is registered already", ErrBadPasskey)
		}
		if _, err := tx.NewInsert().Model(row).Exec(ctx); err != nil {
			return fmt.Errorf("register a passkey: %w", err)
		}
		recovery, err = s.firstFactor(ctx, tx, sess)
		return err
	})
	return recovery, err
}

func badPasskey(err error) error {
	var p *protocol.Error
	if errors.As(err, &p) {
		return fmt.Errorf("%w: %s %s", ErrBadPasskey, p.Details, p.DevInfo)
	}
	return fmt.Errorf("%w: %w", ErrBadPasskey, err)
}

func (s *Service) sealKey(row *factorRow, key *webauthn.Credential) error {
	// What the authenticator said about its make is not kept.
	key.Attestation = webauthn.CredentialAttestation{}
	text, err := json.Marshal(key)
	if err != nil {
		return fmt.Errorf("keep a passkey: %w", err)
	}
	row.Secret = s.sealed(text, row.ID)
	return nil
}

// BeginPasskeySignIn asks any passkey of this site to sign somebody in, with
// no name and no password before.
func (s *Service) BeginPasskeySignIn(ctx context.Context, c Client) (*Ceremony, error) {
	if err := s.throttle.take("passkey:"+c.Address, addressTries, throttleWindow); err != nil {
		return nil, err
	}
	rp, err := s.relyingParty()
	if err != nil {
		return nil, err
	}
	options, data, err := rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, fmt.Errorf("ask for a passkey: %w", err)
	}
	token, err := s.NewChallenge(ctx, askAlone, "", data, passkeyLife)
	return &Ceremony{token, options}, err
}

// PasskeySignIn signs in whom the passkey that answered belongs to. It has
// verified its user (by fingerprint, face or PIN), so it counts for both factors.
func (s *Service) PasskeySignIn(ctx context.Context, store, token string, answer []byte, c Client) (*Result, error) {
	if err := s.throttle.take("address:"+c.Address, addressTries, throttleWindow); err != nil {
		return nil, err
	}
	var data webauthn.SessionData
	if err := s.UseChallenge(ctx, askAlone, "", token, &data); err != nil {
		return nil, err
	}
	rp, err := s.relyingParty()
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, badPasskey(err)
	}
	var holder *keyHolder
	_, key, err := rp.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		u, err := s.user(ctx, store, string(handle))
		if err != nil {
			return nil, err
		}
		holder, err = s.keyHolder(ctx, s.db, u)
		return holder, err
	}, data, parsed)
	if err != nil {
		return nil, badPasskey(err)
	}
	_, trusted, err := s.device(ctx, holder.ID, c.Device)
	if err != nil {
		return nil, err
	}
	var out *Result
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := s.usedPasskey(ctx, tx, holder, key); err != nil {
			return err
		}
		out, err = s.finish(ctx, tx, holder.User, trusted, c, first{method: kindPasskey})
		return err
	})
	return out, err
}

// usedPasskey notes the counter of a passkey. One that counts backwards may be a
// copy and is refused.
func (s *Service) usedPasskey(ctx context.Context, tx bun.IDB, h *keyHolder, key *webauthn.Credential) error {
	if key.Authenticator.CloneWarning {
		return fmt.Errorf("%w: its counter went back, it may have been copied", ErrBadPasskey)
	}
	for i := range h.rows {
		if !bytes.Equal(h.keys[i].ID, key.ID) {
			continue
		}
		before, row := h.rows[i].Secret, &h.rows[i]
		row.UsedAt = s.now()
		if err := s.sealKey(row, key); err != nil {
			return err
		}
		// Two answers at the same moment: the second one's counter is not newer.
		res, err := tx.NewUpdate().Model(row).Column("secret", "used_at").WherePK().Where("secret = ?", before).Exec(ctx)
		if err != nil {
			return fmt.Errorf("note a passkey's use: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
	}
	return fmt.Errorf("%w: it was removed or used meanwhile", ErrBadPasskey)
}

// askPerson asks the passkeys of a known person.
func (s *Service) askPerson(ctx context.Context, purpose string, u directory.User, verification protocol.UserVerificationRequirement) (*Ceremony, error) {
	rp, err := s.relyingParty()
	if err != nil {
		return nil, err
	}
	h, err := s.keyHolder(ctx, s.db, u)
	if err != nil {
		return nil, err
	}
	if len(h.keys) == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrBadPasskey)
	}
	options, data, err := rp.BeginLogin(h, webauthn.WithUserVerification(verification))
	if err != nil {
		return nil, fmt.Errorf("ask for a passkey: %w", err)
	}
	token, err := s.NewChallenge(ctx, purpose, u.ID, data, passkeyLife)
	return &Ceremony{token, options}, err
}

// answered checks the answer to askPerson.
func (s *Service) answered(ctx context.Context, purpose string, u directory.User, token string, answer []byte) (*keyHolder, *webauthn.Credential, error) {
	var data webauthn.SessionData
	if err := s.UseChallenge(ctx, purpose, u.ID, token, &data); err != nil {
		return nil, nil, err
	}
	rp, err := s.relyingParty()
	if err != nil {
		return nil, nil, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return nil, nil, badPasskey(err)
	}
	h, err := s.keyHolder(ctx, s.db, u)
	if err != nil {
		return nil, nil, err
	}
	key, err := rp.ValidateLogin(h, data, parsed)
	if err != nil {
		return nil, nil, badPasskey(err)
	}
	return h, key, nil
}

// BeginFactorPasskey asks for a passkey as the second step; factor is the token
// of the first.
func (s *Service) BeginFactorPasskey(ctx context.Context, factor string, c Client) (*Ceremony, error) {
	if err := s.throttle.take("passkey:"+c.Address, addressTries, throttleWindow); err != nil {
		return nil, err
	}
	u, err := s.peekLink(ctx, linkFactor, factor)
	if err != nil {
		return nil, err
	}
	return s.askPerson(ctx, askFactor, u, protocol.VerificationPreferred)
}

// FactorPasskey is the second step by a passkey.
func (s *Service) FactorPasskey(ctx context.Context, factor, token string, answer []byte, remember bool, c Client) (*Result, error) {
	if err := s.throttle.take("address:"+c.Address, addressTries, throttleWindow); err != nil {
		return nil, err
	}
	u, err := s.peekLink(ctx, linkFactor, factor)
	if err != nil {
		return nil, err
	}
	h, key, err := s.answered(ctx, askFactor, u, token, answer)
	if err != nil {
		return nil, err
	}
	var out *Result
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if err := s.usedPasskey(ctx, tx, h, key); err != nil {
			return err
		}
		f, err := s.firstOf(ctx, tx, factor)
		if err != nil {
			return err
		}
		if err := s.useLink(ctx, tx, linkFactor, factor); err != nil {
			return err
		}
		out, err = s.finish(ctx, tx, u, remember, c, f, kindPasskey)
		return err
	})
	return out, err
}

// BeginStepUpPasskey asks a signed-in person for a passkey, to show again who
// they are.
func (s *Service) BeginStepUpPasskey(ctx context.Context, sess *Session) (*Ceremony, error) {
	return s.askPerson(ctx, askStepUp, sess.User, protocol.VerificationRequired)
}

// StepUpPasskey takes the answer to BeginStepUpPasskey.
func (s *Service) StepUpPasskey(ctx context.Context, sess *Session, token string, answer []byte) error {
	h, key, err := s.answered(ctx, askStepUp, sess.User, token, answer)
	if err != nil {
		return err
	}
	err = s.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return s.usedPasskey(ctx, tx, h, key) })
	if err != nil {
		return err
	}
	return s.proved(ctx, sess, kindPasskey)
}

// checkFactorName trims the name of a factor and refuses what is none.
func checkFactorName(name *string) error {
	if *name = strings.TrimSpace(*name); *name == "" || len(*name) > maxName || strings.ContainsAny(*name, "\r\n\x00") {
		return &directory.InvalidError{Field: "name", Message: fmt.Sprintf("allowed are 1 to %d bytes in one line", maxName)}
	}
	return nil
}

func (s *Service) roomForFactor(ctx context.Context, userID string) error {
	factors, err := s.Factors(ctx, userID)
	if err != nil {
		return err
	}
	if len(factors) >= maxFactors {
		return &directory.LimitError{Message: fmt.Sprintf("%d factors are the most that a person may have.", maxFactors)}
	}
	return nil
}

// firstFactor makes recovery codes where there are none yet, and ends the other
// sessions then.
func (s *Service) firstFactor(ctx context.Context, tx bun.IDB, sess *Session) ([]string, error) {
	n, err := tx.NewSelect().Model((*recoveryRow)(nil)).Where("user_id = ?", sess.User.ID).Count(ctx)
	if err != nil || n > 0 {
		return nil, err
	}
	codes, err := s.newRecoveryCodes(ctx, tx, sess.User.ID)
	if err != nil {
		return nil, err
	}
	return codes, s.endOthers(ctx, tx, sess.User.ID, sess.ID)
}
