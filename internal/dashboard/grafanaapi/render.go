package grafanaapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/dashboard/render"
)

// Renderer makes pictures of pages.
type Renderer interface {
	PNG(ctx context.Context, s render.Shot) ([]byte, error)
}

// renderRoutes are pictures of boards and panels, at the addresses that Grafana
// has with its image renderer.
func renderRoutes() []route {
	return []route{
		{"GET /render/d/{uid}/{slug...}", signedIn, (*api).renderBoard},
		{"GET /render/d-solo/{uid}/{slug...}", signedIn, (*api).renderBoard},
	}
}

// renderCookie carries the key by which the browser that makes a picture is whom
// the picture is for.
const renderCookie = "renderKey"

// renderKeys are the keys of pictures that are being made.
type renderKeys struct {
	mu   sync.Mutex
	keys map[string]caller.Caller
}

func (k *renderKeys) add(who caller.Caller) string {
	key := rand.Text()
	who.CSRFToken = "" // the key is no cookie of a browser that visits other sites
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil {
		k.keys = map[string]caller.Caller{}
	}
	k.keys[key] = who
	return key
}

func (k *renderKeys) remove(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, key)
}

// caller is whom a request's key stands for. It reads, and does nothing else.
func (k *renderKeys) caller(r *http.Request) (caller.Caller, bool) {
	c, err := r.Cookie(renderCookie)
	if err != nil {
		return caller.Caller{}, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	who, ok := k.keys[c.Value]
	if r.Method == http.MethodPost && !strings.HasPrefix(r.Pattern, "POST /api/datasources/proxy/") && r.Pattern != "POST /api/ds/query" {
		ok = false
	}
	return who, ok && (r.Method == http.MethodGet || r.Method == http.MethodPost) && !strings.Contains(r.Pattern, " /render/")
}

const (
	maxPicture     = 5000 // CSS pixels of a side
	maxPixels      = 40e6 // of the picture itself: the browser holds each of them several times
	maxPictureWait = 2 * time.Minute
)

// renderSize reads what of a picture is asked for.
func (c *call) renderSize() (render.Shot, time.Duration, error) {
	q := c.URL.Query()
	s := render.Shot{Width: 1600, Height: 900, Scale: 1, MaxHeight: maxPicture, Light: q.Get("theme") == "light", TimeZone: q.Get("tz")}
	if strings.Contains(c.Pattern, "/d-solo/") {
		s.Width, s.Height = 1000, 500
	}
	wait := 60
	for _, f := range []struct {
		name      string
		into      *int
		low, high int
	}{{"width", &s.Width, 100, maxPicture}, {"height", &s.Height, 100, maxPicture}, {"timeout", &wait, 1, int(maxPictureWait.Seconds())}} {
		text := q.Get(f.name)
		if text == "" || f.name == "height" && text == "-1" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < f.low || n > f.high {
			return s, 0, fail(http.StatusBadRequest, fmt.Sprintf("%s: found %q, allowed are %d to %d", f.name, text, f.low, f.high))
		}
		*f.into = n
	}
	if text := q.Get("scale"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0.5 && n <= 4) {
			return s, 0, fail(http.StatusBadRequest, fmt.Sprintf("scale: found %q, allowed are 0.5 to 4", text))
		}
		s.Scale = n
	}
	if _, err := time.LoadLocation(s.TimeZone); err != nil || s.TimeZone == "Local" {
		return s, 0, fail(http.StatusBadRequest, fmt.Sprintf("tz: found %q, allowed are names of time zones such as Asia/Seoul", s.TimeZone))
	}
	// Whole boards are as high as they are, unless somebody says otherwise.
	s.Whole = !strings.Contains(c.Pattern, "/d-solo/") && (q.Get("height") == "" || q.Get("height") == "-1")
	most := int(maxPixels / (float64(s.Width) * s.Scale * s.Scale))
	if s.Whole {
		s.MaxHeight = min(s.MaxHeight, most)
		s.Height = min(s.Height, s.MaxHeight)
	} else if s.Height > most {
		return s, 0, fail(http.StatusBadRequest, fmt.Sprintf("height: found %d, allowed are %d with a width of %d and a scale of %g", s.Height, most, s.Width, s.Scale))
	}
	return s, time.Duration(wait) * time.Second, nil
}

