package rewrite

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

func TestConditions(t *testing.T) {
	family := model.Family{Name: "http_seconds", Type: model.TypeHistogram, Unit: "seconds", Help: "Time."}
	series := []string{"__name__", "http_seconds_bucket", "le", "1", "job", "api", "instance", "h:1", "code", "200", "http.path", "/a"}
	for text, want := range map[string]bool{
		`metric.name == "http_seconds"`:                                                     true,
		`metric.name == "http_seconds_bucket"`:                                              false,
		`metric.name != "x" and attributes["code"] == "200"`:                                true,
		`metric.name == "x" or attributes["code"] == "200"`:                                 true,
		`metric.name == "x" or attributes["code"] == "1" and true`:                          false,
		`true or false and false`:                                                           true,
		`(true or false) and false`:                                                         false,
		`not metric.name == "x"`:                                                            true,
		`not (metric.name == "x" or attributes["code"] == "200")`:                           false,
		`attributes["http.path"] == "/a"`:                                                   true,
		`attributes["missing"] == nil`:                                                      true,
		`attributes["missing"] != "x"`:                                                      true,
		`attributes["missing"] < "x"`:                                                       false,
		`attributes["code"] == 200`:                                                         false,
		`attributes["code"] != 200`:                                                         true,
		`"b" > "a" and 1 < 1.5 and -2 >= -2.0 and true != false and 1.5 <= 1.5`:             true,
		`"1" == 1 or true == 1 or 1 == true or 1.0 == "1"`:                                  false,
		`attributes["job"] == "api"`:                                                        false,
		`attributes["le"] == "1"`:                                                           false,
		`resource.attributes["service.name"] == "api"`:                                      true,
		`resource.attributes["service.instance.id"] == "h:1"`:                               true,
		`resource.attributes["server.port"] == "1"`:                                         true,
		`IsMatch(metric.name, "^http_")`:                                                    true,
		`IsMatch(metric.name, "conds$")`:                                                    true,
		`IsMatch(attributes["missing"], ".*")`:                                              false,
		`not IsMatch(attributes["missing"], ".*")`:                                          true,
		`IsMatch(target = metric.name, pattern = "http")`:                                   true,
		`HasPrefix(metric.name, "http") and HasSuffix(metric.name, "seconds")`:              true,
		`HasPrefix(attributes["missing"], "x")`:                                             false,
		`not HasPrefix(attributes["missing"], "x")`:                                         false,
		`IsString(attributes["code"]) and not IsString(attributes["missing"])`:              true,
		`metric.type == METRIC_DATA_TYPE_HISTOGRAM`:                                         true,
		`metric.type == METRIC_DATA_TYPE_SUM`:                                               false,
		`metric.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE`:              true,
		`metric.is_monotonic == nil`:                                                        true,
		`metric.unit == "s"`:                                                                true,
		`metric.description == "Time."`:                                                     true,
		`instrumentation_scope.name == scope.name`:                                          true,
		`Concat([attributes["code"], 5, nil, "x"], "-") == "200-5-<nil>-x"`:                 true,
		`ConvertCase(ToUpperCase("a"), "lower") == ToLowerCase("A")`:                        true,
		`Trim(" a ") == TrimPrefix("xa", "x") and TrimSuffix("ax", "x") == "a"`:             true,
		`String(5) == "5" and String(1.5) == "1.5" and String(true) == "true"`:              true,
		`SHA256("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"`: true,
		`"quo\"ted \\d \u00e9" == "quo\"ted \\d é"`:                                         true,
	} {
		c, err := ParseCondition(text, DataPointContext)
		require.NoError(t, err, text)
		b := labels.NewBuilder(labels.FromStrings(series...))
		require.True(t, enter{}.Apply(b, family))
		require.Equal(t, want, c.holds(newSubject(b, family)), text)
	}
}

