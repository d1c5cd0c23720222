package alerting

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

// rule reads a rule whose data is a query A over ten minutes, and the expressions.
func rule(t testing.TB, condition string, expressions ...string) Rule {
	t.Helper()
	data := []string{`{"refId":"A","datasourceUid":"src","relativeTimeRange":{"from":600,"to":0},"model":{"expr":"up{job=\"a\"} # all of them","intervalMs":30000,"maxDataPoints":100}}`}
	for i, e := range expressions {
		data = append(data, fmt.Sprintf(`{"refId":"%c","datasourceUid":"__expr__","model":%s}`, 'B'+i, e))
	}
	text := fmt.Sprintf(`{"title":"T","folderUID":"f","ruleGroup":"g","condition":%q,"for":"5m","noDataState":"OK","execErrState":"OK","data":[%s]}`, condition, strings.Join(data, ","))
	var r Rule
	require.NoError(t, json.Unmarshal([]byte(text), &r), text)
	return r
}

const a = "(\nup{job=\"a\"} # all of them\n)"

func TestConditionsBecomeQueries(t *testing.T) {
	reduce := func(how string) string { return fmt.Sprintf(`{"type":"reduce","expression":"A","reducer":%q}`, how) }
	above := `{"type":"threshold","expression":"B","conditions":[{"evaluator":{"type":"gt","params":[5]}}]}`
	between := func(how string) string {
		return fmt.Sprintf(`{"type":"threshold","expression":"A","conditions":[{"evaluator":{"type":%q,"params":[9,5]}}]}`, how)
	}
	for _, c := range []struct {
		condition   string
		expressions []string
		want        string
	}{
		{"A", nil, "A != 0"},
		{"B", []string{reduce("last")}, "A != 0"},
		{"C", []string{reduce("last"), above}, "A > 5"},
		{"C", []string{reduce("mean"), above}, "avg_over_time((A)[600s:30s]) > 5"},
		{"C", []string{reduce("median"), above}, "quantile_over_time(0.5, (A)[600s:30s]) > 5"},
		{"C", []string{`{"type":"reduce","expression":"A","reducer":"max","settings":{"mode":"dropNN"}}`, above}, "max_over_time(((A >= -Inf))[600s:30s]) > 5"},
		{"B", []string{between("within_range")}, "(A > 5) and (A < 9)"},
		{"B", []string{between("outside_range_included")}, "(A <= 5) or (A >= 9)"},
		{"B", []string{`{"type":"math","expression":"$A * 100 > 80 && ${A} != 1e2"}`}, "(A * 100 > 80 and A != 1e2)"},
		{"C", []string{`{"type":"math","expression":"abs($A) ** 2"}`, above}, "(abs( A ) ^ 2) > 5"},
		{"B", []string{`{"type":"math","expression":"$A - 1"}`}, "(A - 1) != 0"},
		{"B", []string{`{"type":"classic_conditions","conditions":[
			{"evaluator":{"type":"gt","params":[1]},"query":{"params":["A"]},"reducer":{"type":"avg"}},
			{"evaluator":{"type":"lt","params":[0]},"operator":{"type":"or"},"query":{"params":["A"]},"reducer":{"type":"min"}}]}`},
			"(group(avg_over_time((A)[600s:30s]) > 1) or group(min_over_time((A)[600s:30s]) < 0))"},
	} {
		r := rule(t, c.condition, c.expressions...)
		require.NoError(t, r.Check())
		got, err := r.Prometheus("Folder")
		require.NoError(t, err, c.want)
		require.Len(t, got, 1)
		require.Equal(t, strings.ReplaceAll(strings.ReplaceAll(c.want, "A ", a+" "), "A)", a+")"), got[0].Expr)
		_, err = parser.NewParser(parser.Options{}).ParseExpr(got[0].Expr)
		require.NoError(t, err, got[0].Expr)
		require.Equal(t, "Folder", got[0].Labels["grafana_folder"])
	}
}

// TestExpressionsDoNotGrowWithoutEnd doubles a query twenty times.
func TestExpressionsDoNotGrowWithoutEnd(t *testing.T) {
	var list []string
	for i := range 19 {
		list = append(list, fmt.Sprintf(`{"type":"math","expression":"$%[1]c + $%[1]c"}`, 'A'+i))
	}
	r := rule(t, "T", list...)
	require.NoError(t, r.Check())
	_, err := r.Prometheus("F")
	require.ErrorContains(t, err, "more than 65536 bytes")
	many := strings.TrimSuffix(strings.Repeat(`{"evaluator":{"type":"gt","params":[1]},"query":{"params":["A"]},"reducer":{"type":"avg"}},`, 2000), ",")
	r = rule(t, "B", `{"type":"classic_conditions","conditions":[`+many+`]}`)
	_, err = r.Prometheus("F")
	require.ErrorContains(t, err, "conditions: become a query of more than 65536 bytes")
}

