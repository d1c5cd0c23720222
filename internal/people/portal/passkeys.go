package portal

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mangru/mangru/internal/people/signin"
)

func passkeyRoutes() []route {
	return []route{
		{"POST /signin/passkey/begin", anyone, (*server).beginPasskeySignIn},
		{"POST /signin/passkey", anyone, (*server).passkeySignIn},
		{"POST /factor/passkey/begin", anyone, (*server).beginFactorPasskey},
		{"POST /factor/passkey", anyone, (*server).factorPasskey},
		{"POST /me/stepup/passkey/begin", signedIn, (*server).beginStepUpPasskey},
		{"POST /me/stepup/passkey", signedIn, (*server).stepUpPasskey},
		{"POST /me/passkeys/begin", signedIn, (*server).beginPasskey},
		{"POST /me/passkeys", signedIn, (*server).addPasskey},
	}
}

// ceremonyOutput is what a page hands to the browser's authenticator.
type ceremonyOutput struct {
	Token   string `json:"token"`
	Options any    `json:"options"`
}

func ceremonyOf(c *signin.Ceremony, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return ceremonyOutput{c.Token, c.Options}, nil
}

// passkeyInput is what it answered.
type passkeyInput struct {
	Token      string          `json:"token"`
	Credential json.RawMessage `json:"credential"`
	// Name is of one that is registered; Factor and Remember are of a second step.
	Name     string `json:"name"`
	Factor   string `json:"factor"`
	Remember bool   `json:"remember"`
}

// refusedPasskey writes down why a passkey was refused; the caller is not told.
func (s *server) refusedPasskey(c *call, err error) {
	if errors.Is(err, signin.ErrBadPasskey) {
		s.log.WarnContext(c.Context(), "passkey refused", "err", err, "address", c.client().Address)
	}
}

func (s *server) beginPasskeySignIn(c *call) (any, error) {
	return ceremonyOf(s.SignIn.BeginPasskeySignIn(c.Context(), c.client()))
}

func (s *server) passkeySignIn(c *call) (any, error) {
	var in passkeyInput
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	r, err := s.SignIn.PasskeySignIn(c.Context(), s.Store.ID, in.Token, in.Credential, c.client())
	if err != nil {
		s.refusedPasskey(c, err)
		return nil, err
	}
	return s.finish(c, r)
}

func (s *server) beginFactorPasskey(c *call) (any, error) {
	var in tokenInput
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return ceremonyOf(s.SignIn.BeginFactorPasskey(c.Context(), in.Token, c.client()))
}

func (s *server) factorPasskey(c *call) (any, error) {
	var in passkeyInput
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	r, err := s.SignIn.FactorPasskey(c.Context(), in.Factor, in.Token, in.Credential, in.Remember, c.client())
	if err != nil {
		s.refusedPasskey(c, err)
		return nil, err
	}
	return s.finish(c, r)
}

func (s *server) beginStepUpPasskey(c *call) (any, error) {
	return ceremonyOf(s.SignIn.BeginStepUpPasskey(c.Context(), c.sess))
}

func (s *server) stepUpPasskey(c *call) (any, error) {
	var in passkeyInput
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	err := s.SignIn.StepUpPasskey(c.Context(), c.sess, in.Token, in.Credential)
	s.refusedPasskey(c, err)
	return nil, err
}

func (s *server) beginPasskey(c *call) (any, error) {
	return ceremonyOf(s.SignIn.BeginPasskey(c.Context(), c.sess))
}

func (s *server) addPasskey(c *call) (any, error) {
	var in passkeyInput
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	codes, err := s.SignIn.FinishPasskey(c.Context(), c.sess, in.Token, in.Name, in.Credential)
	if err != nil {
		s.refusedPasskey(c, err)
		return nil, err
	}
	s.changed(c)
	return map[string][]string{"recoveryCodes": codes}, nil
}

// passkeyStatus is how an error about passkeys is answered; 0 for other errors.
func passkeyStatus(err error) (status int, code, message string) {
	switch {
	case errors.Is(err, signin.ErrBadPasskey):
		return http.StatusForbidden, "passkey", signin.ErrBadPasskey.Error()
	case errors.Is(err, signin.ErrNoPasskeys):
		return http.StatusConflict, "nopasskeys", signin.ErrNoPasskeys.Error()
	}
	return 0, "", ""
}
