package app

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

//go:embed collector_pages.html
var pagesHTML string

// statePages are the collector's state for people. They need no script.
var statePages = template.Must(template.New("pages").Funcs(template.FuncMap{
	"ago": func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return time.Since(t).Round(100*time.Millisecond).String() + " ago"
	},
	"ms":     func(seconds float64) string { return fmt.Sprintf("%.1f ms", 1000*seconds) },
	"age":    func(d time.Duration) string { return shortDuration(d.Round(time.Second)) },
	"count":  plural,
	"labels": labelText,
	"bytes":  byteText,
	"join":   strings.Join,
}).Parse(pagesHTML))

// labelText writes labels down by name.
func labelText(ls map[string]string) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(ls)) {
		out = append(out, fmt.Sprintf("%s=%q", name, ls[name]))
	}
	return strings.Join(out, "\n")
}

// byteText writes a size down in binary units.
func byteText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, u := float64(n), 0
	for v >= 1024 && u < len(units)-1 {
		v, u = v/1024, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[u])
}

// serveState answers with JSON, or with a page where a browser asks.
func (c *Collector) serveState(w http.ResponseWriter, r *http.Request, page string, v any) {
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !strings.Contains(r.Header.Get("Accept"), "text/html") || r.URL.Query().Get("format") == "json" {
		c.writeJSON(w, v)
		return
	}
	var b bytes.Buffer
	if err := statePages.ExecuteTemplate(&b, page, v); err != nil {
		c.log.Error("writing the state failed", "err", err)
		http.Error(w, "the state cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_, _ = w.Write(b.Bytes())
}

func (c *Collector) writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		c.log.Error("writing the state failed", "err", err)
		http.Error(w, "the state cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(b, '\n'))
}
