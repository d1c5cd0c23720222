package portal

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mangru/mangru/internal/people/federation"
	"github.com/mangru/mangru/internal/people/signin"
)

// What browsers are asked on their way to a provider outside and back.
const (
	askOutside   = "outside"
	askArrived   = "outside-arrived"
	outsideLife  = 10 * time.Minute
	arrivedLife  = time.Minute
	bindCookie   = "mangru_outside"
	maxSAMLInput = 1 << 20
)

// Outside returns the handler for everything below federation.Base: the ways of
// browsers to identity providers and back. These are pages, not calls.
func Outside(cfg Config, log *slog.Logger) http.Handler {
	s := &server{cfg, log}
	mux := http.NewServeMux()
	one := federation.Base + "/{id}"
	for pattern, do := range map[string]func(*server, *call) (string, error){
		"GET " + one + "/start":     (*server).startOutside,
		"GET " + one + "/callback":  (*server).callback,
		"POST " + one + "/callback": (*server).callback,
		"GET " + one + "/arrived":   (*server).arrived,
		// Where the provider sends browsers after it ended its session.
		"GET " + one + "/signed-out": func(s *server, _ *call) (string, error) { return s.BaseURL() + "/login", nil },
	} {
		mux.Handle(pattern, s.page(do))
	}
	mux.Handle("GET "+one+"/metadata", http.HandlerFunc(s.samlMetadata))
	return mux
}

// page serves a step that ends in sending the browser elsewhere. What goes wrong
// is shown by the sign-in page.
func (s *server) page(do func(*server, *call) (string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		c := &call{Request: r, w: w}
		if err := s.checkHost(c); err != nil {
			s.fail(c, err)
			return
		}
		to, err := do(s, c)
		if err != nil {
			to = s.BaseURL() + "/login#problem=" + url.QueryEscape(s.outsideProblem(c, err))
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	})
}

// outsideProblem is what the sign-in page says; the rest is for the log.
func (s *server) outsideProblem(c *call, err error) string {
	var account *federation.AccountError
	var slow *signin.ThrottledError
	switch {
	case errors.As(err, &account):
		return account.Message
	case errors.As(err, &slow):
		return slow.Error()
	case errors.Is(err, signin.ErrBadLink):
		return "This sign-in took too long, was begun elsewhere, or is over. Try again."
	case errors.Is(err, federation.ErrNotFound):
		return federation.ErrNotFound.Error()
	}
	s.log.WarnContext(c.Context(), "sign-in by identity provider failed", "provider", c.PathValue("id"), "err", err, "address", c.client().Address)
	if errors.Is(err, federation.ErrRefused) {
		return federation.ErrRefused.Error()
	}
	return "The identity provider cannot be reached, or is set up wrongly. The server's log says more."
}

func (s *server) samlMetadata(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, w: w}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := s.checkHost(c); err != nil {
		s.fail(c, err)
		return
	}
	text, err := s.Federation.Metadata(r.PathValue("id"))
	if err != nil {
		s.fail(c, err)
		return
	}
	w.Header().Set("Content-Type", "application/samlmetadata+xml")
	_, _ = w.Write(text) // a caller that left is no error of ours
}

func bindingOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// startOutside sends a browser to a provider. The cookie ties what comes back to
// this browser: nobody can be made to sign in as somebody else.
func (s *server) startOutside(c *call) (string, error) {
	if err := s.SignIn.OutsideTry("start", c.client()); err != nil {
		return "", err
	}
	secret, state := signin.NewToken(), signin.NewToken()
	pending := &federation.Pending{Binding: bindingOf(secret), To: wanted(c.URL.Query().Get("redirectTo"))}
	to, err := s.Federation.Begin(c.Context(), c.PathValue("id"), state, pending)
	if err != nil {
		return "", err
	}
	if err := s.SignIn.KeepChallenge(c.Context(), askOutside, "", state, pending, outsideLife); err != nil {
		return "", err
	}
	http.SetCookie(c.w, &http.Cookie{Name: bindCookie, Value: secret, Path: federation.Base, MaxAge: int(outsideLife.Seconds()), HttpOnly: true,
		Secure: s.Secure || c.TLS != nil, SameSite: http.SameSiteLaxMode})
	return to, nil
}

// wanted is the page to show after a sign-in: one of this server's own.
func wanted(to string) string {
	const most = 2000 // it is kept, of whoever asks
	if len(to) > most || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || strings.HasPrefix(to, "/login") {
		return "/"
	}
	return to
}

// arrival is an accepted answer, between the provider's address and the page
// that the browser's own cookie reaches.
type arrival struct {
	Assertion *federation.Assertion `json:"assertion"`
	Binding   string                `json:"binding"`
	To        string                `json:"to"`
}

