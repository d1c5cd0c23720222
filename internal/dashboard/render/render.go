// Package render makes pictures of pages with a Chromium of this machine. Each
// picture has a browser of its own, with an empty profile and without the
// environment of this process; it is spoken to through two pipes, so that no port
// is open to others on the machine.
package render

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"time"
)

// ErrNoBrowser says that there is no Chromium, and what to do about it.
var ErrNoBrowser = errors.New("pictures need Chromium on this server, and there is none: install it (Debian: apt install chromium) or name it in the setting ui.chromium")

// ErrBusy says that as many pictures as are allowed are being made.
var ErrBusy = errors.New("as many pictures as this server makes at once are being made: try again later")

// names are those that browsers of this family have.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless_shell"}

// Config says how pictures are made.
type Config struct {
	// Program is the Chromium. Empty means the first that is found in the path.
	Program string
	// AtOnce is how many pictures are made at the same time. 0 means 2.
	AtOnce int
}

// Renderer makes pictures.
type Renderer struct {
	cfg   Config
	slots chan struct{}
}

// New returns a Renderer. It does not look for the browser yet.
func New(cfg Config) *Renderer {
	if cfg.AtOnce <= 0 {
		cfg.AtOnce = 2
	}
	return &Renderer{cfg: cfg, slots: make(chan struct{}, cfg.AtOnce)}
}

// Shot is what a picture is taken of. Lengths are in CSS pixels.
type Shot struct {
	URL string
	// CookieName and CookieValue are sent to the URL's host only.
	CookieName, CookieValue string
	Width, Height           int
	Scale                   float64
	// Whole makes the picture as high as the element that scrolls, up to MaxHeight.
	Whole     bool
	MaxHeight int
	Light     bool
	TimeZone  string
	// Scroller is the selector of the element that scrolls; Ready a JavaScript
	// expression that is true when everything is drawn.
	Scroller, Ready string
}

func (r *Renderer) program() (string, error) {
	if r.cfg.Program != "" {
		path, err := exec.LookPath(r.cfg.Program)
		if err != nil {
			return "", fmt.Errorf("setting ui.chromium: %w", err)
		}
		return path, nil
	}
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path, nil
		}
	}
	return "", ErrNoBrowser
}

// PNG takes a picture. The browser ends with it, at the latest with ctx.
func (r *Renderer) PNG(ctx context.Context, s Shot) ([]byte, error) {
	program, err := r.program()
	if err != nil {
		return nil, err
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, ErrBusy
	}
	dir, err := os.MkdirTemp("", "mangru-render-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a few files in the temporary directory are no reason to fail
	b, err := launch(ctx, program, dir, s.URL)
	if err != nil {
		return nil, err
	}
	picture, err := s.take(b)
	if err = errors.Join(err, b.close()); err != nil && ctx.Err() != nil {
		err = fmt.Errorf("the picture was not ready in time: %w", ctx.Err())
	}
	return picture, err
}

// browser is a running Chromium and the pipes to it.
type browser struct {
	cmd     *exec.Cmd
	ctx     context.Context
	in      io.WriteCloser
	out     *bufio.Reader
	outFile *os.File
	last    int
	session string
}

// launch starts a browser that reaches the host of page and nothing else, whatever
// the page asks for.
func launch(ctx context.Context, program, dir, page string) (*browser, error) {
	at, err := url.Parse(page)
	if err != nil {
		return nil, err
	}
	fromUs, toBrowser, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fromBrowser, fromIt, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, fromUs.Close(), toBrowser.Close())
	}
	args := []string{
		"--headless", "--remote-debugging-pipe", "--user-data-dir=" + dir, "--no-first-run", "--no-default-browser-check", "--disable-gpu", "--hide-scrollbars", "--mute-audio",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-dev-shm-usage", "--disable-breakpad", "--force-color-profile=srgb", "--lang=en-US", "--no-proxy-server",
		"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE " + at.Hostname(),
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // Chromium's sandbox does not start as root
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}
	cmd.ExtraFiles = []*os.File{fromUs, fromIt} // 3 and 4, as Chromium has it
	cmd.WaitDelay = 5 * time.Second
	ownGroup(cmd)
	kill := cmd.Cancel
	cmd.Cancel = func() error {
		_ = fromBrowser.SetReadDeadline(time.Unix(1, 0)) // nobody is waited for who has left the group and holds the pipe
		return kill()
	}
	err = cmd.Start()
	if err = errors.Join(err, fromUs.Close(), fromIt.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), toBrowser.Close(), fromBrowser.Close())
	}
	return &browser{cmd: cmd, ctx: ctx, in: toBrowser, out: bufio.NewReaderSize(fromBrowser, 1<<16), outFile: fromBrowser}, nil
}

// close ends the browser with everything that it has started.
func (b *browser) close() error {
	_ = b.cmd.Cancel() // it may have ended
	_ = b.cmd.Wait()   // killed, so it says an error
	return errors.Join(b.in.Close(), b.outFile.Close())
}

