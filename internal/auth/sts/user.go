package sts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
)

// SessionTokenInput is what GetSessionToken takes.
type SessionTokenInput struct {
	DurationSeconds         *int32
	SerialNumber, TokenCode *string
	MinimumSessionTokenSize *int32
}

// GetSessionToken gives a user temporary credentials with its own permissions.
// Refusals are *Error.
func (s *Service) GetSessionToken(_ context.Context, p iam.Principal, in SessionTokenInput) (*Session, error) {
	out, err := s.userSession(p, &in)
	s.count("GetSessionToken", err)
	return out, err
}

func (s *Service) userSession(p iam.Principal, in *SessionTokenInput) (*Session, error) {
	var v violations
	v.number("durationSeconds", in.DurationSeconds, minDuration, maxUserDuration)
	v.number("minimumSessionTokenSize", in.MinimumSessionTokenSize, 0, maxToken)
	if err := v.err(); err != nil {
		return nil, err
	}
	if p.Session != nil || p.Type != iam.TypeUser {
		return nil, denied("caller is a session", "Cannot call GetSessionToken with session credentials")
	}
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, denied("there are no MFA devices", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
	}
	life := defaultUserSession
	if in.DurationSeconds != nil {
		life = time.Duration(*in.DurationSeconds) * time.Second
	}
	least := 0
	if in.MinimumSessionTokenSize != nil {
		least = int(*in.MinimumSessionTokenSize)
	}
	p.Session = &iam.Session{}
	return s.issue(p, life, least)
}

// AccountOfKey is GetAccessKeyInfo: the account that an access key belongs to.
// The caller learns it for keys of its own account only; all others do not exist
// for it.
func (s *Service) AccountOfKey(ctx context.Context, p iam.Principal, id string) (string, error) {
	account, err := s.accountOfKey(ctx, p, id)
	s.count("GetAccessKeyInfo", err)
	return account, err
}

func (s *Service) accountOfKey(ctx context.Context, p iam.Principal, id string) (string, error) {
	var v violations
	v.required("accessKeyId", id, 16, 128, patternKeyID)
	if err := v.err(); err != nil {
		return "", err
	}
	unknown := &Error{Status: http.StatusForbidden, Code: "InvalidClientTokenId", Message: "The access key ID provided does not exist in your account."}
	if strings.HasPrefix(id, temporaryPrefix) {
		if account, ok := accountOfKey(id); ok && account == p.AccountID {
			return account, nil
		}
		return "", unknown
	}
	switch _, err := s.cfg.Store.AccessKeyInfo(ctx, p.AccountID, id); {
	case errors.Is(err, iam.ErrNoSuchEntity):
		return "", unknown
	case err != nil:
		return "", fmt.Errorf("look up access key: %w", err)
	}
	return p.AccountID, nil
}