// callback takes a provider's answer, once. A form that comes from the
// provider's page has no cookies of ours; the next step, a plain visit, has.
func (s *server) callback(c *call) (string, error) {
	if err := s.SignIn.OutsideTry("callback", c.client()); err != nil {
		return "", err
	}
	state := c.URL.Query().Get("state")
	if c.Method == http.MethodPost {
		c.Body = http.MaxBytesReader(c.w, c.Body, maxSAMLInput)
		if err := c.ParseForm(); err != nil {
			return "", federation.ErrRefused
		}
		state = c.PostForm.Get("RelayState")
	}
	var pending federation.Pending
	if err := s.SignIn.UseChallenge(c.Context(), askOutside, "", state, &pending); err != nil {
		return "", err
	}
	a, err := s.Federation.Finish(c.Request, c.PathValue("id"), &pending)
	if err != nil {
		return "", err
	}
	ticket, err := s.SignIn.NewChallenge(c.Context(), askArrived, "", arrival{a, pending.Binding, pending.To}, arrivedLife)
	if err != nil {
		return "", err
	}
	return federation.Base + "/" + c.PathValue("id") + "/arrived?ticket=" + ticket, nil
}

// arrived signs in the browser that began.
func (s *server) arrived(c *call) (string, error) {
	if err := s.SignIn.OutsideTry("arrived", c.client()); err != nil {
		return "", err
	}
	var in arrival
	if err := s.SignIn.UseChallenge(c.Context(), askArrived, "", c.URL.Query().Get("ticket"), &in); err != nil {
		return "", err
	}
	secret := cookie(c.Request, bindCookie)
	if secret == "" || subtle.ConstantTimeCompare([]byte(bindingOf(secret)), []byte(in.Binding)) != 1 {
		return "", signin.ErrBadLink
	}
	http.SetCookie(c.w, &http.Cookie{Name: bindCookie, Path: federation.Base, MaxAge: -1, HttpOnly: true, Secure: s.Secure || c.TLS != nil, SameSite: http.SameSiteLaxMode})
	u, err := s.Federation.Person(c.Context(), in.Assertion)
	if err != nil {
		return "", err
	}
	r, err := s.SignIn.SignInOutside(c.Context(), u, signin.Outside{Provider: in.Assertion.Provider, Subject: in.Assertion.Subject}, c.client())
	if err != nil {
		return "", err
	}
	if r.Factor != "" {
		kind := "factor"
		if r.Passkey {
			kind = "factor-passkey"
		}
		return s.BaseURL() + "/login?redirectTo=" + url.QueryEscape(in.To) + "#" + kind + "=" + r.Factor, nil
	}
	if _, err := s.finish(c, r); err != nil {
		return "", err
	}
	return s.BaseURL() + in.To, nil
}

func outsideRoutes() []route {
	const one = "/providers/{id}"
	return []route{
		{"GET /outside", anyone, (*server).outside},
		{"GET /providers", administrators, (*server).providers},
		{"PUT " + one, administrators, (*server).putProvider},
		{"DELETE " + one, administrators, (*server).deleteProvider},
	}
}

// outside lists what the sign-in page has buttons for.
func (s *server) outside(c *call) (any, error) {
	type button struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	list, err := s.Federation.List(c.Context())
	out := []button{}
	for _, p := range list {
		if p.Enabled {
			out = append(out, button{p.ID, p.Name})
		}
	}
	return out, err
}

type providerOutput struct {
	ID          string              `json:"id"`
	Kind        string              `json:"kind"`
	Name        string              `json:"name"`
	Enabled     bool                `json:"enabled"`
	Settings    federation.Settings `json:"settings"`
	HasSecret   bool                `json:"hasSecret"`
	CallbackURL string              `json:"callbackUrl"`
	MetadataURL string              `json:"metadataUrl,omitempty"`
}

func (s *server) providers(c *call) (any, error) {
	list, err := s.Federation.List(c.Context())
	out := make([]providerOutput, 0, len(list))
	for _, p := range list {
		o := providerOutput{ID: p.ID, Kind: p.Kind, Name: p.Name, Enabled: p.Enabled, Settings: p.Settings, HasSecret: p.HasSecret,
			CallbackURL: s.BaseURL() + federation.Base + "/" + p.ID + "/callback"}
		if p.Kind == federation.SAML {
			o.MetadataURL = s.BaseURL() + federation.Base + "/" + p.ID + "/metadata"
		}
		out = append(out, o)
	}
	return out, err
}

// putProvider decides who gets in, so it needs a fresh proof.
func (s *server) putProvider(c *call) (any, error) {
	if !c.sess.Fresh(time.Now()) {
		return nil, signin.ErrStepUp
	}
	var in struct {
		Kind     string              `json:"kind"`
		Name     string              `json:"name"`
		Enabled  bool                `json:"enabled"`
		Settings federation.Settings `json:"settings"`
		Secret   string              `json:"secret"`
	}
	if err := c.decodeUpTo(&in, maxSAMLInput); err != nil {
		return nil, err
	}
	id := c.PathValue("id")
	return nil, s.did(c, "mangru:PutIdentityProvider", id,
		s.Federation.Put(c.Context(), &federation.Provider{ID: id, Kind: in.Kind, Name: in.Name, Enabled: in.Enabled, Settings: in.Settings, Secret: in.Secret}))
}

func (s *server) deleteProvider(c *call) (any, error) {
	if !c.sess.Fresh(time.Now()) {
		return nil, signin.ErrStepUp
	}
	id := c.PathValue("id")
	return nil, s.did(c, "mangru:DeleteIdentityProvider", id, s.Federation.Delete(c.Context(), id))
}
