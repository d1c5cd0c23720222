package sources

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/dashboard/records"
)

// Fault is why a data source does not work, with what to do about it. Neither
// has a secret in it.
type Fault struct{ Problem, Remedy string }

// Error implements error.
func (f *Fault) Error() string { return f.Problem }

// Advice is what to do about it.
func (f *Fault) Advice() string { return f.Remedy }

// maxSkew is by how much clocks may differ before signatures are refused.
const maxSkew = 5 * time.Minute

// probe is the answer to the question of a check.
type probe struct {
	status int
	header http.Header
	body   []byte
	asked  time.Time
}

// Check asks the data source for 1+1, as Grafana's "Save & test" does, or an
// alert manager for its status. What is wrong is told as a *Fault.
func (s *Sources) Check(ctx context.Context, d *records.DataSource) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if f := checkURL(d); f != nil {
		return "", f
	}
	c, err := s.connect(d)
	if err != nil {
		return "", &Fault{err.Error(), "Complete the settings named there and save again."}
	}
	method, path, form := http.MethodPost, "api/v1/query", "query=1%2B1&time=4"
	if strings.EqualFold(d.Text("httpMethod"), http.MethodGet) {
		method = http.MethodGet
	}
	if d.Type == "alertmanager" {
		method, path, form = http.MethodGet, "api/v2/status", ""
	}
	p, err := c.ask(ctx, method, path, form)
	if err != nil {
		return "", reachFault(c.base, err)
	}
	if f := p.fault(d); f != nil {
		return "", f
	}
	if d.Type == "alertmanager" {
		return "Health check passed.", nil
	}
	return "Successfully queried the Prometheus API.", nil
}

