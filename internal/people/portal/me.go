package portal

import (
	"time"

	"github.com/mangru/mangru/internal/mail"
	"github.com/mangru/mangru/internal/people/directory"
)

type factorOutput struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
}

func (s *server) me(c *call) (any, error) {
	u := &c.sess.User
	factors, err := s.SignIn.Factors(c.Context(), u.ID)
	if err != nil {
		return nil, err
	}
	list := make([]factorOutput, len(factors))
	for i, f := range factors {
		list[i] = factorOutput{f.ID, f.Kind, f.Name, f.Created}
	}
	has, err := s.SignIn.HasPassword(c.Context(), u.ID)
	if err != nil {
		return nil, err
	}
	left, err := s.SignIn.RecoveryLeft(c.Context(), u.ID)
	if err != nil {
		return nil, err
	}
	out := map[string]any{
		"id": u.ID, "login": u.UserName, "displayName": u.Profile.DisplayName, "email": u.Email(), "emailVerified": !u.EmailVerified.IsZero(),
		"language": language(u), "administrator": u.Administrator, "hasPassword": has, "factors": list, "recoveryCodesLeft": left,
		"csrfToken": c.sess.CSRFToken, "fresh": c.sess.Fresh(time.Now()), "expires": c.sess.Expires,
		"passkeyOrigin": s.SignIn.PasskeyOrigin(),
	}
	if n := u.Profile.Name; n != nil {
		out["givenName"], out["familyName"] = n.GivenName, n.FamilyName
	}
	return out, nil
}

// changeMe changes what people may say about themselves. The address is not
// among it: an administrator changes that.
func (s *server) changeMe(c *call) (any, error) {
	var in struct {
		DisplayName, GivenName, FamilyName, Language string
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.DisplayName == "" {
		return nil, &directory.InvalidError{Field: "displayName", Message: "is required"}
	}
	_, err := s.Directory.UpdateUser(c.Context(), c.sess.User.ID, s.Store.ID, c.sess.User.ID, directory.UserUpdate{Profile: func(p *directory.Profile) error {
		if p.Name == nil {
			p.Name = &directory.Name{}
		}
		p.DisplayName, p.Name.GivenName, p.Name.FamilyName, p.PreferredLanguage = in.DisplayName, in.GivenName, in.FamilyName, in.Language
		return nil
	}})
	return nil, err
}

func (s *server) stepUp(c *call) (any, error) {
	var in struct {
		Password string `json:"password"`
		Code     string `json:"code"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	return nil, s.SignIn.StepUp(c.Context(), c.sess, in.Password, in.Code)
}

func (s *server) changePassword(c *call) (any, error) {
	var in struct {
		Present string `json:"present"`
		New     string `json:"new"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if err := s.SignIn.ChangePassword(c.Context(), c.sess, in.Present, in.New, c.client()); err != nil {
		return nil, err
	}
	s.changed(c)
	return nil, nil
}

// changed tells a person that how they sign in was changed.
func (s *server) changed(c *call) {
	u := &c.sess.User
	s.note(c.Context(), "sign-in changed", c, u.ID)
	if u.Email() != "" && !u.EmailVerified.IsZero() {
		s.send(u, mail.Changed, "", time.Time{})
	}
}

func (s *server) verifyMe(c *call) (any, error) { return s.sendVerificationTo(c, c.sess.User) }

func (s *server) sessions(c *call) (any, error) {
	type session struct {
		ID      string    `json:"id"`
		Address string    `json:"address"`
		Agent   string    `json:"agent"`
		Created time.Time `json:"created"`
		Seen    time.Time `json:"seen"`
		Present bool      `json:"present"`
	}
	list, err := s.SignIn.Sessions(c.Context(), c.sess.User)
	out := make([]session, len(list))
	for i, x := range list {
		out[i] = session{x.ID, x.Address, x.Agent, x.Created, x.Seen, x.ID == c.sess.ID}
	}
	return out, err
}

func (s *server) endOthers(c *call) (any, error) {
	return nil, s.SignIn.EndAll(c.Context(), c.sess.User.ID, c.sess.ID)
}

func (s *server) endSession(c *call) (any, error) {
	return nil, s.SignIn.EndSession(c.Context(), c.sess.User.ID, c.PathValue("id"))
}

func (s *server) beginFactor(c *call) (any, error) {
	var in struct {
		Name string `json:"name"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	e, err := s.SignIn.BeginTOTP(c.Context(), c.sess, in.Name)
	if err != nil {
		return nil, err
	}
	return map[string]string{"id": e.ID, "secret": e.Secret, "url": e.URL, "qr": "data:image/png;base64," + e.QR}, nil
}

func (s *server) confirmFactor(c *call) (any, error) {
	var in struct {
		Code string `json:"code"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	codes, err := s.SignIn.ConfirmTOTP(c.Context(), c.sess, c.PathValue("id"), in.Code)
	if err != nil {
		return nil, err
	}
	s.changed(c)
	return map[string][]string{"recoveryCodes": codes}, nil
}

func (s *server) removeFactor(c *call) (any, error) {
	if err := s.SignIn.RemoveFactor(c.Context(), c.sess, c.PathValue("id")); err != nil {
		return nil, err
	}
	s.changed(c)
	return nil, nil
}

func (s *server) recoveryCodes(c *call) (any, error) {
	codes, err := s.SignIn.RecoveryCodes(c.Context(), c.sess)
	return map[string][]string{"recoveryCodes": codes}, err
}
