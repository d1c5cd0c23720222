package render

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"image/png"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const page = `<!doctype html><body style="margin:0;height:100vh;overflow:hidden"><div id=s style="height:100%%;overflow:auto;background:%s">
<div style="height:900px"></div><div id=late></div></div><img src="%s/image"><script>setTimeout(() => { document.getElementById('late').dataset.done = '1' }, 50)</script>`

func TestPictures(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	if _, err := New(Config{}).program(); err != nil {
		t.Skip(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip(err) // not every system has the whole of 127.0.0.0/8
	}
	var asked atomic.Int32
	elsewhere := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) })}}
	elsewhere.Start()
	defer elsewhere.Close()
	var secrets []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("key"); err == nil && r.URL.Path == "/page" {
			secrets = append(secrets, c.Value)
			w.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprintf(w, page, "rgb(10,200,30)", elsewhere.URL)
		}
	}))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	shot := Shot{URL: srv.URL + "/page", CookieName: "key", CookieValue: "secret", Width: 300, Height: 200, Scale: 2, MaxHeight: 5000,
		Scroller: "#s", Ready: "document.readyState === 'complete' && document.getElementById('late')?.dataset.done === '1'"}
	r := New(Config{})
	for _, whole := range []bool{false, true} {
		shot.Whole = whole
		data, err := r.PNG(ctx, shot)
		require.NoError(t, err)
		img, err := png.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, 600, img.Bounds().Dx())
		require.Equal(t, map[bool]int{false: 400, true: 1800}[whole], img.Bounds().Dy())
		got := color.NRGBAModel.Convert(img.At(50, 50)).(color.NRGBA)
		require.InDelta(t, 10, got.R, 3)
		require.InDelta(t, 200, got.G, 3)
	}
	require.Equal(t, []string{"secret", "secret"}, secrets)
	require.Zero(t, asked.Load(), "a page leads the browser to no other host")
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "mangru-render-*"))
	require.NoError(t, err)
	require.Empty(t, left)

	short, stop := context.WithTimeout(t.Context(), 2*time.Second)
	defer stop()
	shot.Ready = "false"
	_, err = r.PNG(short, shot)
	require.ErrorContains(t, err, "not ready in time")
}

func TestWithoutBrowser(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := New(Config{}).PNG(t.Context(), Shot{})
	require.ErrorIs(t, err, ErrNoBrowser)
	_, err = New(Config{Program: "/nowhere/chromium"}).PNG(t.Context(), Shot{})
	require.ErrorContains(t, err, "ui.chromium")
}

func TestBrowserThatIsNone(t *testing.T) {
	program, err := exec.LookPath("true")
	if err != nil {
		t.Skip(err)
	}
	_, err = New(Config{Program: program}).PNG(t.Context(), Shot{})
	require.ErrorContains(t, err, "chromium ended")
	r := New(Config{Program: program, AtOnce: 1})
	r.slots <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = r.PNG(ctx, Shot{})
	require.ErrorIs(t, err, ErrBusy)
}
