package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/amp"
	"github.com/aws/aws-sdk-go-v2/service/amp/types"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/server/api"
	"github.com/mangru/mangru/internal/server/workspace"
)

// notServed are the operations of the SDK that there are not here, and why.
var notServed = map[string]string{
	"CreateAnomalyDetector":   "anomaly detection is not built",
	"DescribeAnomalyDetector": "anomaly detection is not built",
	"ListAnomalyDetectors":    "anomaly detection is not built",
	"PutAnomalyDetector":      "anomaly detection is not built",
	"DeleteAnomalyDetector":   "anomaly detection is not built",
}

// fixtures is the folder of the SDK's recorded requests and answers.
func fixtures(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/amp").Output()
	if err != nil {
		t.Skipf("the SDK's fixtures cannot be found: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), name)
}

// judge compares answers with the SDK's.
type judge struct {
	*server
	t    *testing.T
	dir  string
	seen map[string]bool
}

// optional are the members that an answer may lack.
var optional = []string{"statusReason", "nextToken", "alias", "kmsKeyArn", "exporters", "roleConfiguration", "securityGroupIds", "config", "fieldList"}

// shape fails unless the last answer has the members of the SDK's, in the same
// order and of the same types.
func (j *judge) shape(name string) {
	j.t.Helper()
	operation, _, _ := strings.Cut(name, ".")
	j.seen[operation] = true
	raw, err := os.ReadFile(filepath.Join(j.dir, name+".snap"))
	require.NoError(j.t, err)
	_, want, _ := bytes.Cut(raw, []byte("\n\n"))
	want = bytes.TrimSpace(want)
	got := j.last
	if operation == "TagResource" || operation == "UntagResource" {
		require.Contains(j.t, []string{"", "{}"}, string(got.body), "an empty structure")
		return
	}
	if len(want) == 0 {
		require.Empty(j.t, string(got.body), name)
		return
	}
	require.Equal(j.t, "application/json", got.header.Get("Content-Type"), name)
	require.NotEmpty(j.t, got.body, name)
	w, g := decode(j.t, want), decode(j.t, got.body)
	sorted, err := json.Marshal(g)
	require.NoError(j.t, err)
	require.Equal(j.t, string(sorted), string(got.body), "%s: members in the order of their names", name)
	for _, problem := range differences(name, w, g) {
		j.t.Errorf("%s\n  want %s\n  got  %s", problem, want, got.body)
	}
}

func decode(t *testing.T, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	require.NoError(t, d.Decode(&v), string(b))
	return v
}

func differences(at string, want, got any) (out []string) {
	if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
		return []string{fmt.Sprintf("%s: is a %T, must be a %T", at, got, want)}
	}
	switch want := want.(type) {
	case map[string]any:
		got := got.(map[string]any)
		if _, isMap := want["key0"]; isMap {
			for k, v := range got {
				out = append(out, differences(at+"."+k, want["key0"], v)...)
			}
			return out
		}
		for k, v := range got {
			if want[k] == nil {
				out = append(out, at+"."+k+": is not among the members")
				continue
			}
			out = append(out, differences(at+"."+k, want[k], v)...)
		}
		for k := range want {
			if got[k] == nil && !slices.Contains(optional, k) {
				out = append(out, at+"."+k+": is missing")
			}
		}
	case []any:
		for i, v := range got.([]any) {
			out = append(out, differences(fmt.Sprintf("%s[%d]", at, i), want[0], v)...)
		}
	}
	return out
}

func newJudge(t *testing.T, change func(*workspace.Config, *api.APSConfig)) *judge {
	return &judge{server: start(t, change), t: t, dir: fixtures(t, "response_snapshot"), seen: map[string]bool{}}
}

// TestSDK walks every operation with the real client.
func TestSDK(t *testing.T) {
	j := newJudge(t, nil)
	id := j.walkWorkspace()
	j.walkConfiguration(id)
	j.walkLogging(id)
	j.walkRules(id)
	j.walkAlerts(id)
	j.walkScrapers(id)
	_, err := j.client.DeleteWorkspace(t.Context(), &amp.DeleteWorkspaceInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DeleteWorkspace.response")
	require.NoError(t, amp.NewWorkspaceDeletedWaiter(j.client).Wait(t.Context(), &amp.DescribeWorkspaceInput{WorkspaceId: &id}, 30*time.Second))
	for _, op := range operations(t, j.dir) {
		if notServed[op] == "" {
			require.True(t, j.seen[op], "%s was not walked", op)
		}
	}
}

// operations lists what the SDK has.
func operations(t *testing.T, dir string) (out []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.response.snap"))
	require.NoError(t, err)
	for _, f := range files {
		out = append(out, strings.TrimSuffix(filepath.Base(f), ".response.snap"))
	}
	require.Greater(t, len(out), 40)
	return out
}

func (j *judge) walkWorkspace() string {
	t, ctx, c := j.t, j.t.Context(), j.client
	key := "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	made, err := c.CreateWorkspace(ctx, &amp.CreateWorkspaceInput{Alias: aws.String(" eks "), Tags: map[string]string{"a": "b"}, KmsKeyArn: &key})
	require.NoError(t, err)
	j.shape("CreateWorkspace.response")
	id := *made.WorkspaceId
	require.Equal(t, types.WorkspaceStatusCodeCreating, made.Status.StatusCode)
	require.NoError(t, amp.NewWorkspaceActiveWaiter(c).Wait(ctx, &amp.DescribeWorkspaceInput{WorkspaceId: &id}, 30*time.Second))
	one, err := c.DescribeWorkspace(ctx, &amp.DescribeWorkspaceInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DescribeWorkspace.response")
	require.Equal(t, []string{"eks", key, j.url + "/workspaces/" + id + "/"}, []string{*one.Workspace.Alias, *one.Workspace.KmsKeyArn, *one.Workspace.PrometheusEndpoint})
	require.WithinDuration(t, time.Now(), *one.Workspace.CreatedAt, time.Minute)
	for range 4 {
		_, err := c.CreateWorkspace(ctx, &amp.CreateWorkspaceInput{Alias: aws.String("other")})
		require.NoError(t, err)
	}
	n, pages := 0, amp.NewListWorkspacesPaginator(c, &amp.ListWorkspacesInput{Alias: aws.String("o"), MaxResults: aws.Int32(3)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		require.NoError(t, err)
		j.shape("ListWorkspaces.response")
		n += len(page.Workspaces)
	}
	require.Equal(t, 4, n)
	_, err = c.UpdateWorkspaceAlias(ctx, &amp.UpdateWorkspaceAliasInput{WorkspaceId: &id, Alias: aws.String("new")})
	require.NoError(t, err)
	require.Equal(t, 204, j.last.status)
	j.shape("UpdateWorkspaceAlias.response")
	_, err = c.TagResource(ctx, &amp.TagResourceInput{ResourceArn: made.Arn, Tags: map[string]string{"x y": "z/1", "c": ""}})
	require.NoError(t, err)
	j.shape("TagResource.response")
	_, err = c.UntagResource(ctx, &amp.UntagResourceInput{ResourceArn: made.Arn, TagKeys: []string{"a", "c"}})
	require.NoError(t, err)
	j.shape("UntagResource.response")
	tags, err := c.ListTagsForResource(ctx, &amp.ListTagsForResourceInput{ResourceArn: made.Arn})
	require.NoError(t, err)
	j.shape("ListTagsForResource.response")
	require.Equal(t, map[string]string{"x y": "z/1"}, tags.Tags)
	return id
}

func (j *judge) walkConfiguration(id string) {
	t, ctx, c := j.t, j.t.Context(), j.client
	sets := []types.LimitsPerLabelSet{{LabelSet: map[string]string{"team": "a"}, Limits: &types.LimitsPerLabelSetEntry{MaxSeries: aws.Int64(5)}},
		{LabelSet: map[string]string{}, Limits: &types.LimitsPerLabelSetEntry{MaxSeries: aws.Int64(7)}}}
	changed, err := c.UpdateWorkspaceConfiguration(ctx, &amp.UpdateWorkspaceConfigurationInput{WorkspaceId: &id, LimitsPerLabelSet: sets,
		RetentionPeriodInDays: aws.Int32(30), OutOfOrderTimeWindowInSeconds: aws.Int32(0), RuleQueryOffsetInSeconds: aws.Int32(15)})
	require.NoError(t, err)
	j.shape("UpdateWorkspaceConfiguration.response")
	require.Equal(t, types.WorkspaceConfigurationStatusCodeActive, changed.Status.StatusCode)
	got, err := c.DescribeWorkspaceConfiguration(ctx, &amp.DescribeWorkspaceConfigurationInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DescribeWorkspaceConfiguration.response")
	cfg := got.WorkspaceConfiguration
	require.Equal(t, sets, cfg.LimitsPerLabelSet)
	require.Equal(t, []int32{30, 0, 15}, []int32{*cfg.RetentionPeriodInDays, *cfg.OutOfOrderTimeWindowInSeconds, *cfg.RuleQueryOffsetInSeconds})

	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"aps:RemoteWrite","Resource":"*"}]}`
	put, err := c.PutResourcePolicy(ctx, &amp.PutResourcePolicyInput{WorkspaceId: &id, PolicyDocument: &document, RevisionId: aws.String("NO_POLICY")})
	require.NoError(t, err)
	j.shape("PutResourcePolicy.response")
	described, err := c.DescribeResourcePolicy(ctx, &amp.DescribeResourcePolicyInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DescribeResourcePolicy.response")
	require.Equal(t, []string{document, *put.RevisionId}, []string{*described.PolicyDocument, *described.RevisionId})
	_, err = c.DeleteResourcePolicy(ctx, &amp.DeleteResourcePolicyInput{WorkspaceId: &id, RevisionId: put.RevisionId})
	require.NoError(t, err)
	j.shape("DeleteResourcePolicy.response")
}

func (j *judge) walkLogging(id string) {
	t, ctx, c := j.t, j.t.Context(), j.client
	made, err := c.CreateLoggingConfiguration(ctx, &amp.CreateLoggingConfigurationInput{WorkspaceId: &id, LogGroupArn: aws.String(logs)})
	require.NoError(t, err)
	j.shape("CreateLoggingConfiguration.response")
	require.Equal(t, types.LoggingConfigurationStatusCodeActive, made.Status.StatusCode)
	_, err = c.UpdateLoggingConfiguration(ctx, &amp.UpdateLoggingConfigurationInput{WorkspaceId: &id, LogGroupArn: aws.String(logs)})
	require.NoError(t, err)
	j.shape("UpdateLoggingConfiguration.response")
	got, err := c.DescribeLoggingConfiguration(ctx, &amp.DescribeLoggingConfigurationInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DescribeLoggingConfiguration.response")
	require.Equal(t, []string{id, logs}, []string{*got.LoggingConfiguration.Workspace, *got.LoggingConfiguration.LogGroupArn})
	_, err = c.DeleteLoggingConfiguration(ctx, &amp.DeleteLoggingConfigurationInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DeleteLoggingConfiguration.response")

	to := []types.LoggingDestination{{CloudWatchLogs: &types.CloudWatchLogDestination{LogGroupArn: aws.String(logs)}, Filters: &types.LoggingFilter{QspThreshold: aws.Int64(0)}}}
	_, err = c.CreateQueryLoggingConfiguration(ctx, &amp.CreateQueryLoggingConfigurationInput{WorkspaceId: &id, Destinations: to})
	require.NoError(t, err)
	j.shape("CreateQueryLoggingConfiguration.response")
	to[0].Filters.QspThreshold = aws.Int64(1000)
	_, err = c.UpdateQueryLoggingConfiguration(ctx, &amp.UpdateQueryLoggingConfigurationInput{WorkspaceId: &id, Destinations: to})
	require.NoError(t, err)
	j.shape("UpdateQueryLoggingConfiguration.response")
	queries, err := c.DescribeQueryLoggingConfiguration(ctx, &amp.DescribeQueryLoggingConfigurationInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DescribeQueryLoggingConfiguration.response")
	require.Equal(t, to, queries.QueryLoggingConfiguration.Destinations)
	_, err = c.DeleteQueryLoggingConfiguration(ctx, &amp.DeleteQueryLoggingConfigurationInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DeleteQueryLoggingConfiguration.response")
}

func (j *judge) walkRules(id string) {
	t, ctx, c := j.t, j.t.Context(), j.client
	data := []byte("groups: []\n")
	name := "my rules/ä"
	made, err := c.CreateRuleGroupsNamespace(ctx, &amp.CreateRuleGroupsNamespaceInput{WorkspaceId: &id, Name: &name, Data: data, Tags: map[string]string{"k": "v"}})
	require.NoError(t, err)
	j.shape("CreateRuleGroupsNamespace.response")
	require.Equal(t, "arn:aws:aps:us-east-1:000000000000:rulegroupsnamespace/"+id+"/"+name, *made.Arn)
	_, err = c.PutRuleGroupsNamespace(ctx, &amp.PutRuleGroupsNamespaceInput{WorkspaceId: &id, Name: &name, Data: []byte("groups:\n")})
	require.NoError(t, err)
	j.shape("PutRuleGroupsNamespace.response")
	got, err := c.DescribeRuleGroupsNamespace(ctx, &amp.DescribeRuleGroupsNamespaceInput{WorkspaceId: &id, Name: &name})
	require.NoError(t, err)
	j.shape("DescribeRuleGroupsNamespace.response")
	require.Equal(t, "groups:\n", string(got.RuleGroupsNamespace.Data))
	_, err = c.TagResource(ctx, &amp.TagResourceInput{ResourceArn: made.Arn, Tags: map[string]string{"x": "y"}})
	require.NoError(t, err)
	tags, err := c.ListTagsForResource(ctx, &amp.ListTagsForResourceInput{ResourceArn: made.Arn})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x": "y"}, tags.Tags)
	for i := range 4 {
		_, err := c.CreateRuleGroupsNamespace(ctx, &amp.CreateRuleGroupsNamespaceInput{WorkspaceId: &id, Name: aws.String(fmt.Sprint("n", i)), Data: data})
		require.NoError(t, err)
	}
	n, pages := 0, amp.NewListRuleGroupsNamespacesPaginator(c, &amp.ListRuleGroupsNamespacesInput{WorkspaceId: &id, Name: aws.String("n"), MaxResults: aws.Int32(3)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		require.NoError(t, err)
		j.shape("ListRuleGroupsNamespaces.response")
		n += len(page.RuleGroupsNamespaces)
	}
	require.Equal(t, 4, n)
	_, err = c.DeleteRuleGroupsNamespace(ctx, &amp.DeleteRuleGroupsNamespaceInput{WorkspaceId: &id, Name: &name})
	require.NoError(t, err)
	j.shape("DeleteRuleGroupsNamespace.response")
}

func (j *judge) walkAlerts(id string) {
	t, ctx, c := j.t, j.t.Context(), j.client
	_, err := c.CreateAlertManagerDefinition(ctx, &amp.CreateAlertManagerDefinitionInput{WorkspaceId: &id, Data: []byte("a")})
	require.NoError(t, err)
	j.shape("CreateAlertManagerDefinition.response")
	_, err = c.PutAlertManagerDefinition(ctx, &amp.PutAlertManagerDefinitionInput{WorkspaceId: &id, Data: []byte("b")})
	require.NoError(t, err)
	j.shape("PutAlertManagerDefinition.response")
	got, err := c.DescribeAlertManagerDefinition(ctx, &amp.DescribeAlertManagerDefinitionInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DescribeAlertManagerDefinition.response")
	require.Equal(t, "b", string(got.AlertManagerDefinition.Data))
	_, err = c.DeleteAlertManagerDefinition(ctx, &amp.DeleteAlertManagerDefinitionInput{WorkspaceId: &id})
	require.NoError(t, err)
	j.shape("DeleteAlertManagerDefinition.response")
}

func (j *judge) walkScrapers(id string) {
	t, ctx, c := j.t, j.t.Context(), j.client
	standard, err := c.GetDefaultScraperConfiguration(ctx, &amp.GetDefaultScraperConfigurationInput{})
	require.NoError(t, err)
	j.shape("GetDefaultScraperConfiguration.response")
	arn := workspace.ARN(region, account, id)
	made, err := c.CreateScraper(ctx, &amp.CreateScraperInput{Alias: aws.String("s"), Tags: map[string]string{"k": "v"},
		ScrapeConfiguration: &types.ScrapeConfigurationMemberConfigurationBlob{Value: standard.Configuration},
		Source:              &types.SourceMemberEksConfiguration{Value: types.EksConfiguration{ClusterArn: aws.String(cluster), SubnetIds: []string{"subnet-0a"}, SecurityGroupIds: []string{"sg-0a"}}},
		Destination:         &types.DestinationMemberAmpConfiguration{Value: types.AmpConfiguration{WorkspaceArn: &arn}}})
	require.NoError(t, err)
	j.shape("CreateScraper.response")
	require.NoError(t, amp.NewScraperActiveWaiter(c).Wait(ctx, &amp.DescribeScraperInput{ScraperId: made.ScraperId}, 30*time.Second))
	got, err := c.DescribeScraper(ctx, &amp.DescribeScraperInput{ScraperId: made.ScraperId})
	require.NoError(t, err)
	j.shape("DescribeScraper.response")
	require.Equal(t, standard.Configuration, got.Scraper.ScrapeConfiguration.(*types.ScrapeConfigurationMemberConfigurationBlob).Value)
	list, err := c.ListScrapers(ctx, &amp.ListScrapersInput{Filters: map[string][]string{"status": {"ACTIVE", "CREATING"}, "alias": {"s"}, "destinationArn": {arn}}})
	require.NoError(t, err)
	j.shape("ListScrapers.response")
	require.Len(t, list.Scrapers, 1)
	_, err = c.UpdateScraper(ctx, &amp.UpdateScraperInput{ScraperId: made.ScraperId, Alias: aws.String("t")})
	require.NoError(t, err)
	j.shape("UpdateScraper.response")
	require.NoError(t, amp.NewScraperActiveWaiter(c).Wait(ctx, &amp.DescribeScraperInput{ScraperId: made.ScraperId}, 30*time.Second))

	to := &types.ScraperLoggingDestinationMemberCloudWatchLogs{Value: types.CloudWatchLogDestination{LogGroupArn: aws.String(logs)}}
	_, err = c.UpdateScraperLoggingConfiguration(ctx, &amp.UpdateScraperLoggingConfigurationInput{ScraperId: made.ScraperId, LoggingDestination: to,
		ScraperComponents: []types.ScraperComponent{{Type: types.ScraperComponentTypeCollector, Config: &types.ComponentConfig{Options: map[string]string{"a": "b"}}}}})
	require.NoError(t, err)
	j.shape("UpdateScraperLoggingConfiguration.response")
	_, err = c.DescribeScraperLoggingConfiguration(ctx, &amp.DescribeScraperLoggingConfigurationInput{ScraperId: made.ScraperId})
	require.NoError(t, err)
	j.shape("DescribeScraperLoggingConfiguration.response")
	_, err = c.DeleteScraperLoggingConfiguration(ctx, &amp.DeleteScraperLoggingConfigurationInput{ScraperId: made.ScraperId})
	require.NoError(t, err)
	j.shape("DeleteScraperLoggingConfiguration.response")
	_, err = c.DeleteScraper(ctx, &amp.DeleteScraperInput{ScraperId: made.ScraperId})
	require.NoError(t, err)
	j.shape("DeleteScraper.response")
	require.NoError(t, amp.NewScraperDeletedWaiter(c).Wait(ctx, &amp.DescribeScraperInput{ScraperId: made.ScraperId}, 30*time.Second))
}

// TestErrors has the client see every error as its own type, with all members.
func TestErrors(t *testing.T) {
	j := newJudge(t, func(w *workspace.Config, a *api.APSConfig) {
		w.MaxWorkspaces, a.Rates.Control = 1, api.Rate{PerSecond: 0.5, Burst: 6}
	})
	ctx, c := t.Context(), j.client
	status := func(name string, want int) {
		t.Helper()
		j.shape(name + ".error")
		require.Equal(t, want, j.last.status)
		require.Equal(t, name, j.last.header.Get("x-amzn-errortype"))
	}
	_, err := c.DescribeWorkspace(ctx, &amp.DescribeWorkspaceInput{WorkspaceId: aws.String("ws-1")})
	var missing *types.ResourceNotFoundException
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []string{"ws-1", "workspace"}, []string{*missing.ResourceId, *missing.ResourceType})
	status("ResourceNotFoundException", 404)

	in := &amp.CreateWorkspaceInput{Alias: aws.String("a"), ClientToken: aws.String("t")}
	made, err := c.CreateWorkspace(ctx, in)
	require.NoError(t, err)
	in.Alias = aws.String("b")
	_, err = c.CreateWorkspace(ctx, in)
	var conflict *types.ConflictException
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, []string{*made.WorkspaceId, "workspace"}, []string{*conflict.ResourceId, *conflict.ResourceType})
	status("ConflictException", 409)

	_, err = c.CreateWorkspace(ctx, &amp.CreateWorkspaceInput{})
	var quota *types.ServiceQuotaExceededException
	require.ErrorAs(t, err, &quota)
	require.Equal(t, "aps", *quota.ServiceCode)
	status("ServiceQuotaExceededException", 402)

	_, err = c.UpdateWorkspaceAlias(ctx, &amp.UpdateWorkspaceAliasInput{WorkspaceId: made.WorkspaceId, Alias: aws.String(strings.Repeat("x", 101))})
	var invalid *types.ValidationException
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, types.ValidationExceptionReasonFieldValidationFailed, invalid.Reason)
	require.Equal(t, "alias", *invalid.FieldList[0].Name)
	status("ValidationException", 400)

	_, err = j.identity.CreateUser(ctx, account, "nobody")
	require.NoError(t, err)
	nobody, err := j.identity.CreateAccessKey(ctx, account, "nobody")
	require.NoError(t, err)
	_, err = j.as(nobody).ListWorkspaces(ctx, &amp.ListWorkspacesInput{})
	var denied *types.AccessDeniedException
	require.ErrorAs(t, err, &denied)
	status("AccessDeniedException", 403)

	var throttled *types.ThrottlingException
	for range 7 {
		if _, err = c.ListWorkspaces(ctx, &amp.ListWorkspacesInput{}); err != nil {
			break
		}
	}
	require.ErrorAs(t, err, &throttled)
	require.Equal(t, []any{"aps", "L-8491EB93", int32(2)}, []any{*throttled.ServiceCode, *throttled.QuotaCode, *throttled.RetryAfterSeconds})
	status("ThrottlingException", 429)
}

// TestSharedWorkspace has a resource policy let in another account's client.
func TestSharedWorkspace(t *testing.T) {
	s := start(t, nil)
	ctx := t.Context()
	made, err := s.client.CreateWorkspace(ctx, &amp.CreateWorkspaceInput{})
	require.NoError(t, err)
	require.NoError(t, s.identity.CreateAccount(ctx, "111111111111", "theirs"))
	_, err = s.identity.CreateUser(ctx, "111111111111", "boss")
	require.NoError(t, err)
	require.NoError(t, s.identity.AttachUserPolicy(ctx, "111111111111", "boss", iam.PolicyAdministratorAccess))
	key, err := s.identity.CreateAccessKey(ctx, "111111111111", "boss")
	require.NoError(t, err)
	boss := s.as(key)
	var missing *types.ResourceNotFoundException
	_, err = boss.DescribeWorkspace(ctx, &amp.DescribeWorkspaceInput{WorkspaceId: made.WorkspaceId})
	require.ErrorAs(t, err, &missing)
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"aps:*","Resource":"` + *made.Arn + `"}]}`
	_, err = s.client.PutResourcePolicy(ctx, &amp.PutResourcePolicyInput{WorkspaceId: made.WorkspaceId, PolicyDocument: &document})
	require.NoError(t, err)
	_, err = boss.DescribeWorkspace(ctx, &amp.DescribeWorkspaceInput{WorkspaceId: made.WorkspaceId})
	require.ErrorAs(t, err, &missing, "the control plane is not shared")
	list, err := boss.ListWorkspaces(ctx, &amp.ListWorkspacesInput{})
	require.NoError(t, err)
	require.Empty(t, list.Workspaces)
}
