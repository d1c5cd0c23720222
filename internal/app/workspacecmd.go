package app

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// apsTime is a time as Managed Prometheus has it: seconds, with a fraction.
type apsTime float64

func (t apsTime) String() string {
	if t == 0 {
		return ""
	}
	return day(time.UnixMilli(int64(float64(t) * 1000)))
}

type apsStatus struct {
	StatusCode   string `json:"statusCode"`
	StatusReason string `json:"statusReason,omitempty"`
}

// apsWorkspace is a workspace as the control plane shows it.
type apsWorkspace struct {
	WorkspaceID        string            `json:"workspaceId"`
	Alias              string            `json:"alias,omitempty"`
	ARN                string            `json:"arn"`
	Status             apsStatus         `json:"status"`
	PrometheusEndpoint string            `json:"prometheusEndpoint,omitempty"`
	CreatedAt          apsTime           `json:"createdAt,omitempty"`
	Tags               map[string]string `json:"tags,omitempty"`
}

func newWorkspaceCmd() *cobra.Command {
	f := new(awsFlags)
	return group("workspace", "Make, configure, back up and restore workspaces",
		"Workspaces of a mangru server, or of Amazon Managed Prometheus with --endpoint aws.\nWhere a WORKSPACE is wanted, its id or its alias does.", f,
		newWorkspaceListCmd(f), newWorkspaceCreateCmd(f), newWorkspaceDescribeCmd(f), newWorkspaceConfigureCmd(f), newWorkspaceDeleteCmd(f),
		newWorkspaceExportCmd(f), newWorkspaceImportCmd(f))
}

// aps calls an operation of Managed Prometheus.
func (c *awsClient) aps(ctx context.Context, operation, method, path string, in, out any) error {
	return c.restOf(ctx, serviceAPS, operation, method, path, in, out)
}

// workspaces lists those whose alias begins with a prefix.
func (c *awsClient) workspaces(ctx context.Context, alias string) ([]apsWorkspace, error) {
	var all []apsWorkspace
	for next := ""; ; {
		q := url.Values{"maxResults": {"1000"}}
		if alias != "" {
			q.Set("alias", alias)
		}
		if next != "" {
			q.Set("nextToken", next)
		}
		var out struct {
			Workspaces []apsWorkspace `json:"workspaces"`
			NextToken  string         `json:"nextToken"`
		}
		if err := c.aps(ctx, "ListWorkspaces", "GET", "/workspaces?"+q.Encode(), nil, &out); err != nil {
			return nil, err
		}
		all = append(all, out.Workspaces...)
		if next = out.NextToken; next == "" {
			return all, nil
		}
	}
}

// workspace finds one by its id or its alias.
func (c *awsClient) workspace(ctx context.Context, name string) (*apsWorkspace, error) {
	id := name
	if !strings.HasPrefix(name, "ws-") {
		list, err := c.workspaces(ctx, name)
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, w := range list {
			if w.Alias == name && w.Status.StatusCode != "DELETING" {
				ids = append(ids, w.WorkspaceID)
			}
		}
		switch len(ids) {
		case 0:
			return nil, fmt.Errorf("there is no workspace with alias %q; mangru workspace list shows those there are", name)
		case 1:
			id = ids[0]
		default:
			return nil, usagef("alias %q is that of %d workspaces, say which by its id: %s", name, len(ids), strings.Join(ids, ", "))
		}
	}
	var out struct {
		Workspace apsWorkspace `json:"workspace"`
	}
	err := c.aps(ctx, "DescribeWorkspace", "GET", "/workspaces/"+url.PathEscape(id), nil, &out)
	return &out.Workspace, err
}

func newWorkspaceListCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List workspaces", Args: cobra.NoArgs}
	alias := c.Flags().String("alias", "", "only those whose alias begins with this")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := f.client(cmd.Context())
		if err != nil {
			return err
		}
		list, err := c.workspaces(cmd.Context(), *alias)
		if err != nil {
			return err
		}
		return f.show(cmd, struct {
			Workspaces []apsWorkspace `json:"workspaces"`
		}{list}, func(t *table) {
			t.row("ID", "ALIAS", "STATUS", "CREATED", "TAGS")
			for _, w := range list {
				t.row(w.WorkspaceID, w.Alias, w.Status.StatusCode, w.CreatedAt.String(), joinTags(w.Tags))
			}
		})
	}
	return c
}

