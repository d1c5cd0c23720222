package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const testedRules = `groups:
- name: recording
  interval: 1m
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
- name: alerts
  rules:
  - alert: InstanceDown
    expr: up == 0
    for: 5m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.instance }} is down in {{ $externalLabels.region }}"}
`

const unitTests = `rule_files: [rules.yaml]
evaluation_interval: 1m
group_eval_order: [recording, alerts]
tests:
- name: down
  interval: 1m
  external_labels: {region: seoul}
  input_series:
  - {series: 'up{job="node", instance="a"}', values: '1 1 0x20'}
  - {series: 'up{job="node", instance="b"}', values: '1+0x22'}
  - {series: 'h', values: '{{schema:0 sum:3 count:2 buckets:[1 1]}}x3'}
  alert_rule_test:
  - {eval_time: 6m, alertname: InstanceDown}
  - eval_time: 7m30s
    alertname: InstanceDown
    exp_alerts:
    - exp_labels: {severity: page, instance: a, job: node}
      exp_annotations: {summary: a is down in seoul}
  promql_expr_test:
  - expr: job:up:sum
    eval_time: 4m
    exp_samples: [{labels: 'job:up:sum{job="node"}', value: 1}]
  - {expr: count(ALERTS), eval_time: 10m, exp_samples: [{labels: '{}', value: 1}]}
  - {expr: h, eval_time: 1m, exp_samples: [{labels: h, histogram: '{{schema:0 sum:3 count:2 buckets:[1 1]}}'}]}
  - {expr: none, eval_time: 4m}
`

func write(t *testing.T, tests string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), []byte(testedRules), 0o600))
	file := filepath.Join(dir, "tests.yaml")
	require.NoError(t, os.WriteFile(file, []byte(tests), 0o600))
	return file
}

func TestUnitTestsOfRules(t *testing.T) {
	out, err := Test(t.Context(), write(t, unitTests), nil)
	require.NoError(t, err)
	require.Equal(t, &TestResult{Tests: 1}, out)
	out, err = Test(t.Context(), write(t, unitTests), []string{"^other$"})
	require.NoError(t, err)
	require.Zero(t, out.Tests)
}

func TestUnitTestsThatFail(t *testing.T) {
	for from, want := range map[string]string{
		"severity: page, instance":           "alertname: InstanceDown, time: 7m30s",
		"is down in seoul":                   "alertname: InstanceDown, time: 7m30s",
		`'job:up:sum{job="node"}', value: 1`: `expr: "job:up:sum", time: 4m`,
		"{eval_time: 6m, ":                   "alertname: InstanceDown, time: 8m",
		"labels: '{}', value: 1":             `expr: "count(ALERTS)", time: 10m`,
		"histogram: '{{schema:0 sum:3":       `expr: "h", time: 1m`,
		"{expr: none, ":                      `expr: "up", time: 4m`,
	} {
		to := map[string]string{"severity: page, instance": "severity: mail, instance", "is down in seoul": "is down in busan",
			`'job:up:sum{job="node"}', value: 1`: `'job:up:sum{job="node"}', value: 2`, "{eval_time: 6m, ": "{eval_time: 8m, ",
			"labels: '{}', value: 1": "labels: '{}', value: 7", "histogram: '{{schema:0 sum:3": "histogram: '{{schema:0 sum:4", "{expr: none, ": "{expr: up, "}[from]
		require.Contains(t, unitTests, from)
		out, err := Test(t.Context(), write(t, strings.Replace(unitTests, from, to, 1)), nil)
		require.NoError(t, err)
		require.Len(t, out.Failures, 1, from)
		require.Contains(t, out.Failures[0], want)
		require.True(t, strings.HasPrefix(out.Failures[0], "down: "))
	}
}

func TestUnitTestsThatCannotRun(t *testing.T) {
	for text, want := range map[string]string{
		"rule_files: [none.yaml]\n": "no file is",
		"rule_fils: []\n":           "rule_fils",
		"tests: [{input_series: [{series: '{', values: '1'}]}]\n": "input_series {",
		"tests: [{start_timestamp: yesterday}]\n":                 "start_timestamp",
	} {
		_, err := Test(t.Context(), write(t, text), nil)
		require.ErrorContains(t, err, want)
	}
}