func TestWhatHasNoCounterpartIsRefused(t *testing.T) {
	for want, expressions := range map[string][]string{
		`data[1].model.type: found "sql"`:                        {`{"type":"sql","expression":"x"}`},
		`data[1].model.reducer: found "diff"`:                    {`{"type":"reduce","expression":"A","reducer":"diff"}`},
		`data[1].model.settings.mode: found "replaceNN"`:         {`{"type":"reduce","expression":"A","reducer":"last","settings":{"mode":"replaceNN"}}`},
		`uses $A and $C`:                                         {`{"type":"math","expression":"$A / $C"}`, `{"type":"reduce","expression":"A","reducer":"last"}`},
		`allowed are abs, log, ceil, floor and round`:            {`{"type":"math","expression":"is_nan($A)"}`},
		`cannot be read from "!$A" on`:                           {`{"type":"math","expression":"!$A"}`},
		`lead in a circle`:                                       {`{"type":"reduce","expression":"B","reducer":"last"}`},
		`unloadEvaluator`:                                        {`{"type":"threshold","expression":"A","conditions":[{"evaluator":{"type":"gt","params":[5]},"unloadEvaluator":{"type":"lt","params":[1]}}]}`},
		`conditions[0].evaluator.params: found 1 numbers`:        {`{"type":"threshold","expression":"A","conditions":[{"evaluator":{"type":"within_range","params":[5]}}]}`},
		`there is no query or expression "Z"`:                    {`{"type":"reduce","expression":"Z","reducer":"last"}`},
		`compares: allowed in the condition only`:                {`{"type":"threshold","expression":"C","conditions":[{"evaluator":{"type":"gt","params":[5]}}]}`, `{"type":"math","expression":"$A > 1"}`},
		`data[1].model: is no expression`:                        {`[]`},
		`data[1].model.conditions: found 0, allowed is 1`:        {`{"type":"threshold","expression":"A"}`},
		`data[1].model.conditions[0].query.params: names no que`: {`{"type":"classic_conditions","conditions":[{}]}`},
	} {
		r := rule(t, "B", expressions...)
		require.NoError(t, r.Check())
		_, err := r.Prometheus("F")
		require.ErrorContains(t, err, want)
	}
	for want, change := range map[string]func(*Rule){
		"title: is missing":                    func(r *Rule) { r.Title = " " },
		`condition: found "Q"`:                 func(r *Rule) { r.Condition = "Q" },
		`noDataState: found "x"`:               func(r *Rule) { r.NoDataState = "x" },
		`execErrState: found "Alerting"`:       func(r *Rule) { r.ExecErrState = "Alerting" },
		`for: found "soon"`:                    func(r *Rule) { r.For = "soon" },
		"notification_settings: a rule":        func(r *Rule) { r.NotificationSettings = json.RawMessage(`{"receiver":"x"}`) },
		"relativeTimeRange.to: found 60":       func(r *Rule) { r.Data[0].RelativeTimeRange.To = 60 },
		"data: a rule needs a query":           func(r *Rule) { r.Data[0].DatasourceUID = Expressions },
		"data[0].model.expr: is missing":       func(r *Rule) { r.Data[0].Model = json.RawMessage(`{"rawSql":"x"}`) },
		`record.metric: found "a b"`:           func(r *Rule) { r.Record = &Record{Metric: "a b", From: "A"} },
		"annotations.x: $values.Q":             func(r *Rule) { r.Annotations = map[string]string{"x": "{{ $values.Q.Value }}"} },
		"missingSeriesEvalsToResolve: found 3": func(r *Rule) { r.MissingSeries = 3 },
	} {
		r := rule(t, "A")
		change(&r)
		err := r.Check()
		if err == nil {
			_, err = r.Prometheus("F")
		}
		require.ErrorContains(t, err, want)
	}
}

