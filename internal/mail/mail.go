// Package mail writes to people: as mail through an SMTP server, or, where none
// is set, as files in an outbox directory. Every mail has a plain and an HTML
// part, in English or Korean.
package mail

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"text/template"
	"time"

	gomail "github.com/wneessen/go-mail"
)

// Kind is what a mail is about.
type Kind string

// The kinds of mails.
const (
	Invitation   Kind = "invitation"
	Verification Kind = "verification"
	Reset        Kind = "reset"
	Changed      Kind = "changed" // password or second factor, for the person to notice
)

// Message is a mail to one person.
type Message struct {
	Kind     Kind
	To       string
	Name     string // of the person, as shown
	Language string // en or ko; others are en
	Link     string
	Expires  time.Time
}

// TLS says how a connection to the SMTP server is secured.
type TLS string

// The ways. STARTTLS, the default, is demanded, not tried.
const (
	STARTTLS TLS = "starttls"
	Implicit TLS = "tls"
	None     TLS = "none" // refused with a password, unless the server is this machine
)

// Config says how mail leaves.
type Config struct {
	// From is the sender's address, Sender the name beside it.
	From, Sender string
	// Host is the SMTP server; empty means that mails go into Outbox.
	Host               string
	Port               int
	Username, Password string
	TLS                TLS
	// CAFile holds certificates that are trusted besides the system's.
	CAFile string
	// Outbox is the directory for mails when there is no server.
	Outbox string
}

// Mailer sends mails one after the other, in the background, so that how long a
// request takes does not tell whether there was one to send.
type Mailer struct {
	cfg    Config
	client *gomail.Client // nil: the outbox
	log    *slog.Logger
	queue  chan *gomail.Msg
	seq    atomic.Int64

	mu   sync.Mutex
	lost int // mails that did not leave
}

const (
	queued  = 1000
	timeout = 30 * time.Second
	tries   = 4
)

// New checks the configuration. Run has to be called for mails to leave.
func New(cfg Config, log *slog.Logger) (*Mailer, error) {
	if cfg.From == "" {
		cfg.From = "no-reply@localhost"
	}
	if cfg.Sender == "" {
		cfg.Sender = "Mangru"
	}
	m := &Mailer{cfg: cfg, log: log, queue: make(chan *gomail.Msg, queued)}
	if err := gomail.NewMsg().FromFormat(cfg.Sender, cfg.From); err != nil {
		return nil, fmt.Errorf("mail.from: found %q, expected an address such as no-reply@example.com", cfg.From)
	}
	if cfg.Host == "" {
		if cfg.Outbox == "" {
			return nil, errors.New("mail: neither a host nor an outbox is set")
		}
		if err := os.MkdirAll(cfg.Outbox, 0o700); err != nil {
			return nil, fmt.Errorf("make the outbox: %w", err)
		}
		return m, nil
	}
	var err error
	m.client, err = newClient(cfg)
	return m, err
}

// UsesOutbox reports whether mails stay on this machine, so that somebody has to
// hand out the links.
func (m *Mailer) UsesOutbox() bool { return m.client == nil }

func newClient(cfg Config) (*gomail.Client, error) {
	conf := &tls.Config{ServerName: cfg.Host, MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		text, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("mail.ca_file: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("mail.ca_file: %s holds no certificate in PEM", cfg.CAFile)
		}
	}
	opts := []gomail.Option{gomail.WithTimeout(timeout), gomail.WithTLSConfig(conf)}
	switch cfg.TLS {
	case "", STARTTLS:
		opts = append(opts, gomail.WithTLSPolicy(gomail.TLSMandatory))
	case Implicit:
		opts = append(opts, gomail.WithSSL())
	case None:
		if ip := net.ParseIP(cfg.Host); cfg.Password != "" && cfg.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return nil, errors.New("mail.tls: none would send the password in the clear: use starttls or tls")
		}
		opts = append(opts, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fmt.Errorf("mail.tls: found %q, allowed are starttls, tls and none", cfg.TLS)
	}
	if cfg.Port != 0 {
		opts = append(opts, gomail.WithPort(cfg.Port))
	}
	if cfg.Username != "" {
		auth := gomail.SMTPAuthAutoDiscover
		if cfg.TLS == None {
			auth = gomail.SMTPAuthPlainNoEnc // on this machine only
		}
		opts = append(opts, gomail.WithSMTPAuth(auth), gomail.WithUsername(cfg.Username), gomail.WithPassword(cfg.Password))
	}
	c, err := gomail.NewClient(cfg.Host, opts...)
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return c, nil
}

