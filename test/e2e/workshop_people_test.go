//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"
)

// mailbox is a mail server that keeps what it gets as files: to, subject, text.
type mailbox struct {
	t   *testing.T
	dir string
	mu  sync.Mutex
	got int
}

// NewSession implements smtp.Backend.
func (m *mailbox) NewSession(*smtp.Conn) (smtp.Session, error) { return &letter{box: m}, nil }

type letter struct {
	box *mailbox
	to  string
}

func (l *letter) Mail(string, *smtp.MailOptions) error { return nil }
func (l *letter) Reset()                               {}
func (l *letter) Logout() error                        { return nil }

func (l *letter) Rcpt(to string, _ *smtp.RcptOptions) error {
	l.to = to
	return nil
}

func (l *letter) Data(r io.Reader) error {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	text, err := plainText(msg)
	if err != nil {
		return err
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil {
		return err
	}
	out, err := json.Marshal(map[string]string{"to": l.to, "subject": subject, "text": text})
	if err != nil {
		return err
	}
	l.box.mu.Lock()
	defer l.box.mu.Unlock()
	l.box.got++
	// A file is there whole or not at all.
	name := filepath.Join(l.box.dir, fmt.Sprintf("%02d.json", l.box.got))
	if err := os.WriteFile(name+".part", out, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".part", name)
}

// plainText is the plain part of a mail with a plain and an HTML part.
func plainText(msg *mail.Message) (string, error) {
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || !strings.HasPrefix(kind, "multipart/") {
		return "", fmt.Errorf("a mail is %q: %w", kind, err)
	}
	for r := multipart.NewReader(msg.Body, params["boundary"]); ; {
		part, err := r.NextRawPart()
		if err != nil {
			return "", err
		}
		if !strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
			continue
		}
		var body io.Reader = part
		if strings.EqualFold(part.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
			body = quotedprintable.NewReader(part)
		}
		text, err := io.ReadAll(body)
		return string(text), err
	}
}

// TestWorkshopPeople is the workshop's second half in a browser, with a real mail
// server: from an added user to a board behind a signed data source. Passkeys and
// the administration pages come after it.
func TestWorkshopPeople(t *testing.T) {
	box := &mailbox{t: t, dir: t.TempDir()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := smtp.NewServer(box)
	server.Domain = "localhost"
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, server.Close())
		require.NoError(t, <-done)
	})

	s := up(t, filepath.Join(t.TempDir(), "mangru-data"), nil, nil, "--listen", "127.0.0.1:0", "--ui", "127.0.0.1:0", "--scrape-interval", "1s",
		"--smtp", "smtp+plain://"+l.Addr().String(), "--mail-from", "no-reply@example.com")
	s.expect(20*time.Second, `min(up)`, 1, 1)
	id, secret := s.keys()
	shots := os.Getenv("MANGRU_SHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	link := func() string {
		out, err := exec.CommandContext(t.Context(), binary(t), "login-link", "--data", s.data).Output()
		require.NoError(t, err)
		_, token, _ := strings.Cut(strings.TrimSpace(string(out)), "token=")
		return token
	}
	cmd := exec.CommandContext(t.Context(), "npx", "vitest", "run", "--project", "live", "--bail", "1", "workshop", "passkeys", "admin")
	cmd.Dir = filepath.Join(root, "web")
	cmd.Env = append(os.Environ(), "MANGRU_UI="+s.ui, "MANGRU_LOGIN_TOKEN="+s.token, "MANGRU_SECOND_TOKEN="+link(), "MANGRU_THIRD_TOKEN="+link(), "MANGRU_MAILS="+box.dir, "MANGRU_SHOTS="+shots,
		"MANGRU_QUERY_URL="+s.query, "MANGRU_ACCESS_KEY="+id, "MANGRU_SECRET_KEY="+secret)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("browser:\n%s", tail(string(out), 20))
	require.NotContains(t, s.output(), "Kx7#vorhang-blau", "no password is logged")
	require.NotContains(t, s.output(), secret)
}