// call sends a command and waits for its answer; events in between are not for us.
func (b *browser) call(method string, params, into any) error {
	b.last++
	command := object{"id": b.last, "method": method, "params": params}
	if b.session != "" {
		command["sessionId"] = b.session
	}
	text, err := json.Marshal(command)
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		return fmt.Errorf("chromium ended: %w", err)
	}
	for {
		line, err := b.out.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("chromium ended: %w", err)
		}
		var answer struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(bytes.TrimRight(line, "\x00"), &answer); err != nil {
			return fmt.Errorf("chromium answered what is no JSON: %w", err)
		}
		if answer.ID != b.last {
			continue
		}
		if answer.Error != nil {
			return fmt.Errorf("chromium, %s: %s", method, answer.Error.Message)
		}
		if into != nil {
			return json.Unmarshal(answer.Result, into)
		}
		return nil
	}
}

type object = map[string]any

// take opens the page, waits for it, and makes the picture.
func (s Shot) take(b *browser) ([]byte, error) {
	var target struct{ TargetID string }
	var attached struct{ SessionID string }
	if err := b.call("Target.createTarget", object{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	if err := b.call("Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
		return nil, err
	}
	b.session = attached.SessionID
	scheme := "dark"
	if s.Light {
		scheme = "light"
	}
	setup := []struct {
		method string
		params object
	}{
		{"Page.enable", object{}},
		{"Network.setCookie", object{"name": s.CookieName, "value": s.CookieValue, "url": s.URL, "httpOnly": true}},
		{"Emulation.setEmulatedMedia", object{"features": []object{{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}}}},
		{"Emulation.setDeviceMetricsOverride", s.metrics(s.Height)},
	}
	if s.TimeZone != "" {
		setup = append(setup, struct {
			method string
			params object
		}{"Emulation.setTimezoneOverride", object{"timezoneId": s.TimeZone}})
	}
	for _, c := range setup {
		if err := b.call(c.method, c.params, nil); err != nil {
			return nil, err
		}
	}
	var went struct{ ErrorText string }
	if err := b.call("Page.navigate", object{"url": s.URL}, &went); err != nil {
		return nil, err
	}
	if went.ErrorText != "" {
		return nil, fmt.Errorf("the page could not be opened: %s", went.ErrorText)
	}
	if err := b.until(s.Ready); err != nil {
		return nil, err
	}
	if s.Whole {
		if err := s.grow(b); err != nil {
			return nil, err
		}
	}
	return b.still()
}

// maxLooks is how often a page is looked at that does not come to rest: what moves
// by design is taken as it is then.
const maxLooks = 20

// idle is done when the page has nothing left to do and has painted: a chart may be
// drawn some time after its data has come.
const idle = `new Promise((done) => requestIdleCallback(() => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))))`

// still takes pictures until two in a row are the same.
func (b *browser) still() ([]byte, error) {
	var before, now struct{ Data string }
	for range maxLooks {
		if err := b.call("Runtime.evaluate", object{"expression": idle, "awaitPromise": true, "returnByValue": true}, nil); err != nil {
			return nil, err
		}
		before = now
		if err := b.call("Page.captureScreenshot", object{"format": "png"}, &now); err != nil {
			return nil, err
		}
		if before == now {
			break
		}
		if err := b.pause(); err != nil {
			return nil, err
		}
	}
	return base64.StdEncoding.DecodeString(now.Data)
}

func (b *browser) pause() error {
	select {
	case <-b.ctx.Done():
		return b.ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

func (s Shot) metrics(height int) object {
	return object{"width": s.Width, "height": height, "deviceScaleFactor": s.Scale, "mobile": false}
}

// grow makes the window as high as what it shows, so that what is drawn only when
// it is in view is drawn.
func (s Shot) grow(b *browser) error {
	selector, err := json.Marshal(s.Scroller)
	if err != nil {
		return err
	}
	var high struct{ Result struct{ Value float64 } }
	script := "(e => e ? window.innerHeight + e.scrollHeight - e.clientHeight : window.innerHeight)(document.querySelector(" + string(selector) + "))"
	if err := b.call("Runtime.evaluate", object{"expression": script, "returnByValue": true}, &high); err != nil {
		return err
	}
	height := min(max(int(high.Result.Value), s.Height), s.MaxHeight)
	if err := b.call("Emulation.setDeviceMetricsOverride", s.metrics(height), nil); err != nil {
		return err
	}
	return b.until(s.Ready)
}

// until waits for an expression to be true three times in a row: what is asked for
// after the first paint counts, too.
func (b *browser) until(expression string) error {
	seen := 0
	for {
		var answer struct{ Result struct{ Value bool } }
		if err := b.call("Runtime.evaluate", object{"expression": expression, "returnByValue": true}, &answer); err != nil {
			return err
		}
		if seen++; !answer.Result.Value {
			seen = 0
		}
		if seen >= 3 {
			return nil
		}
		if err := b.pause(); err != nil {
			return err
		}
	}
}