// drawn is true in a page whose board is there and whose panels have what they
// asked for.
const drawn = `(() => {
  const main = document.querySelector('main');
  const panels = [...document.querySelectorAll('[data-testid=panel-state]')].filter((e) => { const r = e.getBoundingClientRect(); return r.top < innerHeight && r.bottom > 0; });
  return main !== null && document.fonts.status === 'loaded' && (panels.length > 0 || (main.innerText.trim() !== '' && !/^\s*Loading/.test(main.innerText))) &&
    panels.every((e) => ['done', 'error'].includes(e.dataset.state) || (e.dataset.state === 'idle' && e.dataset.queries === '0'));
})()`

func (a *api) renderBoard(c *call) (any, error) {
	b, err := a.board(c, records.View)
	if err != nil {
		return nil, err
	}
	shot, wait, err := c.renderSize()
	if err != nil {
		return nil, err
	}
	if a.Renderer == nil {
		return nil, fail(http.StatusNotImplemented, render.ErrNoBrowser.Error())
	}
	key := a.rendering.add(c.caller)
	defer a.rendering.remove(key)
	shot.URL, err = a.pageOf(c, b)
	if err != nil {
		return nil, err
	}
	shot.CookieName, shot.CookieValue, shot.Scroller, shot.Ready = renderCookie, key, "main", drawn
	ctx, cancel := context.WithTimeout(c.Context(), wait)
	defer cancel()
	picture, err := a.Renderer.PNG(ctx, shot)
	switch {
	case errors.Is(err, render.ErrNoBrowser):
		return nil, fail(http.StatusNotImplemented, err.Error())
	case errors.Is(err, render.ErrBusy):
		return nil, fail(http.StatusServiceUnavailable, err.Error())
	case ctx.Err() != nil && c.Context().Err() == nil:
		return nil, fail(http.StatusGatewayTimeout, fmt.Sprintf("the picture was not ready within %s (timeout, in seconds, allows more)", wait))
	case err != nil:
		a.log.Warn("picture failed", "board", b.UID, slog.Any("err", err))
		return nil, fail(http.StatusBadGateway, "the picture could not be made: "+err.Error())
	}
	c.w.Header().Set("Content-Type", "image/png")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(picture)))
	_, _ = c.w.Write(picture) // a caller that left is no error of ours
	return answered{}, nil
}

// pageOf is the address of a board's page at this server itself.
func (a *api) pageOf(c *call, b *records.Board) (string, error) {
	u, err := url.Parse(a.PageURL())
	if err != nil {
		return "", err
	}
	if asked, err := url.ParseRequestURI(c.RequestURI); err == nil {
		// In which workspace, is said by what is before /render.
		if prefix, _, ok := strings.Cut(asked.Path, "/render/"); ok && strings.HasPrefix(prefix, "/w/") {
			u.Path = prefix
		}
	}
	u = u.JoinPath("d", b.UID)
	q := c.URL.Query()
	for _, own := range []string{"width", "height", "scale", "timeout", "theme", "tz", "refresh"} {
		q.Del(own)
	}
	if tz := c.URL.Query().Get("tz"); tz != "" && q.Get("timezone") == "" {
		q.Set("timezone", tz)
	}
	if strings.Contains(c.Pattern, "/d-solo/") {
		q.Set("viewPanel", strings.TrimPrefix(q.Get("panelId"), "panel-"))
		q.Del("panelId")
	}
	q.Set("kiosk", "")
	u.RawQuery = q.Encode()
	return u.String(), nil
}
