package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newAddonCmd() *cobra.Command {
	f := &awsFlags{}
	return group("addon", "Put the operator into registered clusters, as EKS does with its add-ons",
		"The add-on adot is the operator. The server installs it into a cluster that is registered (mangru cluster register)\n"+
			"and that it has a kubeconfig of (addons.kubeconfigs in its configuration; mangru up has the one that it watches).\n"+
			"No cert-manager is needed.", f,
		newAddonCreateCmd(f), newAddonUpdateCmd(f), newAddonListCmd(f), newAddonDescribeCmd(f), newAddonDeleteCmd(f), newAddonVersionsCmd(f))
}

// describedAddon is an add-on as EKS describes it.
type describedAddon struct {
	Name    string `json:"addonName"`
	Cluster string `json:"clusterName"`
	Status  string `json:"status"`
	Version string `json:"addonVersion"`
	ARN     string `json:"addonArn"`
	Health  struct {
		Issues []struct {
			Code        string   `json:"code"`
			Message     string   `json:"message"`
			ResourceIDs []string `json:"resourceIds"`
		} `json:"issues"`
	} `json:"health"`
	RoleARN       string            `json:"serviceAccountRoleArn,omitempty"`
	Configuration string            `json:"configurationValues,omitempty"`
	Tags          map[string]string `json:"tags,omitempty"`
	CreatedAt     float64           `json:"createdAt"`
	ModifiedAt    float64           `json:"modifiedAt"`
}

func addonsPath(cluster string) string { return clusterPath(cluster) + "/addons" }

func addonPath(cluster, name string) string { return addonsPath(cluster) + "/" + url.PathEscape(name) }

func (c *awsClient) addon(ctx context.Context, cluster, name string) (describedAddon, error) {
	var out struct {
		Addon describedAddon `json:"addon"`
	}
	err := c.rest(ctx, "DescribeAddon", http.MethodGet, addonPath(cluster, name), nil, &out)
	return out.Addon, err
}

// addonSettled waits until an add-on is no longer on its way.
func (c *awsClient) addonSettled(ctx context.Context, cluster, name string) (describedAddon, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		a, err := c.addon(ctx, cluster, name)
		if err != nil || !strings.HasSuffix(a.Status, "ING") {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, fmt.Errorf("add-on %s is still %s: %w", name, a.Status, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// showAddon prints an add-on; one that is not well is an error.
func (f *awsFlags) showAddon(cmd *cobra.Command, a describedAddon) error {
	err := f.show(cmd, map[string]any{"addon": a}, func(t *table) {
		t.row("Name", a.Name)
		t.row("Cluster", a.Cluster)
		t.row("Status", a.Status)
		t.row("Version", a.Version)
		t.row("ARN", a.ARN)
		if a.RoleARN != "" {
			t.row("Role", a.RoleARN)
		}
		for _, i := range a.Health.Issues {
			t.row("Issue", i.Code+": "+i.Message)
		}
	})
	if err == nil && (strings.HasSuffix(a.Status, "_FAILED") || a.Status == "DEGRADED") {
		err = fmt.Errorf("add-on %s of cluster %s is %s", a.Name, a.Cluster, a.Status)
	}
	return err
}

// addonAsked are the flags of what an add-on is to be.
type addonAsked struct {
	cluster, name, version, role, file, conflicts string
	noWait                                        bool
	timeout                                       time.Duration
}

func (a *addonAsked) register(c *cobra.Command) {
	clusterFlag(c, &a.cluster)
	f := c.Flags()
	f.StringVar(&a.name, "name", "adot", "the add-on")
	f.StringVar(&a.version, "addon-version", "", "version, as mangru addon versions lists them")
	f.StringVar(&a.role, "service-account-role-arn", "", "role of its service account")
	f.StringVarP(&a.file, "configuration", "f", "", "file with its configuration, YAML or JSON")
	f.StringVar(&a.conflicts, "resolve-conflicts", "", "what to do with objects that are there already: OVERWRITE, NONE, PRESERVE")
	f.BoolVar(&a.noWait, "no-wait", false, "do not wait for the result")
	f.DurationVar(&a.timeout, "timeout", 10*time.Minute, "how long to wait")
}

// body is what is sent: only what was given.
func (a *addonAsked) body(cmd *cobra.Command) (map[string]any, error) {
	in := map[string]any{}
	for flag, to := range map[string]struct{ key, value string }{
		"addon-version": {"addonVersion", a.version}, "service-account-role-arn": {"serviceAccountRoleArn", a.role}, "resolve-conflicts": {"resolveConflicts", a.conflicts},
	} {
		if cmd.Flags().Changed(flag) {
			in[to.key] = to.value
		}
	}
	if a.file != "" {
		text, err := os.ReadFile(a.file)
		if err != nil {
			return nil, usagef("--configuration: %w", err)
		}
		in["configurationValues"] = string(text)
	}
	return in, nil
}

// finish waits for the result and shows it.
func (a *addonAsked) finish(cmd *cobra.Command, f *awsFlags, c *awsClient) error {
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), a.timeout, fmt.Errorf("gave up after %s (--timeout)", a.timeout))
	defer cancel()
	look := c.addonSettled
	if a.noWait {
		look = c.addon
	}
	got, err := look(ctx, a.cluster, a.name)
	if err != nil {
		return err
	}
	return f.showAddon(cmd, got)
}

func newAddonCreateCmd(f *awsFlags) *cobra.Command {
	a := &addonAsked{}
	c := &cobra.Command{Use: "create", Short: "Install an add-on, and wait until it works", Example: "  mangru addon create --cluster prod",
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := a.body(cmd)
			if err != nil {
				return err
			}
			in["addonName"] = a.name
			c, err := f.clusterClient(cmd.Context(), a.cluster)
			if err != nil {
				return err
			}
			if err := c.rest(cmd.Context(), "CreateAddon", http.MethodPost, addonsPath(a.cluster), in, nil); err != nil {
				return err
			}
			return a.finish(cmd, f, c)
		}}
	a.register(c)
	return c
}

