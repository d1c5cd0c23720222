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
	"time"

	"github.com/mangru/mangru/internal/dashboard/records"
)

// workspacePath is the path of the data sources that are workspaces of Managed
// Prometheus.
var workspacePath = regexp.MustCompile(`^/workspaces/ws-[0-9a-zA-Z-]+/?$`)

// controlPlane is the address at which the workspace of a data source is
// administered: AWS has its data plane at another host.
func controlPlane(d *records.DataSource) (*url.URL, error) {
	u, err := url.Parse(d.URL)
	if err != nil || !workspacePath.MatchString(u.Path) || !isSigned(d) {
		return nil, fmt.Errorf("data source %s is no workspace of Managed Prometheus (its address does not end with /workspaces/ws-..., or its requests are not signed): its rules and its alert manager are kept elsewhere", d.Name)
	}
	if rest, ok := strings.CutPrefix(u.Host, "aps-workspaces"); ok {
		u.Host = "aps" + rest
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

// Managed says why a data source is no workspace that Manage reaches; nil where it is.
func (s *Sources) Managed(d *records.DataSource) error {
	_, err := controlPlane(d)
	return err
}

// managed are the parts of a workspace that are administered from here.
var managed = regexp.MustCompile(`^(rulegroupsnamespaces(/[A-Za-z0-9_.-]+)?|alertmanager/definition)$`)

// manageFor is how long a control plane may take to answer.
const manageFor = 30 * time.Second

// Manage calls the control plane of the workspace of a data source, signed as its
// queries are: a method, a path below the workspace, a body in JSON.
func (s *Sources) Manage(ctx context.Context, d *records.DataSource, method, path string, body []byte) (status int, answer []byte, err error) {
	base, err := controlPlane(d)
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
	ctx, cancel := context.WithTimeout(ctx, manageFor)
	defer cancel()
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