// Send puts a mail into the queue. What names a person may come from anywhere:
// a line break in it refuses the mail.
func (m *Mailer) Send(in Message) error {
	msg, err := m.compose(in)
	if err != nil {
		return err
	}
	select {
	case m.queue <- msg:
		return nil
	default:
		return fmt.Errorf("%d mails wait to be sent: the mail server does not take them", queued)
	}
}

func (m *Mailer) compose(in Message) (*gomail.Msg, error) {
	for field, v := range map[string]string{"name": in.Name, "address": in.To, "link": in.Link} {
		if strings.ContainsAny(v, "\r\n\x00") {
			return nil, fmt.Errorf("mail: the %s has a line break", field)
		}
	}
	text, ok := texts[in.Kind][in.Language]
	if !ok {
		if text, ok = texts[in.Kind]["en"]; !ok {
			return nil, fmt.Errorf("BUG: no text for mails of kind %q", in.Kind)
		}
		in.Language = "en"
	}
	data := struct {
		Message
		Subject, Greeting, Button string
		Lines                     []string
		Until                     string
	}{Message: in, Subject: text.subject, Greeting: fmt.Sprintf(text.greeting, in.Name), Button: text.button, Lines: text.lines}
	if !in.Expires.IsZero() {
		data.Until = fmt.Sprintf(text.until, in.Expires.UTC().Format("2006-01-02 15:04 UTC"))
	}
	var plain, html bytes.Buffer
	if err := errors.Join(plainPart.Execute(&plain, data), htmlPart.Execute(&html, data)); err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	msg := gomail.NewMsg()
	err := errors.Join(msg.FromFormat(m.cfg.Sender, m.cfg.From), msg.AddToFormat(in.Name, in.To))
	if err != nil {
		return nil, fmt.Errorf("mail to a person: %w", err)
	}
	msg.Subject(text.subject)
	msg.SetMessageID()
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetBodyString(gomail.TypeTextPlain, plain.String())
	msg.AddAlternativeString(gomail.TypeTextHTML, html.String())
	return msg, nil
}

// Run sends what is queued until ctx is done.
func (m *Mailer) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-m.queue:
			if err := m.deliver(ctx, msg); err != nil {
				m.mu.Lock()
				m.lost++
				m.mu.Unlock()
				// The address is not a secret of the log's reader; the link in
				// the mail is, and is not shown.
				m.log.Error("a mail could not be sent", "to", msg.GetToString(), "err", err)
			}
		}
	}
}

// Lost returns how many mails did not leave.
func (m *Mailer) Lost() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

func (m *Mailer) deliver(ctx context.Context, msg *gomail.Msg) (err error) {
	if m.client == nil {
		return m.store(msg)
	}
	wait := time.Second
	for try := range tries {
		if err = m.client.DialAndSendWithContext(ctx, msg); err == nil {
			return nil
		}
		var refused *gomail.SendError
		if errors.As(err, &refused) && !refused.IsTemp() || try == tries-1 {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(wait):
			wait *= 4
		}
	}
	return err
}

// store writes a mail into the outbox, whole or not at all.
func (m *Mailer) store(msg *gomail.Msg) error {
	name := fmt.Sprintf("%s-%06d.eml", time.Now().UTC().Format("20060102T150405.000"), m.seq.Add(1))
	tmp, err := os.CreateTemp(m.cfg.Outbox, ".mail-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write into the outbox: %w", err)
	}
	_, err = msg.WriteTo(tmp)
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(m.cfg.Outbox, name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write into the outbox: %w", err), os.Remove(tmp.Name()))
	}
	return nil
}

var plainPart = template.Must(template.New("plain").Parse(`{{.Greeting}}

{{range .Lines}}{{.}}
{{end}}{{if .Link}}
{{.Button}}:
{{.Link}}
{{end}}{{if .Until}}
{{.Until}}
{{end}}`))

var htmlPart = htmltemplate.Must(htmltemplate.New("html").Parse(`<!doctype html>
<html lang="{{.Language}}"><head><meta charset="utf-8"><title>{{.Subject}}</title></head>
<body style="font-family:sans-serif;background:#f4f5f5;padding:24px"><div style="max-width:520px;margin:auto;background:#fff;padding:32px;border-radius:4px;color:#24292e">
<p>{{.Greeting}}</p>{{range .Lines}}<p>{{.}}</p>{{end}}
{{if .Link}}<p><a href="{{.Link}}" style="display:inline-block;background:#3871dc;color:#fff;padding:10px 20px;border-radius:2px;text-decoration:none">{{.Button}}</a></p>
<p style="font-size:12px;word-break:break-all">{{.Link}}</p>{{end}}
{{if .Until}}<p style="font-size:12px">{{.Until}}</p>{{end}}</div></body></html>
`))