func TestStatements(t *testing.T) {
	for text, want := range map[string]string{
		`set(attributes["x"], "v")`:                                                `a="1", b="22", x="v"`,
		`set(attributes["x"], 5) where attributes["a"] == "1"`:                     `a="1", b="22", x="5"`,
		`set(attributes["x"], "v") where attributes["a"] == "2"`:                   `a="1", b="22"`,
		`set(attributes["x"], "v") where HasPrefix(attributes["none"], "")`:        `a="1", b="22"`,
		`set(attributes["x"], ToUpperCase(attributes["none"]))`:                    `a="1", b="22"`,
		`set(attributes["a"], nil)`:                                                `b="22"`,
		`set(attributes["job"], "no effect")`:                                      `a="1", b="22"`,
		`set(metric.name, "y")`:                                                    `a="1", b="22"`,
		`delete_key(attributes, "a")`:                                              `b="22"`,
		`delete_matching_keys(attributes, "^.$")`:                                  ``,
		`keep_keys(attributes, ["a", "c"])`:                                        `a="1"`,
		`keep_matching_keys(attributes, "b")`:                                      `b="22"`,
		`replace_pattern(attributes["b"], "2", "3")`:                               `a="1", b="33"`,
		`replace_pattern(attributes["none"], ".*", "3")`:                           `a="1", b="22"`,
		`replace_pattern(attributes["b"], "^(.)", "$1-")`:                          `a="1", b="2-2"`,
		`replace_all_patterns(attributes, "value", "[12]", "z")`:                   `a="z", b="zz"`,
		`replace_all_patterns(attributes, "key", "^a$", "aa")`:                     `aa="1", b="22"`,
		`truncate_all(attributes, 1)`:                                              `a="1", b="2"`,
		`truncate_all(limit = 1, target = attributes)`:                             `a="1", b="2"`,
		`replace_pattern(metric.name, "^(.*)_seconds$", "$1")`:                     `a="1", b="22"`,
		`set(attributes["x"], Concat([metric.name, attributes["a"]], "."))`:        `a="1", b="22", x="m_seconds.1"`,
		`set(attributes["x"], "v") where not (metric.name == "m_seconds" or true)`: `a="1", b="22"`,
	} {
		s, err := ParseStatement(text, DataPointContext)
		require.NoError(t, err, text)
		b := labels.NewBuilder(labels.FromStrings("__name__", "m_seconds_sum", "a", "1", "b", "22", "job", "j"))
		require.True(t, Transform{Statements: []*Statement{s}}.Apply(b, histogram("m_seconds")))
		name := b.Get("__name__")
		switch {
		case strings.Contains(text, `set(metric.name`):
			require.Equal(t, "y_sum", name)
		case strings.Contains(text, `replace_pattern(metric.name`):
			require.Equal(t, "m_sum", name)
		default:
			require.Equal(t, "m_seconds_sum", name, text)
		}
		require.Equal(t, "j", b.Get("job"))
		b.Del("__name__", "job", familyLabel)
		require.Equal(t, "{"+want+"}", b.Labels().String(), text)
	}
}

func TestTruncateBetweenCharacters(t *testing.T) {
	require.Equal(t, "a", truncate("aé", 2))
	require.Equal(t, "aé", truncate("aéx", 3))
	require.Empty(t, truncate("é", 0))
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		``:                                   "column 1: expected a value, found the end",
		`metric.name`:                        "expected a comparison",
		`metric.name ==`:                     "column 15: expected a value, found the end",
		`metric.name == "x" and`:             "column 23: expected a value, found the end",
		`metric.name == "x`:                  "a string without an end",
		`metric.name == "\d"`:                "a backslash is written twice",
		`metric.name == 'x'`:                 "unexpected character '\\''",
		`(true`:                              `expected ")"`,
		`true)`:                              `unexpected ")"`,
		`not not true`:                       "expected a value",
		`name == "x"`:                        `the field "name" of datapoint is not supported (supported: attributes)`,
		`metric.nam == "x"`:                  `the field "nam" of metric is not supported`,
		`value_double > 5`:                   "differs from sample to sample",
		`datapoint.value_int == 4`:           "differs from sample to sample",
		`attributes["a"]["b"] == "x"`:        "has no parts",
		`attributes[metric.name] == "x"`:     "must be a text in quotes",
		`IsMatch(metric.name)`:               `IsMatch lacks the argument "pattern"`,
		`IsMatch(metric.name, "(")`:          "missing closing )",
		`IsMatch(metric.name, metric.name)`:  "needs a text in quotes",
		`IsMatch(metric.name, "a", "b")`:     "has at most 2 arguments",
		`IsMatch(name = "a", pattern = "b")`: `IsMatch has no argument "name"`,
		`IsMatchh(metric.name, "a")`:         `the function "IsMatchh" is not supported (supported: Concat, `,
		`HasAttrKeyOnDatapoint("k")`:         "use a condition on datapoint.attributes",
		`Concat(["a"], "") == "a" + "b"`:     "arithmetic is not supported",
		`Concat(["a"], "")[0] == "a"`:        "a part of a function's result is not supported",
		`ToUpperCase("a")`:                   "expected a comparison",
		`99999999999999999999 == 1`:          "expected a number",
		strings.Repeat("(", 1000):            "nested too deeply",
		strings.Repeat("Trim(", 1000):        "nested too deeply",
		`"x" == "y" garbage`:                 `unexpected "garbage"`,
	} {
		_, err := ParseCondition(text, DataPointContext)
		require.ErrorContains(t, err, want, text)
	}
	for text, want := range map[string]string{
		`metric.name == "x"`:                              `the editor "metric" is not supported`,
		`Set(attributes["x"], "v")`:                       "expected an editor such as set",
		`sett(attributes["x"], "v")`:                      `the editor "sett" is not supported (supported: delete_key, `,
		`set(attributes["x"])`:                            `set lacks the argument "value"`,
		`set(attributes, "v")`:                            "set needs an attribute or metric.name",
		`set(metric.unit, "v")`:                           "metric.unit cannot be changed here",
		`set("a", "v")`:                                   "set needs an attribute or metric.name",
		`set(attributes["x"], "v") where`:                 "expected a value, found the end",
		`set(attributes["x"], "v") when true`:             `unexpected "when"`,
		`delete_key(attributes["x"], "v")`:                "delete_key needs attributes as its target",
		`delete_key(attributes, attributes["x"])`:         "needs a text in quotes",
		`keep_keys(attributes, "x")`:                      "keep_keys needs a list",
		`truncate_all(attributes, -1)`:                    "must be a whole number",
		`replace_all_patterns(attributes, "x", "y", "z")`: `the mode must be "value" or "key"`,
		`limit(attributes, 5, [])`:                        `the editor "limit" is not supported`,
		`convert_sum_to_gauge()`:                          `the editor "convert_sum_to_gauge" is not supported`,
	} {
		_, err := ParseStatement(text, DataPointContext)
		require.ErrorContains(t, err, want, text)
	}
}

