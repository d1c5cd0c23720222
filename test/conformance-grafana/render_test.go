package conformance

import (
	"bytes"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/grafana/grafana-openapi-client-go/models"
	"github.com/stretchr/testify/require"
)

// TestPictures asks for pictures as Grafana's sharing and alerting tools do, and
// looks whether something is on them.
func TestPictures(t *testing.T) {
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Skip(err)
	}
	in := start(t)
	panels := []any{}
	for i, kind := range []string{"stat", "timeseries", "text", "gauge", "timeseries", "timeseries"} {
		panels = append(panels, map[string]any{"id": i + 1, "type": kind, "title": "Panel of type " + kind, "gridPos": map[string]any{"x": 12 * (i % 2), "y": 10 * (i / 2), "w": 12, "h": 10},
			"options": map[string]any{"mode": "markdown", "content": "# Words"}, "datasource": map[string]any{"uid": in.source, "type": "prometheus"},
			"targets": []any{map[string]any{"refId": "A", "expr": "42 + sin(vector(time() / 60))"}}})
	}
	_, err := in.client.Dashboards.PostDashboard(&models.SaveDashboardCommand{Dashboard: map[string]any{"uid": "pic", "title": "Pictures", "panels": panels, "schemaVersion": 41,
		"time": map[string]any{"from": "now-15m", "to": "now"}}})
	require.NoError(t, err)
	for _, one := range []struct {
		name, path         string
		width, low, high   int
		colors             int
		background, within uint8
	}{
		{"panel", "/render/d-solo/pic/x?panelId=2&width=500&height=300&scale=2", 1000, 600, 600, 20, 0x18, 12},
		{"board", "/render/d/pic/x?width=1200&theme=light", 1200, 901, 5000, 50, 0xfa, 8},
	} {
		data := []byte(in.get(t, one.path))
		img, err := png.Decode(bytes.NewReader(data))
		require.NoError(t, err, "%s: %.300s", one.name, data)
		require.Equal(t, one.width, img.Bounds().Dx())
		require.GreaterOrEqual(t, img.Bounds().Dy(), one.low)
		require.LessOrEqual(t, img.Bounds().Dy(), one.high)
		seen, series := map[color.Color]bool{}, 0
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
				seen[c] = true
				if c.G > 140 && int(c.G) > int(c.R)+40 && int(c.G) > int(c.B)+40 {
					series++
				}
			}
		}
		require.Greater(t, len(seen), one.colors, "there is something on it")
		require.Greater(t, series, 1000, "the line is drawn, not only its legend")
		corner := color.NRGBAModel.Convert(img.At(2, 2)).(color.NRGBA)
		require.InDelta(t, one.background, corner.R, float64(one.within), "theme")
		if dir := os.Getenv("MANGRU_SHOTS"); dir != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "render-"+one.name+".png"), data, 0o600))
		}
	}
	require.Contains(t, in.get(t, "/render/d/none/x"), "Dashboard not found")
}
