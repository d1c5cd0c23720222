package otelconf

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/rewrite"
)

// compileProcessor compiles one processor, written as "type: body".
func compileProcessor(t *testing.T, text string) (*loader, rewrite.Program) {
	t.Helper()
	l := &loader{config: &Config{}, opts: Options{Getenv: func(string) (string, bool) { return "", false }, ReadFile: func(string) ([]byte, error) { return nil, os.ErrNotExist }}}
	c := parseProcessor(t, text)
	require.NotEmpty(t, c.kind)
	return l, l.processor(c)
}

func parseProcessor(t *testing.T, text string) *component {
	t.Helper()
	docs, err := source{name: "f", data: []byte(text)}.parse()
	require.NoError(t, err)
	e := docs[0].entries[0]
	typ, _, _ := strings.Cut(e.key, "/")
	return &component{id: e.key, kind: processorTypes[typ], pos: e.pos, path: "processors." + e.key, body: e.value, used: true}
}

// Each text is wrong in one place, which the error names.
func TestProcessorErrors(t *testing.T) {
	for text, want := range map[string]string{
		"filter:\n  metric: {}":                                                                       `f:2: processors.filter.metric: unknown field "metric", did you mean "metrics"? (allowed: error_mode, `,
		"filter:\n  error_mode: explode":                                                              `f:2: processors.filter.error_mode: unknown value, found "explode" (allowed: ignore, silent, propagate)`,
		"filter:\n  metrics:\n    metric:\n      - name = \"x\"":                                      `f:4: processors.filter.metrics.metric[0]: column 6: expected a comparison after "name", found "="`,
		"filter:\n  metrics:\n    metric: [[]]":                                                       `f:3: processors.filter.metrics.metric[0]: must be a text`,
		"filter:\n  metric_conditions: x":                                                             `f:2: processors.filter.metric_conditions: must be a list, found a single value`,
		"filter:\n  metric_conditions:\n    - name == \"x\"":                                          `f:3: processors.filter.metric_conditions[0]: column 1: begin the path with its context`,
		"filter:\n  metric_conditions:\n    - {context: span, conditions: []}":                        `f:3: processors.filter.metric_conditions[0].context: unknown value, found "span" (allowed: resource, scope, metric, datapoint)`,
		"filter:\n  metric_conditions:\n    - {statements: []}":                                       `f:3: processors.filter.metric_conditions[0].statements: unknown field "statements"`,
		"filter:\n  metric_conditions:\n    - {conditions: []}\n    - true":                           `f:3: processors.filter.metric_conditions: must be a list of texts or a list of groups, not both`,
		"filter:\n  metric_conditions: []\n  metrics: {metric: [\"true\"]}":                           `f:3: processors.filter.metrics: cannot be used together with metric_conditions`,
		"filter:\n  metrics:\n    include: {match_type: glob, metric_names: [x]}":                     `f:3: processors.filter.metrics.include.match_type: unknown value, found "glob" (allowed: strict, regexp)`,
		"filter:\n  metrics:\n    include: {metric_names: [x]}":                                       `f:3: processors.filter.metrics.include.match_type: is missing (allowed: strict, regexp)`,
		"filter:\n  metrics:\n    include: {match_type: expr, expressions: [x]}":                      `f:3: processors.filter.metrics.include.match_type: expressions are not supported`,
		"filter:\n  metrics:\n    include:\n      match_type: regexp\n      metric_names: [a, \"(\"]": `f:5: processors.filter.metrics.include.metric_names[1]: error parsing regexp`,
		"filter:\n  metrics:\n    include: {match_type: strict, resource_attributes: [{value: x}]}":   `resource_attributes[0].key: is missing`,
		"filter:\n  metrics: {metric: [\"true\"], include: {match_type: strict, metric_names: [x]}}":  `f:2: processors.filter.metrics: include and exclude cannot be used together`,

		"resource: {}": `f:1: processors.resource.attributes: is missing`,
		"resource:\n  attributes:\n    - {key: a, action: put, value: b}":                                                       `f:3: processors.resource.attributes[0].action: unknown value, found "put" (allowed: insert, update,`,
		"resource:\n  attributes:\n    - {action: insert, value: b}":                                                            `f:3: processors.resource.attributes[0].key: is missing`,
		"resource:\n  attributes:\n    - {key: a, action: insert}":                                                              `f:3: processors.resource.attributes[0]: one of value, from_attribute or default_value is missing`,
		"resource:\n  attributes:\n    - {key: a, action: insert, value: b, from_attribute: c}":                                 `f:3: processors.resource.attributes[0]: only one of value`,
		"resource:\n  attributes:\n    - {key: a, action: insert, value: [b]}":                                                  `f:3: processors.resource.attributes[0].value: must be a single value, found a list`,
		"resource:\n  attributes:\n    - {key: a, action: delete, value: b}":                                                    `f:3: processors.resource.attributes[0].value: is not possible with the action "delete"`,
		"attributes:\n  actions:\n    - {key: a, action: extract}":                                                              `f:3: processors.attributes.actions[0].pattern: is missing`,
		"attributes:\n  actions:\n    - {key: a, action: extract, pattern: (x)}":                                                `f:3: processors.attributes.actions[0].pattern: must have groups, each with a name`,
		"attributes:\n  actions:\n    - {key: a, action: convert, converted_type: date}":                                        `f:3: processors.attributes.actions[0].converted_type: unknown value, found "date" (allowed: string, int, double)`,
		"attributes:\n  include: {match_type: strict}\n  actions: [{key: a, action: delete}]":                                   `f:2: processors.attributes.include.metric_names: is missing`,
		"attributes:\n  include: {match_type: strict, metric_names: [b], services: [a]}\n  actions: [{key: a, action: delete}]": `f:2: processors.attributes.include.services: unknown field "services"`,

		"transform:\n  metric_statements:\n    - context: datapoint\n      statements:\n        - set(attributes[\"a\"])": `f:5: processors.transform.metric_statements[0].statements[0]: column 1: set lacks the argument "value"`,
		"transform:\n  metric_statements:\n    - {context: metric, statement: [x]}":                                       `f:3: processors.transform.metric_statements[0].statement: unknown field "statement", did you mean "statements"?`,
		"transform:\n  metric_statements: [1]":                                                                            `f:2: processors.transform.metric_statements[0]: column 1: expected an editor`,

		"metricstransform:\n  transforms:\n    - {include: x, action: insert, new_name: y}":                                                                  `f:3: processors.metricstransform.transforms[0].action: "insert" is not supported: each series is changed on its own here, none is made from others (supported: update)`,
		"metricstransform:\n  transforms:\n    - {include: x, action: combine, new_name: y, aggregation_type: sum}":                                          `"combine" is not supported`,
		"metricstransform:\n  transforms:\n    - {include: x, action: rename}":                                                                               `f:3: processors.metricstransform.transforms[0].action: unknown value, found "rename" (allowed: update)`,
		"metricstransform:\n  transforms:\n    - {action: update}":                                                                                           `f:3: processors.metricstransform.transforms[0].include: is missing`,
		"metricstransform:\n  transforms:\n    - {include: x, match_type: re, action: update}":                                                               `match_type: unknown value, found "re" (allowed: strict, regexp)`,
		"metricstransform:\n  transforms:\n    - {include: x, action: update, operations: [{action: aggregate_labels, label_set: [a]}]}":                     `f:3: processors.metricstransform.transforms[0].operations[0].action: "aggregate_labels" is not supported: labels are changed here once for each series, never values (supported: add_label, update_label, delete_label_value)`,
		"metricstransform:\n  transforms:\n    - {include: x, action: update, operations: [{action: add_label, new_label: a}]}":                              `operations[0].new_value: is missing`,
		"metricstransform:\n  transforms:\n    - {include: x, action: update, new_name: y, experimental_match_labels: {a: b}}":                               `experimental_match_labels: is supported for the operation update_label only`,
		"metrics_transform:\n  transforms:\n    - {include: x, action: update, operations: [{action: add_label, new_label: v, new_value: \"{{version}}\"}]}": `{{version}} is not supported`,

		"resourcedetection:\n  detectors: [env, gcp]":                                                                        `f:2: processors.resourcedetection.detectors[1]: unknown value, found "gcp" (allowed: env, system, ec2, eks)`,
		"resourcedetection:\n  detectors: [ec2]\n  ec2:\n    tags: [x]":                                                      `f:4: processors.resourcedetection.ec2.tags: needs tags_from_imds`,
		"resource_detection:\n  detectors: [eks]\n  eks:\n    resource_attributes:\n      k8s.cluster.name: {enabled: true}": `f:5: processors.resource_detection.eks.resource_attributes.k8s.cluster.name: the cluster's name cannot be detected here`,
		"resourcedetection:\n  detectors: [system]\n  system: {hostname_sources: [guess]}":                                   `f:3: processors.resourcedetection.system.hostname_sources[0]: unknown value, found "guess"`,
		"resourcedetection:\n  detectors: [env]\n  attributes: [a]":                                                          `f:3: processors.resourcedetection.attributes: is not supported`,

		"k8sattributes:\n  passthrough: true":                                                     `f:2: processors.k8sattributes.passthrough: is not supported`,
		"k8sattributes:\n  extract:\n    metadata: [k8s.pod.name, k8s.pod.start_time]":            `f:3: processors.k8sattributes.extract.metadata[1]: unknown value, found "k8s.pod.start_time" (allowed: container.image.name,`,
		"k8sattributes:\n  extract:\n    labels:\n      - {tag_name: a, key: b, from: namespace}": `f:4: processors.k8sattributes.extract.labels[0].from: only labels of pods are known to service discovery`,
		"k8s_attributes:\n  extract:\n    labels:\n      - {key_regex: b.*, from: pod}":           `f:4: processors.k8s_attributes.extract.labels[0].key_regex: is not supported`,
		"k8sattributes:\n  pod_association:\n    - sources: [{from: labels, name: x}]":            `f:3: processors.k8sattributes.pod_association[0].sources.from: unknown value, found "labels" (allowed: resource_attribute, connection)`,
	} {
		l, _ := compileProcessor(t, text)
		err := l.err()
		require.Error(t, err, text)
		require.ErrorContains(t, err, want, text)
		require.Len(t, l.list, 1, "%s: %v", text, err)
	}
}

