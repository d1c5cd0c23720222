package grafanaapi

import (
	"net/http"
	"net/url"
	"strings"
)

// router picks the first route whose pattern fits. Grafana's paths overlap
// (/datasources/uid/{uid} and /datasources/{id}/health), which net/http's mux
// refuses; here the order of the table decides. A slash at the end means nothing.
type router struct {
	routes []compiled
}

type compiled struct {
	method   string
	segments []string
	handler  http.Handler
	pattern  string
}

func (t *router) add(pattern string, h http.Handler) {
	method, path, _ := strings.Cut(pattern, " ")
	t.routes = append(t.routes, compiled{method: method, segments: split(path), handler: h, pattern: pattern})
}

func split(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

// ServeHTTP implements http.Handler.
func (t *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := split(r.URL.EscapedPath())
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range t.routes {
		c := &t.routes[i]
		if c.method == method && c.match(parts, r) {
			r.Pattern = c.pattern
			c.handler.ServeHTTP(w, r)
			return
		}
	}
	writeJSON(w, http.StatusNotFound, message("Not found"))
}

// match compares and, where it fits, notes the values of the path.
func (c *compiled) match(parts []string, r *http.Request) bool {
	type value struct{ name, text string }
	var values []value
	for i, s := range c.segments {
		name, variable := strings.CutPrefix(s, "{")
		name = strings.TrimSuffix(name, "}")
		if variable && strings.HasSuffix(name, "...") {
			if i > len(parts) {
				return false
			}
			values = append(values, value{strings.TrimSuffix(name, "..."), strings.Join(parts[i:], "/")})
			parts = c.segments // the rest is taken
			break
		}
		if i >= len(parts) {
			return false
		}
		if !variable {
			if s != parts[i] {
				return false
			}
			continue
		}
		text, err := url.PathUnescape(parts[i])
		if err != nil || text == "" {
			return false
		}
		values = append(values, value{name, text})
	}
	if len(parts) != len(c.segments) {
		return false
	}
	for _, v := range values {
		r.SetPathValue(v.name, v.text)
	}
	return true
}
