package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

// DataSource is a Prometheus-shaped API that panels query.
type DataSource struct {
	UID  string
	Name string
	// URL is the base under which /api/v1/query answers, without that path.
	URL *url.URL
	// Transport carries the requests and signs them.
	Transport http.RoundTripper
	Default   bool
	// JSONData is what the API shows of the settings; it holds no secrets.
	JSONData map[string]any
}

// readAPI lists what of the Prometheus API may be reached through a data
// source: reading, never writing or administration.
var readAPI = regexp.MustCompile(`^api/v1/(query|query_range|query_exemplars|labels|label/[^/]+/values|series|metadata|rules|alerts|format_query|parse_query|status/(buildinfo|runtimeinfo|tsdb|flags))$`)

// maxQueryBody bounds a query sent as a form.
const maxQueryBody = 1 << 20

// proxy forwards one request to the data source. rest is the path below the
// data source's URL, still escaped as the browser sent it.
func (d *DataSource) proxy(log *slog.Logger, w http.ResponseWriter, r *http.Request, rest string) {
	clean, err := url.PathUnescape(rest)
	if err != nil || path.Clean("/"+clean) != "/"+clean || !readAPI.MatchString(rest) {
		writeError(w, http.StatusForbidden, "this path of a data source can't be reached from here: "+rest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQueryBody))
	if err != nil {
		writeError(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a query may have at most %d bytes", maxQueryBody))
		return
	}
	out := r.Clone(r.Context())
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	p := httputil.ReverseProxy{
		Transport: d.Transport,
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Rewrite: func(pr *httputil.ProxyRequest) {
			u := d.URL.JoinPath("/")
			u.RawPath = u.EscapedPath() + rest
			u.Path += clean
			u.RawQuery = r.URL.RawQuery
			pr.Out.URL, pr.Out.Host = u, u.Host
			// Only what the query needs goes on: no cookies, no browser identity.
			h := http.Header{}
			for _, k := range []string{"Accept", "Content-Type"} {
				if v := r.Header.Get(k); v != "" {
					h.Set(k, v)
				}
			}
			pr.Out.Header = h
		},
		ModifyResponse: func(res *http.Response) error {
			for k := range res.Header {
				switch k {
				case "Content-Type", "Content-Length", "Content-Encoding", "Retry-After":
				default:
					res.Header.Del(k)
				}
			}
			// A refused signature must not look like a browser that is signed out.
			if res.StatusCode == http.StatusUnauthorized {
				res.StatusCode = http.StatusBadGateway
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // the browser went away
			}
			writeError(w, http.StatusBadGateway, fmt.Sprintf("data source %s did not answer: %v", d.Name, err))
		},
	}
	p.ServeHTTP(w, out)
}

// check asks the data source for 1+1, as Grafana's "Save & test" does.
func (d *DataSource) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	form := url.Values{"query": {"1+1"}, "time": {"4"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL.JoinPath("api/v1/query").String(), strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := d.Transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return err
	}
	var reply struct {
		Status, Error, Message string
	}
	if err := json.Unmarshal(text, &reply); err != nil {
		return fmt.Errorf("%s, and the body is not JSON: is the URL that of a Prometheus API?", res.Status)
	}
	if reply.Status != "success" {
		return fmt.Errorf("%s: %s", res.Status, reply.Error+reply.Message)
	}
	return nil
}

// settings is the data source as Grafana's API shows it.
func (d *DataSource) settings() map[string]any {
	return map[string]any{
		"id": 1, "uid": d.UID, "orgId": 1, "name": d.Name, "type": "prometheus", "typeName": "Prometheus",
		"access": "proxy", "url": d.URL.String(), "isDefault": d.Default, "readOnly": true,
		"basicAuth": false, "jsonData": d.JSONData, "secureJsonFields": map[string]bool{},
	}
}