// What is valid, but has no effect or is not what is likely meant, gives a warning.
func TestProcessorWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"filter:\n  logs: {}":              "only metrics are collected here",
		"filter:\n  error_mode: propagate": "drops nothing here",
		"filter:\n  metrics:\n    datapoint: ['attributes[\"code\"] == 200']":                                                            "never equals 200",
		"attributes:\n  actions: [{key: instance, action: upsert, value: x}]":                                                            "use the resource processor with service.name or service.instance.id",
		"attributes:\n  include: {match_type: strict, resources: [{key: a}]}\n  actions: [{key: b, action: delete}]":                     "here as in the OpenTelemetry Collector",
		"attributes:\n  actions: [{key: a, action: insert, from_context: x}]":                                                            "is never there for metrics that are scraped",
		"metricstransform:\n  transforms: [{include: x, action: update, operations: [{action: update_label, label: le, new_label: l}]}]": "part of a histogram's or summary's value",
		"k8sattributes:": "asks no API server",
		"resourcedetection:\n  detectors: [env]\n  refresh_interval: 1m": "has no effect",
		"resourcedetection:\n  detectors: [eks]":                         "not in an EKS cluster",
	} {
		l, _ := compileProcessor(t, text)
		require.NoError(t, l.err(), text)
		require.Len(t, l.config.Warnings, 1, text)
		require.Contains(t, l.config.Warnings[0].Text, want, text)
	}
}

