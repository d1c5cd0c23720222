package sources

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/mangru/mangru/internal/dashboard/records"
)

// workspacePath is the path of the data sources that are workspaces of Managed
// Prometheus.
var workspacePath = regexp.MustCompile(`^/workspaces/ws-[0-9a-zA-Z-]+/?$`)

// NotManagedError says that a data source is no workspace whose rules could be
// changed from here.
type NotManagedError struct{ Name string }

// Error implements error.
func (e *NotManagedError) Error() string {
	return "data source " + e.Name + " is no workspace of Managed Prometheus (its address does not end with /workspaces/ws-...): its rules and its alert manager are kept elsewhere"
}

// ControlPlane is the address at which the workspace of a data source is
// administered: AWS has its data plane at another host.
func ControlPlane(d *records.DataSource) (*url.URL, error) {
	u, err := url.Parse(d.URL)
	if err != nil || !workspacePath.MatchString(u.Path) || !isSigned(d) {
		return nil, &NotManagedError{d.Name}
	}
	if rest, ok := strings.CutPrefix(u.Host, "aps-workspaces"); ok {
		u.Host = "aps" + rest
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// Managed reports whether a data source is a workspace that Manage reaches.
func (s *Sources) Managed(d *records.DataSource) bool {
	_, err := ControlPlane(d)
	return err == nil
}

// managed are the parts of a workspace that are administered from here.
var managed = regexp.MustCompile(`^(rulegroupsnamespaces(/[A-Za-z0-9_.-]+)?|alertmanager/definition)$`)

// Manage calls the control plane of the workspace of a data source, signed as its
// queries are: a method, a path below the workspace, a body in JSON.
func (s *Sources) Manage(ctx context.Context, d *records.DataSource, method, path string, body []byte) (status int, answer []byte, err error) {
	base, err := ControlPlane(d)
	if err != nil {
		return 0, nil, err
	}
	if !managed.MatchString(path) {
		return 0, nil, fmt.Errorf("BUG: %s is not administered from here", path)
	}
	c, err := s.connect(d)
	if err != nil {
		return 0, nil, fmt.Errorf("data source %s: %w", d.Name, err)
	}
	req, err := http.NewRequestWithContext(ctx, method, base.String()+"/"+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return 0, nil, fmt.Errorf("data source %s did not answer: %w", d.Name, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	return res.StatusCode, text, err
}
