package mail

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newOutbox(t *testing.T) (*Mailer, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "outbox")
	m, err := New(Config{Outbox: dir}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return m, dir
}

// parts reads a mail's parts by media type.
func parts(t *testing.T, text string) (*mail.Message, map[string]string) {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(text))
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	out := make(map[string]string)
	r := multipart.NewReader(msg.Body, params["boundary"])
	for {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return msg, out
		}
		require.NoError(t, err)
		body, err := io.ReadAll(quotedprintable.NewReader(p))
		require.NoError(t, err)
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		require.NoError(t, err)
		out[kind] = string(body)
	}
}

func TestOutbox(t *testing.T) {
	m, dir := newOutbox(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	const link = "https://mangru.example/accept#token=abc&x=1"
	for _, language := range []string{"en", "ko", "fr"} {
		require.NoError(t, m.Send(Message{Kind: Invitation, To: "ann@example.com", Name: `Ann <b>"Lee"`, Language: language, Link: link, Expires: time.Unix(1e9, 0)}))
	}
	require.Eventually(t, func() bool { files, _ := filepath.Glob(filepath.Join(dir, "*.eml")); return len(files) == 3 }, 10*time.Second, 5*time.Millisecond)
	stop()
	require.NoError(t, <-done)
	files, err := filepath.Glob(filepath.Join(dir, "*.eml"))
	require.NoError(t, err)
	for i, want := range []string{"Invitation to join Mangru", "Mangru 초대", "Invitation to join Mangru"} {
		info, err := os.Stat(files[i])
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm())
		text, err := os.ReadFile(files[i])
		require.NoError(t, err)
		msg, bodies := parts(t, string(text))
		subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
		require.NoError(t, err)
		require.Equal(t, want, subject)
		to, err := msg.Header.AddressList("To")
		require.NoError(t, err)
		require.Len(t, to, 1)
		require.Equal(t, "ann@example.com", to[0].Address)
		require.Contains(t, bodies["text/plain"], link)
		require.Contains(t, bodies["text/html"], "https://mangru.example/accept#token=abc&amp;x=1")
		require.NotContains(t, bodies["text/html"], "<b>")
	}
}

func TestHeaderInjection(t *testing.T) {
	m, _ := newOutbox(t)
	for _, in := range []Message{
		{Name: "Ann\r\nBcc: evil@example.com", To: "ann@example.com"}, {Name: "Ann\nX: y", To: "ann@example.com"},
		{Name: "Ann", To: "ann@example.com\r\nBcc: evil@example.com"}, {Name: "Ann", To: "ann@example.com, evil@example.com"},
		{Name: "Ann", To: "ann@example.com", Link: "https://x\r\n\r\nbody"}, {Name: "Ann", To: "nobody"},
	} {
		in.Kind = Reset
		require.Error(t, m.Send(in), "%+v", in)
	}
}

func FuzzCompose(f *testing.F) {
	f.Add("Ann", "ann@example.com")
	f.Add("=?utf-8?q?x?=", "\"a b\"@example.com")
	m, err := New(Config{Outbox: f.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, to string) {
		msg, err := m.compose(Message{Kind: Verification, Name: name, To: to})
		if err != nil {
			return
		}
		var b strings.Builder
		_, err = msg.WriteTo(&b)
		require.NoError(t, err)
		parsed, err := mail.ReadMessage(strings.NewReader(b.String()))
		require.NoError(t, err)
		for name := range parsed.Header {
			require.Contains(t, []string{"Date", "Mime-Version", "Message-Id", "Subject", "From", "To", "Content-Type", "Auto-Submitted", "User-Agent", "X-Mailer"}, name)
		}
	})
}

func TestConfiguration(t *testing.T) {
	for _, c := range []Config{{}, {Host: "mail.example.com", TLS: "maybe"}, {Host: "mail.example.com", TLS: None, Username: "u", Password: "p"}, {Outbox: t.TempDir(), From: "nobody"}} {
		_, err := New(c, slog.New(slog.DiscardHandler))
		require.Error(t, err, "%+v", c)
	}
}
