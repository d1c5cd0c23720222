package portal

import (
	"time"

	"github.com/mangru/mangru/internal/mail"
	"github.com/mangru/mangru/internal/people/directory"
)

type userOutput struct {
	ID            string    `json:"id"`
	Login         string    `json:"login"`
	DisplayName   string    `json:"displayName"`
	Email         string    `json:"email"`
	EmailVerified bool      `json:"emailVerified"`
	Disabled      bool      `json:"disabled"`
	Administrator bool      `json:"administrator"`
	HasPassword   bool      `json:"hasPassword"`
	Created       time.Time `json:"created"`
}

func (s *server) userOf(c *call, u *directory.User) (userOutput, error) {
	has, err := s.SignIn.HasPassword(c.Context(), u.ID)
	return userOutput{u.ID, u.UserName, u.Profile.DisplayName, u.Email(), !u.EmailVerified.IsZero(), u.Disabled, u.Administrator, has, u.Created}, err
}

func (s *server) users(c *call) (any, error) {
	q := c.URL.Query()
	list, next, err := s.Directory.Users(c.Context(), s.Store.ID, directory.UserFilter{Search: q.Get("search")}, directory.Page{After: q.Get("after")})
	if err != nil {
		return nil, err
	}
	out := struct {
		Users []userOutput `json:"users"`
		Next  string       `json:"next"`
	}{make([]userOutput, len(list)), next}
	for i := range list {
		if out.Users[i], err = s.userOf(c, &list[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *server) createUser(c *call) (any, error) {
	var in struct {
		Login       string `json:"login"`
		Email       string `json:"email"`
		GivenName   string `json:"givenName"`
		FamilyName  string `json:"familyName"`
		DisplayName string `json:"displayName"`
		Language    string `json:"language"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	if in.DisplayName == "" {
		in.DisplayName = in.GivenName + " " + in.FamilyName
	}
	u := directory.User{StoreID: s.Store.ID, UserName: in.Login, Profile: directory.Profile{DisplayName: in.DisplayName, PreferredLanguage: in.Language,
		Name: &directory.Name{GivenName: in.GivenName, FamilyName: in.FamilyName}}}
	u.Profile.SetEmail(in.Email)
	u, err := s.Directory.CreateUser(c.Context(), c.sess.User.ID, u)
	if err != nil {
		return nil, err
	}
	s.note(c.Context(), "person created", c, u.ID)
	return s.userOf(c, &u)
}

func (s *server) user(c *call) (directory.User, error) {
	return s.Directory.User(c.Context(), s.Store.ID, c.PathValue("id"))
}

// sentOutput says what became of a mail. Without a mail server the administrator
// gets the link, to hand it on.
type sentOutput struct {
	Sent    bool      `json:"sent"`
	Link    string    `json:"link,omitempty"`
	Expires time.Time `json:"expires"`
}

func (s *server) invite(c *call) (any, error) {
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	if u.Email() == "" {
		return nil, &directory.InvalidError{Field: "email", Message: "the person has none: give them a one-time password"}
	}
	if err := s.SignIn.MailTry(&u); err != nil {
		return nil, err
	}
	token, expires, err := s.SignIn.Invitation(c.Context(), &u)
	if err != nil {
		return nil, err
	}
	out := sentOutput{Sent: !s.Mail.UsesOutbox(), Expires: expires}
	link := s.BaseURL() + "/accept#token=" + token
	if !out.Sent {
		out.Link = link
	}
	s.send(&u, mail.Invitation, link, expires)
	s.note(c.Context(), "person invited", c, u.ID)
	return out, nil
}

func (s *server) sendVerification(c *call) (any, error) {
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	return s.sendVerificationTo(c, u)
}

func (s *server) sendVerificationTo(c *call, u directory.User) (any, error) {
	if u.Email() == "" {
		return nil, &directory.InvalidError{Field: "email", Message: "the person has none"}
	}
	if err := s.SignIn.MailTry(&u); err != nil {
		return nil, err
	}
	token, expires, err := s.SignIn.Verification(c.Context(), &u)
	if err != nil {
		return nil, err
	}
	out := sentOutput{Sent: !s.Mail.UsesOutbox(), Expires: expires}
	link := s.BaseURL() + "/verify#token=" + token
	if !out.Sent && c.sess.User.Administrator {
		out.Link = link
	}
	s.send(&u, mail.Verification, link, expires)
	return out, nil
}

func (s *server) oneTimePassword(c *call) (any, error) {
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	password, expires, err := s.SignIn.OneTimePassword(c.Context(), &u)
	s.note(c.Context(), "one-time password made", c, u.ID)
	return map[string]any{"password": password, "expires": expires}, err
}

func (s *server) resetFactors(c *call) (any, error) {
	u, err := s.user(c)
	if err != nil {
		return nil, err
	}
	s.note(c.Context(), "second factors reset", c, u.ID)
	return nil, s.SignIn.ResetFactors(c.Context(), u.ID)
}

func (s *server) changeUser(c *call) (any, error) {
	var in struct {
		Disabled      *bool   `json:"disabled"`
		Administrator *bool   `json:"administrator"`
		Email         *string `json:"email"`
	}
	if err := c.decode(&in); err != nil {
		return nil, err
	}
	up := directory.UserUpdate{Disabled: in.Disabled, Administrator: in.Administrator}
	if in.Email != nil {
		up.Profile = func(p *directory.Profile) error { p.SetEmail(*in.Email); return nil }
	}
	u, err := s.Directory.UpdateUser(c.Context(), c.sess.User.ID, s.Store.ID, c.PathValue("id"), up)
	if err != nil {
		return nil, err
	}
	if u.Disabled {
		if err := s.SignIn.EndAll(c.Context(), u.ID, ""); err != nil {
			return nil, err
		}
	}
	s.note(c.Context(), "person changed", c, u.ID)
	return s.userOf(c, &u)
}