func TestEmptyProcessorsDoNothing(t *testing.T) {
	for _, text := range []string{
		"filter:", "filter: {metrics: }", "filter: {metrics: {include: {match_type: strict}}}", "filter: {metric_conditions: []}", "transform:", "transform: {metric_statements: []}",
		"metricstransform:", "resourcedetection:", "resourcedetection: {detectors: [env]}", "resourcedetection: {detectors: [env, env], timeout: 1s, override: false}",
	} {
		l, p := compileProcessor(t, text)
		require.NoError(t, l.err(), text)
		require.Empty(t, p, text)
	}
}

// Reloads compare programs, so the same configuration must give equal ones.
func TestProgramsCompare(t *testing.T) {
	for _, text := range []string{
		`filter: {metrics: {metric: ['IsMatch(name, "^a.*b$") and type == METRIC_DATA_TYPE_SUM'], datapoint: ['attributes["x"] == "y"']}}`,
		`filter: {metrics: {exclude: {match_type: regexp, metric_names: ["a.*"], resource_attributes: [{key: service.name, value: x}]}}}`,
		`transform: {metric_statements: ['set(datapoint.attributes["a"], Concat([metric.name, "x"], "-")) where IsMatch(metric.name, "a")']}`,
		`attributes: {actions: [{key: a, action: extract, pattern: "(?P<b>.*)"}]}`,
		`metricstransform: {transforms: [{include: "a(.*)", match_type: regexp, action: update, new_name: "b$1", operations: [{action: update_label, label: x, value_actions: [{value: a, new_value: b}]}]}]}`,
		`k8sattributes: {extract: {metadata: [k8s.pod.name], labels: [{tag_name: app, key: app.kubernetes.io/name, from: pod}]}}`,
	} {
		_, a := compileProcessor(t, text)
		_, b := compileProcessor(t, text)
		require.NotEmpty(t, a, text)
		require.Equal(t, a, b, text)
		_, rest := rewrite.Split([]rewrite.Program{a, b})
		require.Equal(t, []rewrite.Program{nil, nil}, rest, text)
	}
}