func (c *conn) ask(ctx context.Context, method, path, form string) (*probe, error) {
	target, body := c.base.JoinPath(path), io.Reader(nil)
	if method == http.MethodGet {
		target.RawQuery = form
	} else {
		body = strings.NewReader(form)
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	p := &probe{asked: time.Now()}
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	p.status, p.header = res.StatusCode, res.Header
	const most = 1 << 20
	p.body, err = io.ReadAll(io.LimitReader(res.Body, most))
	return p, err
}

var apiPath = regexp.MustCompile(`/api/v[12](/.*)?$`)

// checkURL finds what people paste along with the URL.
func checkURL(d *records.DataSource) *Fault {
	u, err := url.Parse(d.URL)
	if err != nil || u.Host == "" {
		return &Fault{fmt.Sprintf("The URL %q is not one.", d.URL), "Enter an address that begins with http:// or https://."}
	}
	if at := apiPath.FindStringIndex(u.Path); at != nil {
		u.Path, u.RawQuery = u.Path[:at[0]], ""
		return &Fault{"The URL has the path of the API in it: it is added to every query, so that it would be there twice.", "Set the URL to " + u.String() + "."}
	}
	return nil
}

// reachFault says why there was no answer.
func reachFault(base *url.URL, err error) *Fault {
	var name *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var record tls.RecordHeaderError
	var creds *sigv4.CredentialsError
	var refused *AddressError
	where := base.Host
	switch {
	case errors.As(err, &creds):
		return &Fault{"The request could not be signed: " + creds.Error(), "Check the access key and secret key, or the role and its trust policy; the server's own credentials are used only where it allows that."}
	case errors.As(err, &refused):
		return &Fault{refused.Error(), "Use the address of the data source itself."}
	case errors.As(err, &name):
		return &Fault{fmt.Sprintf("The name %s is not known to the server's resolver.", base.Hostname()), "Check the URL for typing errors; names of your browser's network may be unknown to the server."}
	case errors.As(err, &unknown):
		return &Fault{"The certificate of " + where + " is signed by an authority that is not known.", "Switch on \"With CA cert\" and paste the authority's certificate."}
	case errors.As(err, &host):
		return &Fault{"The certificate of " + where + " is for another name.", "Use the name in the certificate as URL, or set the server name in the TLS settings."}
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return &Fault{where + " does not speak TLS.", "Begin the URL with http:// instead of https://."}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Fault{"Nothing listens at " + where + ".", "Check host and port; from inside a container, localhost is the container."}
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return &Fault{where + " did not answer within 10 seconds.", "Check that no firewall or security group is between the server and it."}
	}
	return &Fault{where + " did not answer: " + err.Error(), "Check the URL and the network between the server and it."}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// fault says what is wrong with an answer; nil where nothing is.
func (p *probe) fault(d *records.DataSource) *Fault {
	var reply struct{ Status, Error, Message string }
	isJSON := json.Unmarshal(p.body, &reply) == nil
	said := strings.TrimSpace(reply.Error + reply.Message)
	if said == "" && isJSON {
		var upper struct{ Message string }
		_ = json.Unmarshal(p.body, &upper) // then nothing was said
		said = upper.Message
	}
	if len(said) > 500 {
		said = strings.ToValidUTF8(said[:500], "") + "…"
	}
	status := fmt.Sprintf("%d %s", p.status, http.StatusText(p.status))
	switch {
	case p.status == http.StatusOK && d.Type == "alertmanager" && isJSON:
		return nil
	case p.status == http.StatusOK && reply.Status == "success":
		return nil
	case p.status == http.StatusUnauthorized || p.status == http.StatusForbidden:
		return &Fault{refusal(status, said), p.refusalAdvice(d, said)}
	case p.status >= 300 && p.status < 400:
		return &Fault{"The address answers with a redirection, which is not followed.", "Set the URL to where it leads, if that is the data source."}
	case p.status == http.StatusNotFound:
		return &Fault{refusal(status, said), "Check the path of the URL: for Amazon Managed Prometheus it ends in /workspaces/ and the workspace's id."}
	case !isJSON:
		return &Fault{status + ", and the answer is not that of a Prometheus API.", "Check that the URL is the data source's, not that of its pages or of a proxy's sign-in."}
	}
	return &Fault{refusal(status, said), "See the data source's own log for the reason."}
}

func refusal(status, said string) string {
	if said == "" {
		return status + "."
	}
	return status + ": " + said
}

// refusalAdvice tells the reasons apart for which Amazon Managed Prometheus, and
// what speaks its protocol, refuses.
func (p *probe) refusalAdvice(d *records.DataSource, said string) string {
	at, err := http.ParseTime(p.header.Get("Date"))
	if skew := p.asked.Sub(at); err == nil && skew.Abs() > maxSkew {
		return fmt.Sprintf("The clocks of this server and the data source differ by %s: set them by NTP.", skew.Abs().Round(time.Second))
	}
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(strings.ToLower(said), w) {
				return true
			}
		}
		return false
	}
	switch {
	case !isSigned(d) && has("missing authentication", "missing auth"):
		return "The data source wants signed requests: switch on SigV4 auth and choose how to sign."
	case !isSigned(d):
		return "Check user and password, or the token in the headers."
	case has("security token included in the request is invalid", "unrecognizedclient"):
		return "The access key is not known there: check it, and that it was not deleted or deactivated."
	case has("signature we calculated", "signature does not match"):
		return "The secret access key does not belong to the access key: enter both again."
	case has("expired", "signature not yet current"):
		return "The request was signed too long ago or with an ended session: check the server's clock, or enter fresh credentials."
	case has("credential should be scoped", "valid region", "correct service"):
		return fmt.Sprintf("The signature is for the region %q and service %q: set the default region to that of the workspace.", d.Text("sigV4Region"), d.Text("sigV4Service", "sigv4Service"))
	case has("not authorized to perform", "no identity-based policy", "accessdenied"):
		return "The credentials are right but may not query: give them aps:QueryMetrics, aps:GetSeries, aps:GetLabels and aps:GetMetricMetadata on the workspace (managed policy AmazonPrometheusQueryAccess)."
	}
	return "Check access key, secret key, region and the permission aps:QueryMetrics."
}

func isSigned(d *records.DataSource) bool {
	return d.Flag("sigV4Auth") || d.Type == "grafana-amazonprometheus-datasource"
}