func joinTags(tags map[string]string) string {
	var parts []string
	for _, k := range sortedKeys(tags) {
		parts = append(parts, k+"="+tags[k])
	}
	return strings.Join(parts, " ")
}

func newWorkspaceCreateCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "create [ALIAS]", Short: "Make a workspace and wait until it is active", Args: cobra.MaximumNArgs(1)}
	tags := c.Flags().StringArray("tag", nil, "tag key=value; may be repeated")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		set, err := parseTags(*tags)
		if err != nil {
			return err
		}
		in := map[string]any{"tags": set}
		if len(args) > 0 {
			in["alias"] = args[0]
		}
		c, err := f.client(cmd.Context())
		if err != nil {
			return err
		}
		w, err := c.createWorkspace(cmd.Context(), in)
		if err != nil {
			return err
		}
		return f.done(cmd, w, "%s\n%sapi/v1/remote_write", w.WorkspaceID, w.PrometheusEndpoint)
	}
	return c
}

// createWorkspace makes a workspace and waits until it can be used.
func (c *awsClient) createWorkspace(ctx context.Context, in map[string]any) (*apsWorkspace, error) {
	var made apsWorkspace
	if err := c.aps(ctx, "CreateWorkspace", "POST", "/workspaces", in, &made); err != nil {
		return nil, err
	}
	for {
		w, err := c.workspace(ctx, made.WorkspaceID)
		if err != nil {
			return nil, err
		}
		switch w.Status.StatusCode {
		case "ACTIVE":
			return w, nil
		case "CREATING":
		default:
			return nil, fmt.Errorf("workspace %s is %s", w.WorkspaceID, w.Status.StatusCode)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// apsConfiguration is a workspace's configuration.
type apsConfiguration struct {
	Status          *apsStatus         `json:"status,omitempty"`
	LabelSets       []apsLabelSetLimit `json:"limitsPerLabelSet,omitempty"`
	RetentionDays   *int64             `json:"retentionPeriodInDays,omitempty"`
	OutOfOrder      *int64             `json:"outOfOrderTimeWindowInSeconds,omitempty"`
	RuleQueryOffset *int64             `json:"ruleQueryOffsetInSeconds,omitempty"`
}

type apsLabelSetLimit struct {
	LabelSet map[string]string `json:"labelSet"`
	Limits   struct {
		MaxSeries int64 `json:"maxSeries"`
	} `json:"limits"`
}

func (c *awsClient) configuration(ctx context.Context, id string) (*apsConfiguration, error) {
	var out struct {
		C apsConfiguration `json:"workspaceConfiguration"`
	}
	err := c.aps(ctx, "DescribeWorkspaceConfiguration", "GET", "/workspaces/"+id+"/configuration", nil, &out)
	return &out.C, err
}

func newWorkspaceDescribeCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "describe WORKSPACE", Short: "Show a workspace and its configuration", Args: exactly("a workspace"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := f.client(ctx)
			if err != nil {
				return err
			}
			w, err := c.workspace(ctx, args[0])
			if err != nil {
				return err
			}
			cfg, err := c.configuration(ctx, w.WorkspaceID)
			if err != nil {
				return err
			}
			return f.show(cmd, struct {
				Workspace     *apsWorkspace     `json:"workspace"`
				Configuration *apsConfiguration `json:"workspaceConfiguration"`
			}{w, cfg}, func(t *table) { describeWorkspace(t, w, cfg) })
		}}
}

func describeWorkspace(t *table, w *apsWorkspace, cfg *apsConfiguration) {
	t.row("id", w.WorkspaceID)
	t.row("alias", w.Alias)
	t.row("arn", w.ARN)
	t.row("status", w.Status.StatusCode)
	t.row("created", w.CreatedAt.String())
	t.row("tags", joinTags(w.Tags))
	t.row("endpoint", w.PrometheusEndpoint)
	for _, v := range []struct {
		name, unit string
		of         *int64
	}{{"retention", " days", cfg.RetentionDays}, {"out-of-order window", " s", cfg.OutOfOrder}, {"rule query offset", " s", cfg.RuleQueryOffset}} {
		if v.of != nil {
			t.row(v.name, strconv.FormatInt(*v.of, 10)+v.unit)
		}
	}
	for _, l := range cfg.LabelSets {
		t.row("series limit", strconv.FormatInt(l.Limits.MaxSeries, 10)+" of {"+joinTags(l.LabelSet)+"}")
	}
	if cfg.Status != nil {
		t.row("configuration", strings.TrimSpace(cfg.Status.StatusCode+" "+cfg.Status.StatusReason))
	}
}

func newWorkspaceConfigureCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "configure WORKSPACE", Short: "Change retention, windows and limits of a workspace", Args: exactly("a workspace"),
		Example: "  mangru workspace configure prod --retention-days 400 --max-series 500000:team=web"}
	fl := c.Flags()
	days := fl.Int64("retention-days", 0, "how long samples are kept")
	ooo := fl.Duration("out-of-order-window", 0, "how late samples may come, such as 30m")
	offset := fl.Duration("rule-query-offset", 0, "how far in the past rules look, such as 1m")
	limits := fl.StringArray("max-series", nil, "limit N:label=value,... of a label set, N: of all in no other; takes the place of all there are; may be repeated")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var in apsConfiguration
		for _, v := range []struct {
			flag string
			to   **int64
			val  int64
		}{{"retention-days", &in.RetentionDays, *days}, {"out-of-order-window", &in.OutOfOrder, int64(*ooo / time.Second)}, {"rule-query-offset", &in.RuleQueryOffset, int64(*offset / time.Second)}} {
			if fl.Changed(v.flag) {
				*v.to = &v.val
			}
		}
		var err error
		if in.LabelSets, err = parseLimits(*limits); err != nil {
			return err
		}
		c, err := f.client(cmd.Context())
		if err != nil {
			return err
		}
		w, err := c.workspace(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		var out struct {
			Status apsStatus `json:"status"`
		}
		if err := c.aps(cmd.Context(), "UpdateWorkspaceConfiguration", "PATCH", "/workspaces/"+w.WorkspaceID+"/configuration", in, &out); err != nil {
			return err
		}
		return f.done(cmd, out, "%s: %s", w.WorkspaceID, out.Status.StatusCode)
	}
	return c
}

