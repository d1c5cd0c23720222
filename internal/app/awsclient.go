package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/awsquery"
)

// awsFlags are what every command that calls a server has in common.
type awsFlags struct {
	endpoint, region, profile, data, output string
}

const (
	// defaultEndpoint is where `mangru up` listens when nothing else is said.
	defaultEndpoint = "http://127.0.0.1:9009"
	defaultRegion   = "us-east-1"
	defaultData     = "./mangru-data"
	// realAWS is the --endpoint that stands for Amazon's own.
	realAWS = "aws"
)

// register adds the flags to a command and those below it.
func (f *awsFlags) register(c *cobra.Command) {
	p := c.PersistentFlags()
	p.StringVar(&f.endpoint, "endpoint", "", "URL of the server, or aws for Amazon's own (default $AWS_ENDPOINT_URL, else "+defaultEndpoint+")")
	p.StringVar(&f.region, "region", "", "AWS region (default from the environment or profile, else "+defaultRegion+")")
	p.StringVar(&f.profile, "profile", "", "profile of the AWS credentials and config files")
	p.StringVar(&f.data, "data", "", "data directory whose administrator's credentials are used (default "+defaultData+", if the environment has none)")
	p.StringVarP(&f.output, "output", "o", "table", "table, json or yaml")
}

// awsClient calls AWS-shaped services, signed.
type awsClient struct {
	endpoint string // "" is Amazon's own
	region   string
	creds    credentials
	token    string // of temporary credentials
	base     http.RoundTripper
	getenv   func(string) string
}

// callTimeout bounds one call.
const callTimeout = time.Minute

// client finds out where to call and as whom.
func (f *awsFlags) client(ctx context.Context) (*awsClient, error) {
	switch f.output {
	case "table", "json", "yaml":
	default:
		return nil, usagef("--output: found %q, allowed are table, json and yaml", f.output)
	}
	c := &awsClient{getenv: os.Getenv}
	if err := c.setEndpoint(f.endpoint); err != nil {
		return nil, err
	}
	var err error
	if c.base, err = newTransport(os.Getenv("AWS_CA_BUNDLE")); err != nil {
		return nil, err
	}
	return c, f.identify(ctx, c)
}

func (c *awsClient) setEndpoint(given string) error {
	if given == "" {
		given = c.getenv("AWS_ENDPOINT_URL")
	}
	switch given {
	case "":
		given = defaultEndpoint
	case realAWS:
		return nil
	}
	u, err := url.Parse(given)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usagef("--endpoint: found %q, expected a URL such as %s, or %s", given, defaultEndpoint, realAWS)
	}
	c.endpoint = strings.TrimSuffix(given, "/")
	return nil
}

func newTransport(caBundle string) (http.RoundTripper, error) {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport, nil
	}
	t = t.Clone()
	t.ResponseHeaderTimeout = callTimeout
	if caBundle == "" {
		return t, nil
	}
	text, err := os.ReadFile(caBundle)
	if err != nil {
		return nil, usagef("$AWS_CA_BUNDLE: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, usagef("$AWS_CA_BUNDLE: %s holds no certificate in PEM", caBundle)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// identify finds region and credentials: a data directory that was named, else
// what the AWS tools would use, else the default data directory.
func (f *awsFlags) identify(ctx context.Context, c *awsClient) error {
	data := f.data
	if data == "" && f.profile == "" && !hasAWSEnvironment(c.getenv) {
		if _, err := os.Stat(filepath.Join(defaultData, "credentials")); err == nil {
			data = defaultData
		}
	}
	if f.data != "" && f.profile != "" {
		return usagef("--data and --profile both say whose credentials to use: give one")
	}
	opts := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithEC2IMDSClientEnableState(imds.ClientDisabled), // nobody types commands as a machine's role
	}
	if f.region != "" {
		opts = append(opts, awsconfig.WithRegion(f.region))
	}
	if f.profile != "" {
		opts = append(opts, awsconfig.WithSharedConfigProfile(f.profile))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return usagef("AWS configuration: %w", err)
	}
	if c.region = cfg.Region; c.region == "" {
		c.region = defaultRegion
	}
	if data != "" {
		if c.creds, err = readCredentials(filepath.Join(data, "credentials")); err != nil {
			return usagef("--data: %w", err)
		}
		return nil
	}
	found, err := cfg.Credentials.Retrieve(ctx)
	var refused interface{ ErrorCode() string }
	var away *net.OpError
	if errors.As(err, &refused) || errors.As(err, &away) {
		return fmt.Errorf("no credentials where the environment says they are: %w", err)
	}
	if err != nil {
		return usagef("no credentials: give --data DIR of a running mangru, --profile NAME, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (%w)", err)
	}
	c.creds, c.token = credentials{AccessKey: found.AccessKeyID, SecretKey: found.SecretAccessKey}, found.SessionToken
	return nil
}

// hasAWSEnvironment reports whether the environment says whose credentials to
// use.
func hasAWSEnvironment(getenv func(string) string) bool {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		if getenv(name) != "" {
			return true
		}
	}
	return false
}

