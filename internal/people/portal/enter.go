package portal

import (
	"errors"
	"time"

	"github.com/mangru/mangru/internal/mail"
	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/people/signin"
)

// progress says what comes next in a sign-in: done, factor or change.
type progress struct {
	Next  string `json:"next"`
	Token string `json:"token,omitempty"`
	// Passkey says that a passkey may be the second factor.
	Passkey bool `json:"passkey,omitempty"`
}

// finish answers for a step of a sign-in. The session that the browser had ends:
// none is ever taken over.
func (s *server) finish(c *call, r *signin.Result) (any, error) {
	switch {
	case r.Factor != "":
		return progress{Next: "factor", Token: r.Factor, Passkey: r.Passkey}, nil
	case r.MustChange != "":
		return progress{Next: "change", Token: r.MustChange}, nil
	}
	if old := cookie(c.Request, SessionCookie); old != "" {
		if err := s.SignIn.End(c.Context(), old); err != nil {
			return nil, err
		}
	}
	s.setCookie(c, SessionCookie, r.Secret, r.Session.Expires)
	const deviceLife = 30 * 24 * time.Hour
	s.setCookie(c, deviceCookie, r.Device, r.Session.Created.Add(deviceLife))
	s.note(c.Context(), "signed in", c, r.Session.User.ID)
	return progress{Next: "done"}, nil
}

func (s *server) signIn(c *call) (any, error) {
	var in struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	r, err := s.SignIn.Password(c.Context(), s.Store.ID, in.Name, in.Password, c.client())
	if err != nil {
		return nil, err
	}
	return s.finish(c, r)
}

func (s *server) factor(c *call) (any, error) {
	var in struct {
		Token    string `json:"token"`
		Code     string `json:"code"`
		Remember bool   `json:"remember"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	r, err := s.SignIn.Factor(c.Context(), in.Token, in.Code, in.Remember, c.client())
	if err != nil {
		return nil, err
	}
	return s.finish(c, r)
}

// forgot answers the same for every address, known or not, and as quickly:
// mails leave in the background.
func (s *server) forgot(c *call) (any, error) {
	var in struct {
		Email string `json:"email"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	token, u, err := s.SignIn.Reset(c.Context(), s.Store.ID, in.Email, c.client())
	if errors.Is(err, signin.ErrBadLink) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.send(&u, mail.Reset, s.BaseURL()+"/accept#token="+token, time.Time{})
	return nil, nil
}

// send puts a mail into the queue. That it could not be is for the log: the
// caller must not learn from it whether there is such a person.
func (s *server) send(u *directory.User, kind mail.Kind, link string, expires time.Time) {
	err := s.Mail.Send(mail.Message{Kind: kind, To: u.Email(), Name: u.Shown(), Language: language(u), Link: link, Expires: expires})
	if err != nil {
		s.log.Error("a mail could not be queued", "user", u.ID, "kind", kind, "err", err)
	}
}

// language of a person's mails.
func language(u *directory.User) string {
	for _, l := range []string{u.Profile.PreferredLanguage, u.Profile.Locale} {
		if len(l) >= 2 && (l[:2] == "ko" || l[:2] == "en") {
			return l[:2]
		}
	}
	return "en"
}

type tokenInput struct {
	Token string `json:"token"`
}

func (s *server) invited(c *call) (any, error) {
	var in tokenInput
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	u, err := s.SignIn.Invited(c.Context(), in.Token, c.client())
	if err != nil {
		return nil, err
	}
	return map[string]string{"login": u.UserName, "name": u.Shown()}, nil
}

func (s *server) accept(c *call) (any, error) {
	var in struct {
		Token    string `json:"token"`
		Password string `json:"password"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	r, err := s.SignIn.Accept(c.Context(), in.Token, in.Password, c.client())
	if err != nil {
		return nil, err
	}
	return s.finish(c, r)
}

func (s *server) verify(c *call) (any, error) {
	var in tokenInput
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	u, err := s.SignIn.Verify(c.Context(), in.Token, c.client())
	if err != nil {
		return nil, err
	}
	return map[string]string{"email": u.Email()}, nil
}
