package otelconf

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/mangru/mangru/internal/rewrite"
)

// detectionBody is a resourcedetection processor as it is written.
type detectionBody struct {
	Detectors []*node       `conf:"detectors"`
	Override  bool          `conf:"override"`
	Timeout   time.Duration `conf:"timeout"`
	Fail      bool          `conf:"fail_on_missing_metadata"`
	Refresh   time.Duration `conf:"refresh_interval"`
	Retry     *node         `conf:"retry"`
	Attrs     *node         `conf:"attributes"`
	Env       struct {
		Attributes struct {
			Included []string `conf:"included"`
			Excluded []string `conf:"excluded"`
		} `conf:"attributes"`
	} `conf:"env"`
	System struct {
		Sources    []string           `conf:"hostname_sources"`
		Attributes map[string]enabled `conf:"resource_attributes"`
	} `conf:"system"`
	EC2 struct {
		Tags        []string           `conf:"tags"`
		FromIMDS    bool               `conf:"tags_from_imds"`
		Attributes  map[string]enabled `conf:"resource_attributes"`
		MaxAttempts int                `conf:"max_attempts"`
		MaxBackoff  time.Duration      `conf:"max_backoff"`
		Fail        bool               `conf:"fail_on_missing_metadata"`
	} `conf:"ec2"`
	EKS struct {
		Attributes map[string]enabled `conf:"resource_attributes"`
		AuthType   *node              `conf:"auth_type"`
		Context    *node              `conf:"context"`
		NodeFrom   *node              `conf:"node_from_env_var"`
	} `conf:"eks"`
}

type enabled struct {
	Enabled bool `conf:"enabled"`
}

// resourceDetection asks the detectors, in their order; what an earlier one says
// counts. A detector that fails gives a warning and no attributes.
func (l *loader) resourceDetection(c *component, s surroundings) rewrite.Program {
	b := detectionBody{Override: true, Timeout: 5 * time.Second}
	before := len(l.list)
	decodeInto(c.body, c.path, &b, &l.problems)
	if !b.Attrs.isNull() {
		l.at(b.Attrs.pos, c.path+".attributes", "is not supported; switch attributes off under the detector's resource_attributes")
	}
	if b.Refresh > 0 {
		l.warn(c.body.get("refresh_interval").pos, c.path+".refresh_interval", "has no effect: detection is done when the configuration is loaded")
	}
	if len(b.EC2.Tags) > 0 && !b.EC2.FromIMDS {
		l.at(c.body.at("ec2", "tags").pos, c.path+".ec2.tags", "needs tags_from_imds: true here: no AWS API is asked")
	}
	var names []string
	for i, n := range b.Detectors {
		name := strings.TrimSpace(nodeText(n))
		if l.oneOf(n, fmt.Sprintf("%s.detectors[%d]", c.path, i), name, detectorNames) {
			names = append(names, name)
		}
	}
	d := detection{body: b, surroundings: s}
	d.tags = l.tagPatterns(b.EC2.Tags, c)
	l.checkAttributes(b.System.Attributes, systemAttributes, c, "system")
	l.checkAttributes(b.EC2.Attributes, instanceAttributes, c, "ec2")
	l.checkAttributes(b.EKS.Attributes, instanceAttributes, c, "eks")
	for i, source := range b.System.Sources {
		l.oneOf(nodeOr(c.body.at("system", "hostname_sources"), c), fmt.Sprintf("%s.system.hostname_sources[%d]", c.path, i), source, hostnameSources)
	}
	if len(l.list) > before || !c.used {
		return nil // what nobody uses is not worth waiting for
	}
	kind := rewrite.Upsert
	if !b.Override {
		kind = rewrite.Insert
	}
	var actions []rewrite.Action
	seen := map[string]bool{}
	for _, name := range names {
		found, err := d.detect(name)
		if err != nil {
			l.detectionFailed(c, name, b.Fail || name == "ec2" && b.EC2.Fail, err)
		}
		for _, key := range sortedKeys(found) {
			if !seen[key] && found[key] != "" {
				seen[key] = true
				actions = append(actions, rewrite.Action{Kind: kind, Key: key, Value: found[key]})
			}
		}
	}
	if len(actions) == 0 {
		return nil
	}
	return one(rewrite.Attributes{Resource: true, Actions: actions})
}