func newAddonUpdateCmd(f *awsFlags) *cobra.Command {
	a := &addonAsked{}
	c := &cobra.Command{Use: "update", Short: "Change an add-on, or bring back what is missing of it",
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := a.body(cmd)
			if err != nil {
				return err
			}
			c, err := f.clusterClient(cmd.Context(), a.cluster)
			if err != nil {
				return err
			}
			if err := c.rest(cmd.Context(), "UpdateAddon", http.MethodPost, addonPath(a.cluster, a.name)+"/update", in, nil); err != nil {
				return err
			}
			return a.finish(cmd, f, c)
		}}
	a.register(c)
	return c
}

func newAddonDescribeCmd(f *awsFlags) *cobra.Command {
	var cluster string
	c := &cobra.Command{Use: "describe NAME", Short: "Show an add-on and what is wrong with it", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.clusterClient(cmd.Context(), cluster)
			if err != nil {
				return err
			}
			a, err := c.addon(cmd.Context(), cluster, args[0])
			if err != nil {
				return err
			}
			return f.showAddon(cmd, a)
		}}
	clusterFlag(c, &cluster)
	return c
}

func newAddonListCmd(f *awsFlags) *cobra.Command {
	var cluster string
	c := &cobra.Command{Use: "list", Short: "List a cluster's add-ons",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			c, err := f.clusterClient(ctx, cluster)
			if err != nil {
				return err
			}
			var names struct {
				Addons []string `json:"addons"`
			}
			if err := c.rest(ctx, "ListAddons", http.MethodGet, addonsPath(cluster), nil, &names); err != nil {
				return err
			}
			list := []describedAddon{}
			for _, name := range names.Addons {
				a, err := c.addon(ctx, cluster, name)
				if err != nil {
					return err
				}
				list = append(list, a)
			}
			return f.show(cmd, map[string]any{"addons": list}, func(t *table) {
				t.row("NAME", "VERSION", "STATUS", "ISSUES")
				for _, a := range list {
					t.row(a.Name, a.Version, a.Status, fmt.Sprint(len(a.Health.Issues)))
				}
			})
		}}
	clusterFlag(c, &cluster)
	return c
}

func newAddonDeleteCmd(f *awsFlags) *cobra.Command {
	var cluster string
	var preserve, noWait bool
	var timeout time.Duration
	c := &cobra.Command{Use: "delete NAME", Short: "Remove an add-on", Args: exactly("a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("gave up after %s (--timeout)", timeout))
			defer cancel()
			c, err := f.clusterClient(ctx, cluster)
			if err != nil {
				return err
			}
			path := addonPath(cluster, args[0])
			if preserve {
				path += "?preserve=true"
			}
			var out struct {
				Addon describedAddon `json:"addon"`
			}
			if err := c.rest(ctx, "DeleteAddon", http.MethodDelete, path, nil, &out); err != nil {
				return err
			}
			if !noWait {
				a, err := c.addonSettled(ctx, cluster, args[0])
				if err == nil {
					return errors.Join(f.showAddon(cmd, a), errors.New("it was not removed"))
				}
				if !isCode(err, "ResourceNotFoundException") {
					return err
				}
			}
			return f.done(cmd, out, "add-on %s of cluster %s removed", args[0], cluster)
		}}
	clusterFlag(c, &cluster)
	c.Flags().BoolVar(&preserve, "preserve", false, "leave in the cluster what is there")
	c.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it is gone")
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait")
	return c
}

func newAddonVersionsCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "versions", Short: "List the add-ons that there are, and their versions",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			var out struct {
				Addons []struct {
					Name     string `json:"addonName"`
					Versions []struct {
						Version string `json:"addonVersion"`
					} `json:"addonVersions"`
				} `json:"addons"`
			}
			if err := c.rest(cmd.Context(), "DescribeAddonVersions", http.MethodGet, "/addons/supported-versions", nil, &out); err != nil {
				return err
			}
			return f.show(cmd, out, func(t *table) {
				t.row("NAME", "VERSION")
				for _, a := range out.Addons {
					for _, v := range a.Versions {
						t.row(a.Name, v.Version)
					}
				}
			})
		}}
}
