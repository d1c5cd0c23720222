package app

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

const serviceGrafana = "grafana"

// grafanaWorkspace is a dashboard workspace as the control plane shows it.
type grafanaWorkspace struct {
	ID             string  `json:"id"`
	Name           string  `json:"name"`
	Status         string  `json:"status"`
	Endpoint       string  `json:"endpoint"`
	Created        apsTime `json:"created"`
	Authentication struct {
		Providers []string `json:"providers"`
	} `json:"authentication"`
}

func newDashboardWorkspaceCmd() *cobra.Command {
	f := new(awsFlags)
	return group("dashboard-workspace", "Make dashboard workspaces, and say who is what in them",
		"Workspaces for dashboards of a mangru server, or of Amazon Managed Grafana with --endpoint aws.\nWhere a WORKSPACE is wanted, its id or its name does.", f,
		newDashboardWorkspaceListCmd(f), newDashboardWorkspaceCreateCmd(f), newDashboardWorkspaceDeleteCmd(f), newDashboardWorkspacePermissionsCmd(f),
		dashboardWorkspaceRoleCmd(f, "grant", "Give people or groups a role in a workspace", "ADD"),
		dashboardWorkspaceRoleCmd(f, "revoke", "Take a role in a workspace away", "REVOKE"))
}

func (c *awsClient) grafana(ctx context.Context, operation, method, path string, in, out any) error {
	return c.restOf(ctx, serviceGrafana, operation, method, path, in, out)
}

func (c *awsClient) dashboardWorkspaces(ctx context.Context) ([]grafanaWorkspace, error) {
	type page struct {
		Workspaces []grafanaWorkspace `json:"workspaces"`
		NextToken  string             `json:"nextToken"`
	}
	all := []grafanaWorkspace{}
	err := restPages(ctx, c, serviceGrafana, "ListWorkspaces", "/workspaces", url.Values{}, func(p *page) (string, error) {
		all = append(all, p.Workspaces...)
		return p.NextToken, nil
	})
	return all, err
}

// dashboardWorkspace finds a workspace by id or name.
func (c *awsClient) dashboardWorkspace(ctx context.Context, name string) (*grafanaWorkspace, error) {
	all, err := c.dashboardWorkspaces(ctx)
	if err != nil {
		return nil, err
	}
	var found []grafanaWorkspace
	for _, w := range all {
		if w.ID == name {
			return &w, nil
		}
		if w.Name == name {
			found = append(found, w)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is no dashboard workspace %q; mangru dashboard-workspace list shows those there are", name)
	case 1:
		return &found[0], nil
	}
	return nil, usagef("%d dashboard workspaces are called %q: give the id", len(found), name)
}

// endpointURL is where people open it; Amazon tells the host only.
func (w *grafanaWorkspace) endpointURL() string {
	if w.Endpoint == "" || strings.Contains(w.Endpoint, "://") {
		return w.Endpoint
	}
	return "https://" + w.Endpoint
}

func newDashboardWorkspaceListCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "list", Short: "List dashboard workspaces", RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := f.client(cmd.Context())
		if err != nil {
			return err
		}
		list, err := c.dashboardWorkspaces(cmd.Context())
		if err != nil {
			return err
		}
		return f.show(cmd, struct {
			Workspaces []grafanaWorkspace `json:"workspaces"`
		}{list}, func(t *table) {
			t.row("ID", "NAME", "STATUS", "CREATED", "ADDRESS")
			for _, w := range list {
				t.row(w.ID, w.Name, w.Status, w.Created.String(), w.endpointURL())
			}
		})
	}}
}

func newDashboardWorkspaceCreateCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "create NAME", Short: "Make a dashboard workspace that people of the directory sign in to", Args: exactly("a name")}
	description := c.Flags().String("description", "", "what it is for")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := f.client(cmd.Context())
		if err != nil {
			return err
		}
		in := map[string]any{"workspaceName": args[0], "workspaceDescription": *description, "accountAccessType": "CURRENT_ACCOUNT", "permissionType": "SERVICE_MANAGED",
			"authenticationProviders": []string{"AWS_SSO"}, "workspaceDataSources": []string{"PROMETHEUS"}}
		if *description == "" {
			delete(in, "workspaceDescription")
		}
		var out struct {
			Workspace grafanaWorkspace `json:"workspace"`
		}
		if err := c.grafana(cmd.Context(), "CreateWorkspace", "POST", "/workspaces", in, &out); err != nil {
			return err
		}
		return f.done(cmd, out.Workspace, "%s\n%s", out.Workspace.ID, out.Workspace.endpointURL())
	}
	return c
}

func newDashboardWorkspaceDeleteCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "delete WORKSPACE", Short: "Delete a dashboard workspace with all its boards", Args: exactly("a workspace"), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := f.client(cmd.Context())
		if err != nil {
			return err
		}
		w, err := c.dashboardWorkspace(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if err := c.grafana(cmd.Context(), "DeleteWorkspace", "DELETE", "/workspaces/"+w.ID, nil, nil); err != nil {
			return err
		}
		return f.done(cmd, w, "dashboard workspace %s (%s) deleted", w.ID, w.Name)
	}}
}

// grafanaPermission is who has a role.
type grafanaPermission struct {
	Role string `json:"role"`
	User struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	} `json:"user"`
}

func newDashboardWorkspacePermissionsCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "permissions WORKSPACE", Short: "List who has which role", Args: exactly("a workspace"), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := f.people(cmd.Context())
		if err != nil {
			return err
		}
		w, err := c.dashboardWorkspace(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		type page struct {
			Permissions []grafanaPermission `json:"permissions"`
			NextToken   string              `json:"nextToken"`
		}
		list := []grafanaPermission{}
		err = restPages(cmd.Context(), c.awsClient, serviceGrafana, "ListPermissions", "/workspaces/"+w.ID+"/permissions", url.Values{}, func(p *page) (string, error) {
			list = append(list, p.Permissions...)
			return p.NextToken, nil
		})
		if err != nil {
			return err
		}
		return f.show(cmd, struct {
			Permissions []grafanaPermission `json:"permissions"`
		}{list}, func(t *table) {
			t.row("ROLE", "KIND", "NAME", "ID")
			for _, p := range list {
				t.row(p.Role, strings.ToLower(strings.TrimPrefix(p.User.Type, "SSO_")), c.subjectName(cmd.Context(), p), p.User.ID)
			}
		})
	}}
}

// subjectName is what a person or group is called; empty for who is gone.
func (c *peopleClient) subjectName(ctx context.Context, p grafanaPermission) string {
	var out struct{ UserName, DisplayName string }
	operation, id := "DescribeUser", "UserId"
	if p.User.Type == "SSO_GROUP" {
		operation, id = "DescribeGroup", "GroupId"
	}
	if err := c.identityStore(ctx, operation, map[string]any{id: p.User.ID}, &out); err != nil {
		return ""
	}
	if out.UserName != "" {
		return out.UserName
	}
	return out.DisplayName
}

func dashboardWorkspaceRoleCmd(f *awsFlags, use, short, action string) *cobra.Command {
	c := &cobra.Command{Use: use + " WORKSPACE viewer|editor|admin PERSON...", Short: short, Args: cobra.MinimumNArgs(2)}
	groups := c.Flags().StringArray("group", nil, "name of a group of people; may be repeated")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		role := strings.ToUpper(args[1])
		if !slices.Contains([]string{"VIEWER", "EDITOR", "ADMIN"}, role) {
			return usagef("role: found %q, allowed are viewer, editor and admin", args[1])
		}
		if len(args) == 2 && len(*groups) == 0 {
			return usagef("name a person, or a group with --group")
		}
		c, err := f.people(cmd.Context())
		if err != nil {
			return err
		}
		w, err := c.dashboardWorkspace(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		var users []map[string]string
		for _, name := range args[2:] {
			id, err := c.personID(cmd.Context(), name)
			if err != nil {
				return err
			}
			users = append(users, map[string]string{"id": id, "type": "SSO_USER"})
		}
		for _, name := range *groups {
			id, err := c.groupID(cmd.Context(), name)
			if err != nil {
				return err
			}
			users = append(users, map[string]string{"id": id, "type": "SSO_GROUP"})
		}
		var out struct {
			Errors []struct {
				Message string `json:"message"`
			} `json:"errors"`
		}
		in := map[string]any{"updateInstructionBatch": []any{map[string]any{"action": action, "role": role, "users": users}}}
		if err := c.grafana(cmd.Context(), "UpdatePermissions", "PATCH", "/workspaces/"+w.ID+"/permissions", in, &out); err != nil {
			return err
		}
		if len(out.Errors) > 0 {
			return fmt.Errorf("%s: %s", use, out.Errors[0].Message)
		}
		return f.done(cmd, in, "%s: %s %s for %s", w.Name, role, map[string]string{"ADD": "granted", "REVOKE": "revoked"}[action], strings.Join(append(slices.Clone(args[2:]), *groups...), ", "))
	}
	return c
}