func (l *loader) detectionFailed(c *component, name string, fatal bool, err error) {
	if fatal {
		l.at(c.pos, c.path, "the detector %q failed, and fail_on_missing_metadata is set: %v", name, err)
		return
	}
	l.warn(c.pos, c.path, "the detector %q found nothing: %v", name, err)
}

func (l *loader) tagPatterns(tags []string, c *component) []*regexp.Regexp {
	var out []*regexp.Regexp
	for _, t := range tags {
		if re := l.regexpOf(c.body.at("ec2", "tags"), c.path+".ec2.tags", t); re != nil {
			out = append(out, re)
		}
	}
	return out
}

// checkAttributes refuses attributes that are asked for and cannot be had.
func (l *loader) checkAttributes(attrs map[string]enabled, known map[string]bool, c *component, detector string) {
	for _, key := range sortedKeys(attrs) {
		if _, ok := known[key]; ok || !attrs[key].Enabled {
			continue
		}
		field := fmt.Sprintf("%s.%s.resource_attributes", c.path, detector)
		text := "the attribute cannot be detected here"
		if key == "k8s.cluster.name" {
			text = "the cluster's name cannot be detected here without asking AWS APIs; set it with the resource processor"
		}
		e := c.body.at(detector, "resource_attributes").entry(key)
		l.add(&Error{File: e.pos.file, Line: e.pos.line, Field: join(field, key), Text: text, Allowed: sortedKeys(known)})
	}
}

// surroundings are what the resourcedetection processor can look at.
type surroundings interface {
	Getenv(name string) string
	ReadFile(name string) ([]byte, error)
	Hostname() (string, error)
	// Name finds a host's other name: its canonical one, or that of its first
	// address where reverse is true.
	Name(ctx context.Context, host string, reverse bool) (string, error)
	// Identity and Metadata ask the instance metadata service of EC2.
	Identity(ctx context.Context) (imds.InstanceIdentityDocument, error)
	Metadata(ctx context.Context, path string) (string, error)
}

// machine is the machine that the program runs on.
type machine struct {
	opts Options
	imds *imds.Client
}

func newSurroundings(o Options) surroundings {
	m := machine{opts: o}
	settings := imds.Options{Endpoint: m.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")}
	if strings.EqualFold(m.Getenv("AWS_EC2_METADATA_DISABLED"), "true") {
		settings.ClientEnableState = imds.ClientDisabled
	}
	m.imds = imds.New(settings)
	return m
}

func (m machine) Getenv(name string) string {
	v, _ := m.opts.Getenv(name)
	return v
}

func (m machine) ReadFile(name string) ([]byte, error) { return m.opts.ReadFile(name) }
func (m machine) Hostname() (string, error)            { return os.Hostname() }

func (m machine) Name(ctx context.Context, host string, reverse bool) (string, error) {
	if !reverse {
		name, err := net.DefaultResolver.LookupCNAME(ctx, host)
		return strings.TrimSuffix(name, "."), err
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", err
	}
	names, err := net.DefaultResolver.LookupAddr(ctx, addresses[0])
	if err != nil || len(names) == 0 {
		return "", fmt.Errorf("address %s has no name: %w", addresses[0], err)
	}
	return strings.TrimSuffix(names[0], "."), nil
}

func (m machine) Identity(ctx context.Context) (imds.InstanceIdentityDocument, error) {
	out, err := m.imds.GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return imds.InstanceIdentityDocument{}, err
	}
	return out.InstanceIdentityDocument, nil
}

func (m machine) Metadata(ctx context.Context, path string) (string, error) {
	out, err := m.imds.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		return "", err
	}
	defer out.Content.Close()
	b, err := io.ReadAll(io.LimitReader(out.Content, 64<<10))
	return strings.TrimSpace(string(b)), err
}

