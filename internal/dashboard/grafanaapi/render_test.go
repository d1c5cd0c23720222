package grafanaapi_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/dashboard/render"
)

// camera is a browser that asks the API with the key it was given.
type camera struct {
	s     *site
	shot  render.Shot
	asked map[string]int
	err   error
}

func (c *camera) PNG(_ context.Context, shot render.Shot) ([]byte, error) {
	c.shot, c.asked = shot, map[string]int{}
	cookie := shot.CookieName + "=" + shot.CookieValue
	for _, call := range [][2]string{{"GET", "/api/dashboards/uid/brd"}, {"GET", "/api/user"}, {"POST", "/api/dashboards/db"}, {"DELETE", "/api/dashboards/uid/brd"}, {"GET", "/render/d/brd/x"}} {
		c.asked[call[0]+" "+call[1]] = c.s.as("", call[0], call[1], "{}", "Cookie", cookie).status
	}
	return []byte("picture"), c.err
}

func TestPicturesAreOfWhoAsks(t *testing.T) {
	cam := &camera{}
	s := newSiteWith(t, cam)
	cam.s = s
	s.ok("admin", "POST", "/api/dashboards/db", `{"dashboard":{"uid":"brd","title":"Board"}}`)
	got := s.ok("viewer", "GET", "/render/d/brd/board?var-x=1&from=now-1h&theme=light&tz=Asia/Seoul&scale=2", "")
	require.Equal(t, "picture", got.text)
	u, err := url.Parse(cam.shot.URL)
	require.NoError(t, err)
	require.Equal(t, "http://127.0.0.1:3000/d/brd", u.Scheme+"://"+u.Host+u.Path)
	require.Equal(t, url.Values{"var-x": {"1"}, "from": {"now-1h"}, "timezone": {"Asia/Seoul"}, "kiosk": {""}}, u.Query())
	require.True(t, cam.shot.Whole && cam.shot.Light)
	require.Equal(t, map[string]int{"GET /api/dashboards/uid/brd": 200, "GET /api/user": 200, "POST /api/dashboards/db": 401, "DELETE /api/dashboards/uid/brd": 401, "GET /render/d/brd/x": 401},
		cam.asked, "the key reads and does nothing else")
	require.Equal(t, 401, s.as("", "GET", "/api/user", "", "Cookie", "renderKey="+cam.shot.CookieValue).status, "and ends with the picture")

	s.ok("viewer", "GET", "/render/d-solo/brd/board?panelId=panel-7&width=400&height=300", "")
	require.Contains(t, cam.shot.URL, "viewPanel=7")
	require.Equal(t, []int{400, 300}, []int{cam.shot.Width, cam.shot.Height})
	require.False(t, cam.shot.Whole)

	s.ok("viewer", "GET", "/render/d/brd/board?width=5000&scale=4", "")
	require.Equal(t, []int{500, 500}, []int{cam.shot.Height, cam.shot.MaxHeight}, "a board is cut where it would take the machine's memory")

	for _, bad := range []string{"width=9", "width=x", "height=50000", "scale=NaN", "scale=9", "tz=Nowhere", "tz=Local", "timeout=1000", "width=5000&height=5000&scale=4"} {
		require.Equal(t, 400, s.as("viewer", "GET", "/render/d/brd/board?"+bad, "").status, bad)
	}
	require.Equal(t, 404, s.as("viewer", "GET", "/render/d/none/x", "").status)
	require.Equal(t, 401, s.as("", "GET", "/render/d/brd/board", "").status)
	require.Equal(t, 403, s.as("nobody", "GET", "/render/d/brd/board", "").status)
	cam.err = render.ErrNoBrowser
	refused := s.as("viewer", "GET", "/render/d/brd/board", "")
	require.Equal(t, http.StatusNotImplemented, refused.status)
	require.Contains(t, refused.text, "install it")
}