// The services that commands call.
const (
	serviceIAM = "iam"
	serviceSTS = "sts"
	serviceEKS = "eks"
)

// queryVersions are the API versions of the services that speak the Query
// protocol.
var queryVersions = map[string]string{serviceIAM: "2010-05-08", serviceSTS: "2011-06-15"}

// address returns where a service is, and the region to sign for.
func (c *awsClient) address(service string) (base, region string) {
	if own := c.getenv("AWS_ENDPOINT_URL_" + strings.ToUpper(service)); own != "" && c.endpoint != "" {
		return strings.TrimSuffix(own, "/"), c.region
	}
	switch {
	case c.endpoint != "":
		return c.endpoint, c.region
	case service == serviceIAM: // is global, and signed for this region
		return "https://iam.amazonaws.com", "us-east-1"
	}
	return "https://" + service + "." + c.region + ".amazonaws.com", c.region
}

func (c *awsClient) do(req *http.Request, service, region string) (*http.Response, error) {
	signer, err := sigv4.NewSigner(sigv4.SignConfig{Region: region, Service: service,
		AccessKey: c.creds.AccessKey, SecretKey: c.creds.SecretKey, SessionToken: c.token}, c.base)
	if err != nil {
		return nil, err
	}
	res, err := (&http.Client{Transport: signer, Timeout: callTimeout}).Do(req)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return nil, fmt.Errorf("no server answers at %s://%s: start one with mangru up, or name another with --endpoint (%w)",
			req.URL.Scheme, req.URL.Host, op.Err)
	}
	return res, err
}

// callError is a refusal with what was called.
type callError struct {
	operation string
	awsquery.ResponseError
}

// Error implements error.
func (e *callError) Error() string {
	hint := ""
	switch e.Code {
	case "InvalidClientTokenId", "UnrecognizedClientException":
		hint = "; the server does not know this access key: choose another with --data, --profile or the environment"
	case "SignatureDoesNotMatch", "InvalidSignatureException":
		hint = "; is the secret key the one of this access key, and --region the server's?"
	}
	return e.operation + ": " + e.Code + ": " + e.Message + hint
}

// isCode reports whether the server refused with one of the codes.
func isCode(err error, codes ...string) bool {
	var e *callError
	if !errors.As(err, &e) {
		return false
	}
	for _, code := range codes {
		if e.Code == code {
			return true
		}
	}
	return false
}

// query calls an operation of the Query protocol and reads its result into out,
// which may be nil.
func (c *awsClient) query(ctx context.Context, service, action string, form url.Values, out any) error {
	if form == nil {
		form = url.Values{}
	}
	form.Set("Action", action)
	form.Set("Version", queryVersions[service])
	base, region := c.address(service)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	res, err := c.do(req, service, region)
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	defer func() { _ = res.Body.Close() }()
	err = awsquery.Read(res, action, out)
	var refused *awsquery.ResponseError
	if errors.As(err, &refused) {
		return &callError{action, *refused}
	}
	return err
}

// maxAnswer bounds an answer that is read, in bytes.
const maxAnswer = 16 << 20

// rest calls an operation of EKS, which speaks JSON over REST. In and out may be
// nil.
func (c *awsClient) rest(ctx context.Context, operation, method, path string, in, out any) error {
	return c.restOf(ctx, serviceEKS, operation, method, path, in, out)
}

// restOf is rest for any service that speaks JSON over REST.
func (c *awsClient) restOf(ctx context.Context, service, operation, method, path string, in, out any) error {
	body := []byte{}
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	base, region := c.address(service)
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.exchange(req, service, region, operation, out)
}