var (
	detectorNames   = []string{"env", "system", "ec2", "eks"}
	hostnameSources = []string{"dns", "os", "cname", "lookup"}
	// systemAttributes and instanceAttributes are what the detectors can find;
	// true are those that need not be asked for. The eks detector gives only the
	// first two of the latter unless asked.
	systemAttributes   = map[string]bool{"host.name": true, "os.type": true, "host.arch": false, "host.id": false}
	instanceAttributes = map[string]bool{
		"cloud.provider": true, "cloud.platform": true, "cloud.region": true, "cloud.account.id": true, "cloud.availability_zone": true,
		"host.id": true, "host.image.id": true, "host.type": true, "host.name": true,
	}
)

// metadataTimeout bounds what a machine outside EC2 waits for: nothing answers
// there, and a collector should start all the same.
const metadataTimeout = 2 * time.Second

// detection finds the attributes of the resource that the program runs on.
type detection struct {
	surroundings
	body detectionBody
	tags []*regexp.Regexp
}

func (d detection) detect(name string) (map[string]string, error) {
	limit := d.body.Timeout
	if name == "ec2" || name == "eks" {
		limit = min(limit, metadataTimeout)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	switch name {
	case "env":
		return d.env()
	case "system":
		return d.system(ctx)
	case "ec2":
		return d.ec2(ctx)
	}
	return d.eks(ctx)
}

// env reads OTEL_RESOURCE_ATTRIBUTES: key=value pairs with commas between them,
// the values percent-encoded.
func (d detection) env() (map[string]string, error) {
	text := strings.TrimSpace(d.Getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if text == "" {
		text = strings.TrimSpace(d.Getenv("OTEL_RESOURCE"))
	}
	out := map[string]string{}
	for _, pair := range strings.Split(strings.TrimSuffix(text, ","), ",") {
		if text == "" {
			break
		}
		key, value, ok := strings.Cut(pair, "=")
		key = strings.TrimSpace(key)
		value, err := url.QueryUnescape(strings.TrimSpace(value))
		if !ok || key == "" || err != nil {
			return nil, errors.New("OTEL_RESOURCE_ATTRIBUTES is not a list of key=value")
		}
		out[key] = value
	}
	filter := d.body.Env.Attributes
	maps.DeleteFunc(out, func(key, _ string) bool {
		hit := func(pattern string) bool { ok, err := path.Match(pattern, key); return ok && err == nil }
		return len(filter.Included) > 0 && !slices.ContainsFunc(filter.Included, hit) || slices.ContainsFunc(filter.Excluded, hit)
	})
	return out, nil
}

func (d detection) system(ctx context.Context) (map[string]string, error) {
	sources := d.body.System.Sources
	if len(sources) == 0 {
		sources = []string{"dns", "os"}
	}
	var failed error
	host := ""
	for _, s := range sources {
		name, err := d.hostname(ctx, s)
		if err == nil {
			host = name
			break
		}
		failed = errors.Join(failed, err)
	}
	if host == "" {
		return nil, fmt.Errorf("the host's name: %w", failed)
	}
	all := map[string]string{"host.name": host, "os.type": osType(runtime.GOOS), "host.arch": hostArch(runtime.GOARCH)}
	if b, err := d.ReadFile("/etc/machine-id"); err == nil {
		all["host.id"] = strings.TrimSpace(string(b))
	}
	return chosen(all, systemAttributes, d.body.System.Attributes), nil
}

func (d detection) hostname(ctx context.Context, source string) (string, error) {
	host, err := d.Hostname()
	if err != nil || source == "os" {
		return host, err
	}
	if source == "dns" {
		if name := d.hostsFile(host); name != "" {
			return name, nil
		}
	}
	return d.Name(ctx, host, source != "cname")
}

// hostsFile returns the first name on the host's line of the hosts file.
func (d detection) hostsFile(host string) string {
	b, err := d.ReadFile("/etc/hosts")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		if fields := strings.Fields(line); len(fields) > 1 && slices.Contains(fields[1:], host) {
			return fields[1]
		}
	}
	return ""
}

// osType and hostArch return the names that OpenTelemetry's conventions have.
func osType(goos string) string {
	if goos == "dragonfly" {
		return "dragonflybsd"
	}
	return goos
}

func hostArch(goarch string) string {
	switch goarch {
	case "386":
		return "x86"
	case "arm":
		return "arm32"
	case "ppc64le":
		return "ppc64"
	}
	return goarch
}

// chosen leaves the attributes that are on by default or switched on.
func chosen(all map[string]string, defaults map[string]bool, switches map[string]enabled) map[string]string {
	maps.DeleteFunc(all, func(key, _ string) bool {
		on := defaults[key]
		if s, ok := switches[key]; ok {
			on = s.Enabled
		}
		return !on
	})
	return all
}

func (d detection) ec2(ctx context.Context) (map[string]string, error) {
	all, err := d.instance(ctx, "aws_ec2")
	if err != nil {
		return nil, err
	}
	all = chosen(all, instanceAttributes, d.body.EC2.Attributes)
	if len(d.tags) == 0 {
		return all, nil
	}
	keys, err := d.Metadata(ctx, "tags/instance")
	if err != nil {
		return all, fmt.Errorf("the instance's tags: %w", err)
	}
	for key := range strings.Lines(keys) {
		key = strings.TrimSpace(key)
		if !slices.ContainsFunc(d.tags, func(re *regexp.Regexp) bool { return re.MatchString(key) }) {
			continue
		}
		value, err := d.Metadata(ctx, "tags/instance/"+key)
		if err != nil {
			return all, fmt.Errorf("the instance's tag %q: %w", key, err)
		}
		all["ec2.tag."+key] = value
	}
	return all, nil
}

// instance returns what the metadata service says about the instance.
func (d detection) instance(ctx context.Context, platform string) (map[string]string, error) {
	id, err := d.Identity(ctx)
	if err != nil {
		return nil, fmt.Errorf("the instance metadata service does not answer: %w", err)
	}
	all := map[string]string{
		"cloud.provider": "aws", "cloud.platform": platform, "cloud.region": id.Region, "cloud.account.id": id.AccountID,
		"cloud.availability_zone": id.AvailabilityZone, "host.id": id.InstanceID, "host.image.id": id.ImageID, "host.type": id.InstanceType,
	}
	if name, err := d.Metadata(ctx, "hostname"); err == nil {
		all["host.name"] = name
	}
	return all, nil
}

// eks tells an EKS cluster by the credentials that it gives to pods. What only the
// instance knows is asked for only if somebody wants it.
func (d detection) eks(ctx context.Context) (map[string]string, error) {
	if !d.onEKS() {
		return nil, errors.New("not in an EKS cluster")
	}
	defaults := map[string]bool{"cloud.provider": true, "cloud.platform": true}
	all := map[string]string{"cloud.provider": "aws", "cloud.platform": "aws_eks"}
	wanted := false
	for key, a := range d.body.EKS.Attributes {
		wanted = wanted || a.Enabled && !defaults[key]
	}
	if !wanted {
		return chosen(all, defaults, d.body.EKS.Attributes), nil
	}
	instance, err := d.instance(ctx, "aws_eks")
	maps.Copy(all, instance)
	return chosen(all, defaults, d.body.EKS.Attributes), err
}

func (d detection) onEKS() bool {
	if d.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		return false
	}
	if strings.Contains(d.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), "eks.amazonaws.com") ||
		strings.Contains(d.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"), "eks-pod-identity") {
		return true
	}
	token, err := d.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/token")
	return err == nil && strings.Contains(issuer(string(token)), "oidc.eks.")
}

// issuer returns who a service account's token says it is from. Nothing is
// decided by it but which attributes to write, so that it is not verified.
func issuer(token string) string {
	parts := strings.Split(strings.TrimSpace(token), ".")
	if len(parts) != 3 {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(b, &claims) != nil {
		return ""
	}
	return claims.Issuer
}