func TestWarnHidden(t *testing.T) {
	l, p := compileProcessor(t, "resource: {attributes: [{key: env, action: insert, value: prod}, {key: service.name, action: upsert, value: x}]}")
	way := rewrite.Pipeline{Processors: []rewrite.Program{p}}
	l.warnHidden(position{file: "f", line: 3}, "service.pipelines.metrics", way)
	require.Len(t, l.config.Warnings, 1)
	require.Contains(t, l.config.Warnings[0].Text, `the resource attribute "env" is set, but no series shows it: it is nowhere`)
	way.Export = rewrite.Export{OTel: true, TargetInfo: true}
	l.warnHidden(position{file: "f", line: 3}, "service.pipelines.metrics", way)
	require.Contains(t, l.config.Warnings[1].Text, "on target_info alone")
	way.Export.Convert = rewrite.NewConversion([]string{"env"}, nil)
	l.warnHidden(position{}, "", way)
	require.Len(t, l.config.Warnings, 2)
}

// fakeMachine is a pod on an EC2 instance, as far as its fields say.
type fakeMachine struct {
	env, files, metadata map[string]string
	names                map[bool]string
	identity             imds.InstanceIdentityDocument
	noMetadata           bool
}

func (m fakeMachine) Getenv(name string) string { return m.env[name] }

func (m fakeMachine) ReadFile(name string) ([]byte, error) {
	if s, ok := m.files[name]; ok {
		return []byte(s), nil
	}
	return nil, os.ErrNotExist
}

func (m fakeMachine) Hostname() (string, error) { return "pod-1", nil }

func (m fakeMachine) Name(_ context.Context, _ string, reverse bool) (string, error) {
	if s, ok := m.names[reverse]; ok {
		return s, nil
	}
	return "", errors.New("no such host")
}

func (m fakeMachine) Identity(context.Context) (imds.InstanceIdentityDocument, error) {
	if m.noMetadata {
		return imds.InstanceIdentityDocument{}, errors.New("no answer")
	}
	return m.identity, nil
}

func (m fakeMachine) Metadata(_ context.Context, path string) (string, error) {
	if s, ok := m.metadata[path]; ok {
		return s, nil
	}
	return "", errors.New("not found")
}

func ec2Machine() fakeMachine {
	return fakeMachine{
		env: map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "team=shop, note=a%20b,host.name=from-env", "KUBERNETES_SERVICE_HOST": "10.0.0.1"},
		identity: imds.InstanceIdentityDocument{Region: "eu-west-1", AccountID: "123456789012", AvailabilityZone: "eu-west-1a", InstanceID: "i-1",
			ImageID: "ami-1", InstanceType: "m7g.large"},
		metadata: map[string]string{"hostname": "ip-10-0-0-1", "tags/instance": "Name\nteam\n", "tags/instance/Name": "node", "tags/instance/team": "x"},
		files: map[string]string{
			"/etc/hosts": "127.0.0.1 localhost\n10.0.0.2 pod-1.web.shop.svc pod-1 # ours\n", "/etc/machine-id": "abc\n",
			"/var/run/secrets/kubernetes.io/serviceaccount/token": "h." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://oidc.eks.eu-west-1.amazonaws.com/id/1"}`)) + ".s",
		},
	}
}