func TestRulesFileIsOneOfPrometheus(t *testing.T) {
	alert := rule(t, "C", `{"type":"reduce","expression":"A","reducer":"last"}`, `{"type":"threshold","expression":"B","conditions":[{"evaluator":{"type":"gt","params":[5]}}]}`)
	alert.NoDataState, alert.KeepFiringFor = "NoData", "1h30m0s"
	alert.Annotations = map[string]string{"summary": `{{ $labels.job }}: {{ $values.B.Value }} of {{ (index $values "A").Value }}, {{ humanize $values.B.Value }}`}
	gone := rule(t, "A")
	gone.Title, gone.NoDataState = "Gone", "Alerting"
	record := rule(t, "")
	record.Title, record.Record = "R", &Record{Metric: "a:b", From: "A"}
	paused := rule(t, "A")
	paused.IsPaused = true
	list := []Rule{alert, gone, record, paused}
	for i := range list {
		require.NoError(t, list[i].Check())
	}
	text, err := RulesFile([]Group{{Name: "g", Interval: time.Minute, Rules: list}, {Name: "asleep", Interval: time.Minute, Rules: []Rule{paused}}}, "F")
	require.NoError(t, err)
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	require.Empty(t, errs, string(text))
	require.Len(t, groups.Groups, 1)
	want, err := os.ReadFile(filepath.Join("testdata", "rules.yaml"))
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(filepath.Join("testdata", "rules.yaml"), text, 0o600))
		return
	}
	require.NoError(t, err)
	require.Equal(t, string(want), string(text))
	none, err := RulesFile([]Group{{Name: "asleep", Interval: time.Minute, Rules: []Rule{paused}}}, "F")
	require.NoError(t, err)
	require.Empty(t, none)
}

// contacts are one of each type.
const contacts = `[
 {"name":"team","type":"email","settings":{"addresses":"a@example.com;b@example.com","subject":"{{ template \"default.title\" . }}","smarthost":"mail:25","from":"m@example.com"}},
 {"name":"team","type":"webhook","settings":{"url":"https://hook.example.com/x","httpMethod":"POST","maxAlerts":"5","authorization_scheme":"Bearer","authorization_credentials":"secret"}},
 {"name":"chat","type":"slack","settings":{"recipient":"#ops","token":"xoxb-1","title":"{{ template \"mine\" . }}"},"disableResolveMessage":true},
 {"name":"chat","type":"slack","settings":{"url":"https://hooks.slack.com/services/x"}},
 {"name":"pager","type":"pagerduty","settings":{"integrationKey":"0123","severity":"critical","details":{"a":"b"}}},
 {"name":"og","type":"opsgenie","settings":{"apiKey":"k","apiUrl":"https://api.opsgenie.com/v2/alerts"}},
 {"name":"tg","type":"telegram","settings":{"bottoken":"t","chatid":"-100"}},
 {"name":"dc","type":"discord","settings":{"url":"https://discord.com/api/webhooks/1/x"}},
 {"name":"ms","type":"teams","settings":{"url":"https://x.webhook.office.com/1"}},
 {"name":"po","type":"pushover","settings":{"apiToken":"t","userKey":"u"}},
 {"name":"topic","type":"sns","settings":{"topic_arn":"arn:aws:sns:us-east-1:1:t","sigv4":{"region":"us-east-1","access_key":"a","secret_key":"s"}}}
]`

