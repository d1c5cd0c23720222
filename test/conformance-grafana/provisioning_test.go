package conformance

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/grafana/grafana-openapi-client-go/client/provisioning"
	"github.com/grafana/grafana-openapi-client-go/models"
	"github.com/stretchr/testify/require"
)

// connect makes a workspace of metrics and the data source that queries it.
func (in *installation) connect(t *testing.T, bin, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "credentials"))
	require.NoError(t, err)
	value := func(name string) string {
		m := regexp.MustCompile(name + ` = (\S+)`).FindSubmatch(text)
		require.NotNil(t, m, name)
		return string(m[1])
	}
	id, secret := value("aws_access_key_id"), value("aws_secret_access_key")
	out := run(t, []string{"AWS_ACCESS_KEY_ID=" + id, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_REGION=us-east-1"}, bin, "workspace", "create", "alerts", "--endpoint", in.url)
	workspace, _, _ := strings.Cut(out, "\n")
	added, err := in.client.Datasources.AddDataSource(&models.AddDataSourceCommand{
		Name: "amp", Type: "prometheus", Access: "proxy", URL: in.url + "/workspaces/" + workspace, IsDefault: true,
		JSONData:       map[string]any{"httpMethod": "POST", "sigV4Auth": true, "sigV4AuthType": "keys", "sigV4Region": "us-east-1"},
		SecureJSONData: map[string]string{"sigV4AccessKey": id, "sigV4SecretKey": secret},
	})
	valid(t, added, err)
	in.source = added.Payload.Datasource.UID
	health, err := in.client.Datasources.CheckDatasourceHealthWithUID(in.source)
	valid(t, health, err)
}

// get asks below the data source, as a page does.
func (in *installation) get(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.ui+path, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+in.token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(text)
}

const ruleText = `{"orgID":1,"folderUID":"alerts","ruleGroup":"one","title":"Down","condition":"C","for":"5m","noDataState":"NoData","execErrState":"Error",
 "labels":{"severity":"critical"},"annotations":{"summary":"{{ $labels.job }} is down: {{ $values.B.Value }}"},
 "data":[
  {"refId":"A","datasourceUid":"SOURCE","relativeTimeRange":{"from":600,"to":0},"model":{"refId":"A","expr":"up","instant":true}},
  {"refId":"B","datasourceUid":"__expr__","relativeTimeRange":{"from":0,"to":0},"model":{"refId":"B","type":"reduce","expression":"A","reducer":"last"}},
  {"refId":"C","datasourceUid":"__expr__","relativeTimeRange":{"from":0,"to":0},"model":{"refId":"C","type":"threshold","expression":"B","conditions":[{"evaluator":{"type":"lt","params":[1]}}]}}]}`

func (in *installation) rule(t *testing.T, title string) *models.ProvisionedAlertRule {
	t.Helper()
	r := &models.ProvisionedAlertRule{}
	require.NoError(t, json.Unmarshal([]byte(strings.ReplaceAll(ruleText, "SOURCE", in.source)), r))
	r.Title = &title
	return r
}

// TestAlertRules walks what Terraform's rule groups do, and looks at what the
// workspace then evaluates.
func TestAlertRules(t *testing.T) {
	in := start(t)
	api := in.client.Provisioning
	folder, err := in.client.Folders.CreateFolder(&models.CreateFolderCommand{UID: "alerts", Title: "Alerts"})
	valid(t, folder, err)
	made, err := api.PostAlertRule(provisioning.NewPostAlertRuleParams().WithBody(in.rule(t, "Down")))
	uid := valid(t, made, err).Payload.UID
	require.Equal(t, models.Provenance("api"), made.Payload.Provenance)
	one, err := api.GetAlertRule(uid)
	require.Equal(t, "Down", *valid(t, one, err).Payload.Title)
	require.Len(t, one.Payload.Data, 3)

	rules := in.get(t, "/api/prometheus/"+in.source+"/api/v1/rules")
	require.Contains(t, rules, `"name":"Down"`)
	require.Contains(t, rules, `"name":"DatasourceNoData"`)
	require.Contains(t, rules, `"grafana_folder":"Alerts"`)

	group, err := api.GetAlertRuleGroup("one", "alerts")
	require.EqualValues(t, 60, valid(t, group, err).Payload.Interval)
	second := in.rule(t, "Also down")
	second.NoDataState = ptr("OK")
	put, err := api.PutAlertRuleGroup(provisioning.NewPutAlertRuleGroupParams().WithFolderUID("alerts").WithGroup("one").WithXDisableProvenance(ptr("true")).
		WithBody(&models.AlertRuleGroup{Interval: 30, Title: "one", FolderUID: "alerts", Rules: []*models.ProvisionedAlertRule{second, group.Payload.Rules[0]}}))
	valid(t, put, err)
	require.Equal(t, "Also down", *put.Payload.Rules[0].Title, "in the order that was sent")
	require.Equal(t, models.Provenance(""), put.Payload.Rules[0].Provenance)
	require.Equal(t, uid, put.Payload.Rules[1].UID)
	require.Contains(t, in.get(t, "/api/prometheus/"+in.source+"/api/v1/rules"), `"interval":30`)

	bad := in.rule(t, "Bad")
	bad.Data[0].Model = map[string]any{"expr": "up{"}
	_, err = api.PostAlertRule(provisioning.NewPostAlertRuleParams().WithBody(bad))
	var refused *provisioning.PostAlertRuleBadRequest
	require.ErrorAs(t, err, &refused, "the workspace does not take what it cannot read")
	all, err := api.GetAlertRules()
	require.Len(t, valid(t, all, err).Payload, 2, "what was refused is not kept")

	changed := *one.Payload
	changed.Title, changed.IsPaused = ptr("Renamed"), true
	now, err := api.PutAlertRule(provisioning.NewPutAlertRuleParams().WithUID(uid).WithBody(&changed))
	valid(t, now, err)
	require.NotContains(t, in.get(t, "/api/prometheus/"+in.source+"/api/v1/rules"), "Renamed", "a paused rule is not evaluated")
	file, err := api.GetAlertRulesExport(provisioning.NewGetAlertRulesExportParams().WithFormat(ptr("json")))
	valid(t, file, err)

	_, err = api.DeleteAlertRuleGroup("one", "alerts")
	require.NoError(t, err)
	require.NotContains(t, in.get(t, "/api/prometheus/"+in.source+"/api/v1/rules"), "down")
	_, err = api.GetAlertRule(uid)
	var missing *provisioning.GetAlertRuleNotFound
	require.ErrorAs(t, err, &missing)
	_, err = api.DeleteAlertRule(provisioning.NewDeleteAlertRuleParams().WithUID(uid))
	require.NoError(t, err, "what is gone may be deleted again")
}

// TestNotifications walks contact points, policies, mute timings and templates,
// and looks at what the alert manager has then.
func TestNotifications(t *testing.T) {
	in := start(t)
	api := in.client.Provisioning
	tree, err := api.GetPolicyTree()
	require.Equal(t, "empty", valid(t, tree, err).Payload.Receiver)
	point := &models.EmbeddedContactPoint{Name: "team", Type: ptr("webhook"), Settings: map[string]any{
		"url": "https://hook.example.com/x", "username": "u", "password": "hidden-password"}}
	made, err := api.PostContactpoints(provisioning.NewPostContactpointsParams().WithBody(point))
	uid := valid(t, made, err).Payload.UID
	list, err := api.GetContactpoints(provisioning.NewGetContactpointsParams().WithName(ptr("team")))
	require.Len(t, valid(t, list, err).Payload, 1)
	require.Equal(t, "[REDACTED]", list.Payload[0].Settings.(map[string]any)["password"])

	_, err = api.PostMuteTiming(provisioning.NewPostMuteTimingParams().WithBody(&models.MuteTimeInterval{Name: "at night", TimeIntervals: []*models.TimeIntervalItem{
		{Times: []*models.TimeIntervalTimeRange{{StartTime: "22:00", EndTime: "23:59"}}, Weekdays: []string{"monday:friday"}, Location: "Asia/Seoul"}}}))
	require.NoError(t, err)
	timing, err := api.GetMuteTiming("at night")
	require.Equal(t, "22:00", valid(t, timing, err).Payload.TimeIntervals[0].Times[0].StartTime)
	_, err = api.PutTemplate(provisioning.NewPutTemplateParams().WithName("mine").WithBody(&models.NotificationTemplateContent{Template: `{{ define "mine" }}{{ .Status }}{{ end }}`}))
	require.NoError(t, err)
	tmpl, err := api.GetTemplate("mine")
	require.Contains(t, valid(t, tmpl, err).Payload.Template, "define")

	_, err = api.PutPolicyTree(provisioning.NewPutPolicyTreeParams().WithBody(&models.Route{Receiver: "team", GroupBy: []string{"alertname"}, Routes: []*models.Route{
		{Receiver: "team", ObjectMatchers: models.ObjectMatchers{{"severity", "=", "critical"}}, MuteTimeIntervals: []string{"at night"}, RepeatInterval: "1h"}}}))
	require.NoError(t, err)
	tree, err = api.GetPolicyTree()
	require.Equal(t, "team", valid(t, tree, err).Payload.Receiver)
	status := in.get(t, "/api/alertmanager/"+in.source+"/api/v2/status")
	for _, want := range []string{"at night", "severity=", "username: u", "repeat_interval: 1h"} {
		require.Contains(t, status, want)
	}
	require.NotContains(t, status, "hidden-password")

	_, err = api.DeleteContactpoints(uid)
	require.ErrorContains(t, err, "409", "it is used by a policy")
	var used *provisioning.DeleteMuteTimingConflict
	_, err = api.DeleteMuteTiming(provisioning.NewDeleteMuteTimingParams().WithName("at night"))
	require.ErrorAs(t, err, &used)
	var bad *provisioning.PutPolicyTreeBadRequest
	_, err = api.PutPolicyTree(provisioning.NewPutPolicyTreeParams().WithBody(&models.Route{Receiver: "nobody knows"}))
	require.ErrorAs(t, err, &bad)

	again := *point
	again.Settings = list.Payload[0].Settings
	again.Name = "team"
	_, err = api.PutContactpoint(provisioning.NewPutContactpointParams().WithUID(uid).WithBody(&again))
	require.NoError(t, err, "a secret that comes back redacted stays what it is")
	file := in.get(t, "/api/v1/provisioning/contact-points/export?decrypt=true")
	require.Contains(t, file, "hidden-password")
	require.NotContains(t, in.get(t, "/api/v1/provisioning/contact-points/export"), "hidden-password")

	_, err = api.ResetPolicyTree()
	require.NoError(t, err)
	_, err = api.DeleteContactpoints(uid)
	require.NoError(t, err)
	_, err = api.DeleteMuteTiming(provisioning.NewDeleteMuteTimingParams().WithName("at night"))
	require.NoError(t, err)
	_, err = api.DeleteTemplate(provisioning.NewDeleteTemplateParams().WithName("mine"))
	require.NoError(t, err)
	status = in.get(t, "/api/alertmanager/"+in.source+"/api/v2/status")
	require.NotContains(t, status, "name: team")
}