func TestContexts(t *testing.T) {
	for _, c := range []struct {
		context Context
		text    string
		want    string
	}{
		{"", `metric.name == "x" and datapoint.attributes["a"] == "b" and resource.attributes["c"] == "d"`, ""},
		{"", `name == "x"`, "begin the path with its context"},
		{MetricContext, `name == "x" and resource.attributes["c"] == "d"`, ""},
		{MetricContext, `datapoint.attributes["a"] == "b"`, `datapoint is not known in the context "metric"`},
		{MetricContext, `attributes["a"] == "b"`, `the field "attributes" of metric is not supported`},
		{ResourceContext, `attributes["a"] == "b"`, ""},
		{ResourceContext, `metric.name == "b"`, `metric is not known in the context "resource"`},
		{ScopeContext, `name == "b"`, ""},
		{DataPointContext, `metric.name == "b" and attributes["a"] == "b"`, ""},
	} {
		_, err := ParseCondition(c.text, c.context)
		if c.want == "" {
			require.NoError(t, err, c.text)
			continue
		}
		require.ErrorContains(t, err, c.want, c.text)
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		`attributes["code"] == 200`: "never equals 200",
		`true == attributes["x"]`:   "never equals true",
		`attributes["job"] == "x"`:  `"job" is the resource attribute "service.name"`,
		`attributes["a"] == "200"`:  "",
	} {
		c, err := ParseCondition(text, DataPointContext)
		require.NoError(t, err)
		if want == "" {
			require.Empty(t, c.Warnings)
			continue
		}
		require.Len(t, c.Warnings, 1)
		require.Contains(t, c.Warnings[0], want)
	}
	s, err := ParseStatement(`set(resource.attributes["a"], "b") where metric.name == "x"`, DataPointContext)
	require.NoError(t, err)
	require.Contains(t, s.Warnings[0], "seen by the metric alone")
}

// Whatever the text, parsing ends without a panic, and what was compiled can be
// run and gives the same each time.
func FuzzOTTL(f *testing.F) {
	for _, seed := range []string{
		`metric.name == "a" or not (IsMatch(attributes["x"], "^a\\d$") and 1.5e3 < -2)`, `set(attributes["x"], Concat(["a", 1, nil], "-")) where resource.attributes["y"] != nil`,
		`keep_keys(attributes, ["a"])`, `replace_all_patterns(datapoint.attributes, "key", "(.)", "$1$1")`, `truncate_all(attributes, 3)`, `0x00 .5 "\u00e9" => {}`,
	} {
		f.Add(seed, uint8(4))
	}
	family := histogram("m")
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		context := append(Contexts(), "")[int(n)%5]
		series := labels.FromStrings("__name__", "m_bucket", "le", "1", "a", "é", "job", "j")
		once := func() string {
			b := labels.NewBuilder(series)
			enter{}.Apply(b, family)
			if c, err := ParseCondition(text, Context(context)); err == nil {
				c.holds(newSubject(b, family))
			}
			if s, err := ParseStatement(text, Context(context)); err == nil {
				require.True(t, Transform{Statements: []*Statement{s}}.Apply(b, family))
			}
			return b.Labels().String()
		}
		require.Equal(t, once(), once())
	})
}