// detected returns the attributes that a detection gives a resource that has the
// host name of its own.
func detected(t *testing.T, m fakeMachine, text string) (map[string]string, *loader) {
	l := &loader{config: &Config{}}
	p := l.resourceDetection(parseProcessor(t, text), m)
	way := rewrite.Pipeline{
		Processors: []rewrite.Program{{rewrite.Attributes{Resource: true, Actions: []rewrite.Action{{Kind: rewrite.Insert, Key: "host.name", Value: "own"}}}}, p},
		Export:     rewrite.Export{Convert: rewrite.NewConversion([]string{"*"}, nil)},
	}
	b := labels.NewBuilder(labels.FromStrings("__name__", "x"))
	require.True(t, way.Series().Apply(b, model.Family{}))
	out := b.Labels().Map()
	delete(out, "__name__")
	return out, l
}

func TestResourceDetection(t *testing.T) {
	ec2 := map[string]string{
		"cloud_provider": "aws", "cloud_platform": "aws_ec2", "cloud_region": "eu-west-1", "cloud_account_id": "123456789012",
		"cloud_availability_zone": "eu-west-1a", "host_id": "i-1", "host_image_id": "ami-1", "host_type": "m7g.large", "host_name": "ip-10-0-0-1",
	}
	for text, want := range map[string]map[string]string{
		"resourcedetection: {detectors: [env]}":                                                           {"team": "shop", "note": "a b", "host_name": "from-env"},
		"resourcedetection: {detectors: [env], override: false}":                                          {"team": "shop", "note": "a b", "host_name": "own"},
		"resourcedetection: {detectors: [env], env: {attributes: {included: ['*e*'], excluded: [team]}}}": {"note": "a b", "host_name": "from-env"},
		"resourcedetection: {detectors: [ec2]}":                                                           ec2,
		"resourcedetection: {detectors: [eks]}":                                                           {"cloud_provider": "aws", "cloud_platform": "aws_eks", "host_name": "own"},
		"resourcedetection: {detectors: [eks], eks: {resource_attributes: {host.type: {enabled: true}, cloud.provider: {enabled: false}}}}": {"cloud_platform": "aws_eks", "host_type": "m7g.large", "host_name": "own"},
		"resourcedetection: {detectors: [env, eks, ec2], ec2: {tags: ['^N'], tags_from_imds: true, resource_attributes: {host.id: {enabled: false}, cloud.account.id: {enabled: false}, cloud.availability_zone: {enabled: false}, host.image.id: {enabled: false}}}}": {
			"team": "shop", "note": "a b", "host_name": "from-env", "cloud_provider": "aws", "cloud_platform": "aws_eks", "cloud_region": "eu-west-1", "host_type": "m7g.large", "ec2_tag_Name": "node",
		},
	} {
		got, l := detected(t, ec2Machine(), text)
		require.NoError(t, l.err(), text)
		require.Empty(t, l.config.Warnings, text)
		require.Equal(t, want, got, text)
	}
}

func TestSystemDetector(t *testing.T) {
	m := ec2Machine()
	name := func(sources string) string {
		got, _ := detected(t, m, "resourcedetection: {detectors: [system], system: {hostname_sources: "+sources+"}}")
		require.NotEmpty(t, got["os_type"])
		return got["host_name"]
	}
	require.Equal(t, "pod-1.web.shop.svc", name("[]"))
	require.Equal(t, "pod-1", name("[os]"))
	delete(m.files, "/etc/hosts")
	require.Equal(t, "pod-1", name("[dns, os]"))
	m.names = map[bool]string{true: "by.address", false: "by.cname"}
	require.Equal(t, "by.address", name("[dns]"))
	require.Equal(t, "by.address", name("[lookup]"))
	require.Equal(t, "by.cname", name("[cname]"))
	got, _ := detected(t, m, "resourcedetection: {detectors: [system], system: {resource_attributes: {host.name: {enabled: false}, host.id: {enabled: true}, host.arch: {enabled: true}}}}")
	require.Equal(t, "abc", got["host_id"])
	require.NotEmpty(t, got["host_arch"])
	require.Equal(t, "own", got["host_name"])
}