func parseLimits(args []string) (out []apsLabelSetLimit, err error) {
	for _, a := range args {
		number, set, _ := strings.Cut(a, ":")
		l := apsLabelSetLimit{LabelSet: map[string]string{}}
		if l.Limits.MaxSeries, err = strconv.ParseInt(number, 10, 64); err != nil {
			return nil, usagef("--max-series %q: expected N:label=value,...", a)
		}
		if set != "" {
			if l.LabelSet, err = parseTags(strings.Split(set, ",")); err != nil {
				return nil, err
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func newWorkspaceDeleteCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "delete WORKSPACE", Short: "Delete a workspace with all its samples", Args: exactly("a workspace")}
	yes := c.Flags().Bool("yes", false, "do not ask")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.client(cmd.Context())
		if err != nil {
			return err
		}
		w, err := c.workspace(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if !*yes {
			fmt.Fprintf(cmd.ErrOrStderr(), "This deletes workspace %s (%s) and all its samples. Type its id to go on: ", w.WorkspaceID, w.Alias)
			var typed string
			if _, err := fmt.Fscanln(cmd.InOrStdin(), &typed); err != nil || typed != w.WorkspaceID {
				return usagef("not deleted: its id was not typed (--yes does not ask)")
			}
		}
		if err := c.aps(cmd.Context(), "DeleteWorkspace", "DELETE", "/workspaces/"+w.WorkspaceID, nil, nil); err != nil {
			return err
		}
		return f.done(cmd, struct{}{}, "%s is being deleted", w.WorkspaceID)
	}
	return c
}