// restPages calls a listing operation until there is no more. The query of the
// first call is q.
func restPages[P any](ctx context.Context, c *awsClient, service, operation, path string, q url.Values, take func(*P) (next string, err error)) error {
	for {
		var page P
		if err := c.restOf(ctx, service, operation, http.MethodGet, path+"?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		next, err := take(&page)
		if err != nil || next == "" {
			return err
		}
		q.Set("nextToken", next)
	}
}

// exchange sends a request and reads its answer, JSON, into out, which may be nil.
func (c *awsClient) exchange(req *http.Request, service, region, operation string, out any) error {
	res, err := c.do(req, service, region)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return restError(operation, res, text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s: the answer is not the JSON expected: %w", operation, err)
	}
	return nil
}

func restError(operation string, res *http.Response, text []byte) error {
	var body struct {
		Type    string `json:"__type"`
		Message string `json:"message"` // also Message: names are matched without case
	}
	_ = json.Unmarshal(text, &body) // what is not JSON has no message
	e := &callError{operation, awsquery.ResponseError{Status: res.StatusCode, Code: res.Header.Get("x-amzn-errortype"), Message: body.Message}}
	e.Code, _, _ = strings.Cut(e.Code, ":")
	if e.Code == "" {
		e.Code = body.Type
	}
	if e.Code == "" {
		e.Code, e.Message = strconv.Itoa(res.StatusCode), strings.TrimSpace(string(text[:min(len(text), 200)]))
	}
	return e
}

// iam calls IAM.
func (c *awsClient) iam(ctx context.Context, action string, form url.Values, out any) error {
	return c.query(ctx, serviceIAM, action, form, out)
}

// account returns the id of the caller's account.
func (c *awsClient) account(ctx context.Context) (string, error) {
	var out struct{ Account string }
	if err := c.query(ctx, serviceSTS, "GetCallerIdentity", nil, &out); err != nil {
		return "", err
	}
	return out.Account, nil
}

// page is the part of an answer that says whether there is more.
type page struct {
	IsTruncated bool
	Marker      string
}

// listPages calls a listing operation of IAM until there is no more, and hands
// each page to take, which returns what the page says about further ones.
func listPages[P any](ctx context.Context, c *awsClient, action string, form url.Values, take func(*P) page) error {
	if form == nil {
		form = url.Values{}
	}
	for {
		var out P
		if err := c.iam(ctx, action, form, &out); err != nil {
			return err
		}
		more := take(&out)
		if !more.IsTruncated || more.Marker == "" {
			return nil
		}
		form.Set("Marker", more.Marker)
	}
}

// setTags adds tags to a form.
func setTags(form url.Values, tags map[string]string) {
	i := 0
	for _, k := range sortedKeys(tags) {
		i++
		at := "Tags.member." + strconv.Itoa(i)
		form.Set(at+".Key", k)
		form.Set(at+".Value", tags[k])
	}
}

// setList adds a list of texts to a form.
func setList(form url.Values, name string, values []string) {
	for i, v := range values {
		form.Set(name+".member."+strconv.Itoa(i+1), v)
	}
}

// iamTag is a tag as IAM has it.
type iamTag struct {
	Key, Value string
}

// parseTags reads arguments of the form key=value.
func parseTags(args []string) (map[string]string, error) {
	tags := make(map[string]string, len(args))
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if !ok || k == "" {
			return nil, usagef("tag %q: expected key=value", a)
		}
		tags[k] = v
	}
	return tags, nil
}

// show writes a result: as the AWS tools have it, or as a table.
func (f *awsFlags) show(cmd *cobra.Command, v any, table func(t *table)) error {
	w := cmd.OutOrStdout()
	switch f.output {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	case "yaml":
		text, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	t := &tableWriter{w: tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)}
	table(t)
	return t.w.Flush()
}

// done says in a line that something was done; with another output the result.
func (f *awsFlags) done(cmd *cobra.Command, v any, format string, args ...any) error {
	return f.show(cmd, v, func(t *table) { t.text(fmt.Sprintf(format, args...)) })
}

// table is what results are written to for people.
type table = tableWriter

type tableWriter struct{ w *tabwriter.Writer }

// row writes one row. Empty cells are shown as a dash.
func (t *tableWriter) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	_, _ = t.w.Write([]byte(strings.Join(cells, "\t") + "\n")) // Flush tells
}

// text writes a line without columns.
func (t *tableWriter) text(s string) { _, _ = t.w.Write([]byte(s + "\n")) } // Flush tells

// day shows a time in short.
func day(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02 15:04")
}

func tagText(tags []iamTag) string {
	parts := make([]string, len(tags))
	for i, t := range tags {
		parts[i] = t.Key + "=" + t.Value
	}
	return strings.Join(parts, " ")
}

// readDocument reads a file, or standard input for "-".
func readDocument(cmd *cobra.Command, flag, file string) (string, error) {
	if file == "" {
		return "", usagef("--%s: is required: a file, or - for standard input", flag)
	}
	const most = 1 << 20
	if file == "-" {
		text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), most))
		return string(text), err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", usagef("--%s: %w", flag, err)
	}
	if len(text) > most {
		return "", usagef("--%s: %s is larger than %d bytes", flag, file, most)
	}
	return string(text), nil
}

// usagef is an error of usage.
func usagef(format string, args ...any) error {
	return &ExitError{Code: exitUsage, Err: fmt.Errorf(format, args...)}
}

// group makes a command that only holds others.
func group(use, short, long string, f *awsFlags, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q; %s --help lists those there are", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Help()
			return usagef("no command given")
		},
	}
	if f != nil {
		f.register(c)
	}
	c.AddCommand(sub...)
	return c
}

// exactly demands arguments by their names.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(names) {
			return fmt.Errorf("%s takes %s, found %d arguments", cmd.CommandPath(), strings.Join(names, " and "), len(args))
		}
		return nil
	}
}

// atLeast demands arguments by their names, the last once or more.
func atLeast(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return fmt.Errorf("%s takes %s..., found %d arguments", cmd.CommandPath(), strings.Join(names, " and "), len(args))
		}
		return nil
	}
}

// sortedKeys returns the keys of a map in order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