func TestDefinitionIsOneOfAlertmanager(t *testing.T) {
	n := &Notifications{}
	require.NoError(t, json.Unmarshal([]byte(contacts), &n.Contacts))
	for i := range n.Contacts {
		require.NoError(t, n.Contacts[i].Check(), n.Contacts[i].Type)
	}
	require.NoError(t, json.Unmarshal([]byte(`[{"name":"night's rest","time_intervals":[{"times":[{"start_time":"22:00","end_time":"23:59"}],"weekdays":["monday:friday"],"location":"Asia/Seoul"}]}]`), &n.Timings))
	require.NoError(t, json.Unmarshal([]byte(`{"receiver":"team","group_by":["alertname"],"group_wait":"30s","routes":[
		{"receiver":"pager","object_matchers":[["severity","=","critical \"x\""],["a.b","=~","x|y"]],"continue":true,"mute_time_intervals":["night's rest"],"routes":[{"receiver":"chat","match":{"a":"b"}}]},
		{"receiver":"topic","matchers":["team=\"db\""],"repeat_interval":"1d"}]}`), &n.Policies))
	tmpl := Template{Name: "mine", Template: "{{ .Status }}"}
	require.NoError(t, tmpl.Check())
	n.Templates = []Template{tmpl}
	text, err := n.Definition("g-1")
	require.NoError(t, err)
	owner, ours := Owner(text)
	require.True(t, ours)
	require.Equal(t, "g-1", owner)
	var file struct {
		Config    string            `yaml:"alertmanager_config"`
		Templates map[string]string `yaml:"template_files"`
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	require.Contains(t, file.Templates["mine"], `{{ define "mine" }}`)
	compat.InitFromFlags(slog.New(slog.DiscardHandler), featurecontrol.NoopFlags{}) // as the server does
	cfg, err := config.Load(file.Config)
	require.NoError(t, err, file.Config)
	require.Len(t, cfg.Receivers, 10, "with the one that is told nothing")
	require.Equal(t, "team", cfg.Route.Receiver)
	require.Equal(t, `severity="critical \"x\""`, cfg.Route.Routes[0].Matchers[1].String(), "sorted by name")
	require.Len(t, cfg.Receivers[2].SlackConfigs, 2)

	_, err = (&Notifications{}).Definition("g-1")
	require.NoError(t, err, "nothing at all is told to nobody")
}

func TestContactsAreChecked(t *testing.T) {
	for want, text := range map[string]string{
		`type: found "kafka", allowed are discord`:          `{"name":"x","type":"kafka"}`,
		"settings.url: is missing":                          `{"name":"x","type":"webhook","settings":{}}`,
		"settings.url: allowed are addresses":               `{"name":"x","type":"webhook","settings":{"url":"file:///etc/passwd"}}`,
		"settings.httpMethod: found PUT, allowed is POST":   `{"name":"x","type":"webhook","settings":{"url":"http://x","httpMethod":"PUT"}}`,
		"settings.tlsConfig: is not known for webhook here": `{"name":"x","type":"webhook","settings":{"url":"http://x","tlsConfig":{"insecureSkipVerify":true}}}`,
		`settings.addresses: found "nobody"`:                `{"name":"x","type":"email","settings":{"addresses":"nobody"}}`,
		`settings.chatid: found "x"`:                        `{"name":"x","type":"telegram","settings":{"bottoken":"t","chatid":"x"}}`,
		`name: "empty" is the contact point`:                `{"name":"empty","type":"webhook","settings":{"url":"http://x"}}`,
		"name: is missing":                                  `{"type":"webhook","settings":{"url":"http://x"}}`,
		"settings.topic_arn: is missing":                    `{"name":"x","type":"sns","settings":{}}`,
	} {
		var c Contact
		require.NoError(t, json.Unmarshal([]byte(text), &c))
		require.ErrorContains(t, c.Check(), want)
	}
	for want, text := range map[string]string{
		"receiver: the first policy needs":             `{}`,
		`there is no contact point "x"`:                `{"receiver":"x"}`,
		"object_matchers: the first policy is for all": `{"receiver":"empty","object_matchers":[["a","=","b"]]}`,
		`routes[0].object_matchers[0]: found "=="`:     `{"receiver":"empty","routes":[{"object_matchers":[["a","==","b"]]}]}`,
		`routes[0].mute_time_intervals: there is no`:   `{"receiver":"empty","routes":[{"mute_time_intervals":["x"]}]}`,
		`group_wait: found "soon"`:                     `{"receiver":"empty","group_wait":"soon"}`,
		`routes[0]: is empty`:                          `{"receiver":"empty","routes":[null]}`,
	} {
		n := &Notifications{}
		require.NoError(t, json.Unmarshal([]byte(text), &n.Policies))
		_, err := n.Definition("w")
		require.ErrorContains(t, err, want)
	}
}

func TestSecretsOfContacts(t *testing.T) {
	var list []Contact
	require.NoError(t, json.Unmarshal([]byte(contacts), &list))
	found := map[string]bool{}
	for _, c := range list {
		require.NoError(t, c.EachSecret(func(name, _ string) (string, error) { found[c.Type+" "+name] = true; return Redacted, nil }))
	}
	text, err := json.Marshal(list)
	require.NoError(t, err)
	require.Len(t, found, 12)
	for _, secret := range []string{`"secret"`, "xoxb-1", "services/x", `"0123"`, "webhooks/1/x", `"secret_key":"s"`} {
		require.NotContains(t, string(text), secret)
	}
}

// FuzzRule translates whatever is sent: it may be refused, and what is written
// is YAML of rules.
func FuzzRule(f *testing.F) {
	for _, e := range []string{`{"type":"math","expression":"$A > 1"}`, `{"type":"reduce","expression":"A","reducer":"mean"}`} {
		text, err := json.Marshal(rule(f, "B", e))
		require.NoError(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Rule
		if json.Unmarshal(text, &r) != nil || r.Check() != nil {
			return
		}
		file, err := RulesFile([]Group{{Name: "g", Interval: time.Minute, Rules: []Rule{r}}}, "F")
		if err != nil || file == nil {
			return
		}
		var out struct{ Groups []struct{ Rules []PromRule } }
		if err := yaml.Unmarshal(file, &out); err != nil || len(out.Groups) != 1 || len(out.Groups[0].Rules) == 0 {
			t.Fatalf("%v\n%s", err, file)
		}
	})
}

// FuzzNotifications does so for contact points and policies.
func FuzzNotifications(f *testing.F) {
	f.Add([]byte(`{"contacts":` + contacts + `,"policies":{"receiver":"team"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var n Notifications
		if json.Unmarshal(text, &n) != nil {
			return
		}
		out, err := n.Definition("w")
		if err != nil {
			return
		}
		var file map[string]any
		if err := yaml.Unmarshal(out, &file); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
}