// A machine without the service starts all the same, unless told otherwise.
func TestDetectionFails(t *testing.T) {
	m := ec2Machine()
	m.noMetadata = true
	got, l := detected(t, m, "resourcedetection: {detectors: [ec2, env]}")
	require.NoError(t, l.err())
	require.Equal(t, "shop", got["team"])
	require.Len(t, l.config.Warnings, 1)
	require.Contains(t, l.config.Warnings[0].Text, `the detector "ec2" found nothing: the instance metadata service does not answer: no answer`)
	_, l = detected(t, m, "resourcedetection: {detectors: [ec2], fail_on_missing_metadata: true}")
	require.ErrorContains(t, l.err(), "fail_on_missing_metadata is set")
	m.env["OTEL_RESOURCE_ATTRIBUTES"] = "no pair"
	_, l = detected(t, m, "resourcedetection: {detectors: [env]}")
	require.Contains(t, l.config.Warnings[0].Text, "not a list of key=value")
	require.NotContains(t, l.config.Warnings[0].Text, "no pair")
}

func TestIssuer(t *testing.T) {
	for _, token := range []string{"", "a.b", "a.!.c", "a." + base64.RawURLEncoding.EncodeToString([]byte("[]")) + ".c"} {
		require.Empty(t, issuer(token))
	}
	m := ec2Machine()
	for _, c := range []struct {
		name, value string
		eks         bool
	}{{"", "", false}, {"AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token", true}, {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token", true}} {
		m.files = nil
		m.env = map[string]string{"KUBERNETES_SERVICE_HOST": "x", c.name: c.value}
		require.Equal(t, c.eks, detection{surroundings: m}.onEKS(), c.name)
	}
}

// The real client asks the address that the environment names, with a token.
func TestMetadataClient(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			w.Write([]byte("t"))
		case "/latest/dynamic/instance-identity/document":
			require.Equal(t, "t", r.Header.Get("X-Aws-Ec2-Metadata-Token"))
			w.Write([]byte(`{"region":"eu-west-1","instanceId":"i-1"}`))
		case "/latest/meta-data/hostname":
			w.Write([]byte("ip-10-0-0-1\n"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	env := map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.URL}
	s := newSurroundings(Options{Getenv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }, ReadFile: os.ReadFile})
	got, err := detection{surroundings: s}.instance(t.Context(), "aws_ec2")
	require.NoError(t, err)
	require.Equal(t, "i-1", got["host.id"])
	require.Equal(t, "ip-10-0-0-1", got["host.name"])
	_, err = s.Metadata(t.Context(), "tags/instance")
	require.Error(t, err)

	env["AWS_EC2_METADATA_DISABLED"] = "true"
	s = newSurroundings(Options{Getenv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	_, err = detection{surroundings: s}.instance(t.Context(), "aws_ec2")
	require.ErrorContains(t, err, "does not answer")
}

func TestPodAttributes(t *testing.T) {
	l, p := compileProcessor(t, `k8sattributes:
  auth_type: serviceAccount
  pod_association:
    - sources: [{from: resource_attribute, name: k8s.pod.uid}]
    - sources: [{from: connection}]
  extract:
    metadata: [k8s.deployment.name]
    labels: [{tag_name: app, key: app.kubernetes.io/name, from: pod}, {key: tier}]
    annotations: [{key: team}]
`)
	require.NoError(t, l.err())
	way := rewrite.Pipeline{Processors: []rewrite.Program{p}, Export: rewrite.Export{Convert: rewrite.NewConversion([]string{"app", "k8s.pod.*", "k8s.deployment.*"}, nil)}}
	program := way.Series()
	require.Subset(t, program.Discovered(), []string{"__meta_kubernetes_pod_label_app_kubernetes_io_name", "__meta_kubernetes_pod_controller_name"})
	b := labels.NewBuilder(labels.FromStrings("__name__", "x", "__meta_kubernetes_pod_label_app_kubernetes_io_name", "web", "__meta_kubernetes_pod_label_tier", "front",
		"__meta_kubernetes_pod_annotation_team", "shop", "__meta_kubernetes_pod_controller_kind", "ReplicaSet", "__meta_kubernetes_pod_controller_name", "web-5d4f"))
	require.True(t, program.Apply(b, model.Family{}))
	require.Equal(t, `{__name__="x", app="web", k8s_deployment_name="web", k8s_pod_annotation_team="shop", k8s_pod_label_tier="front"}`, b.Labels().String())
}
