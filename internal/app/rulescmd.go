package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mangru/mangru/internal/server/rules"
)

func newRulesCmd() *cobra.Command {
	f := new(awsFlags)
	return group("rules", "Check, test and push rules of a workspace", "Recording and alerting rules in Prometheus' files.", f,
		newRulesCheckCmd(), newRulesTestCmd(), newRulesPushCmd(f), newRulesListCmd(f))
}

// errRules says that rules are not as they should be; what is wrong was written
// already.
var errRules = errors.New("rules are not as they should be")

// readRules reads a file of rules and writes what is wrong with it.
func readRules(cmd *cobra.Command, file string) (data []byte, count int, ok bool, err error) {
	if data, err = os.ReadFile(file); err != nil {
		return nil, 0, false, usagef("%w", err)
	}
	groups, issues := rules.Parse(data)
	for _, i := range issues {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s:%d:%d: %s\n", file, max(i.Line, 1), max(i.Column, 1), i.Message)
	}
	if groups != nil {
		for _, g := range groups.Groups {
			count += len(g.Rules)
		}
	}
	return data, count, len(issues) == 0, nil
}

func newRulesCheckCmd() *cobra.Command {
	return &cobra.Command{Use: "check FILE...", Short: "Say what is wrong with files of rules, by line", Args: atLeast("a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			bad := false
			for _, file := range args {
				_, n, ok, err := readRules(cmd, file)
				if err != nil {
					return err
				}
				if bad = bad || !ok; ok {
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %d rules\n", file, n)
				}
			}
			if bad {
				return &ExitError{Code: exitUsage, Err: errRules}
			}
			return nil
		}}
}

func newRulesTestCmd() *cobra.Command {
	c := &cobra.Command{Use: "test FILE...", Short: "Run unit tests of rules, in promtool's format", Args: atLeast("a file")}
	run := c.Flags().StringArray("run", nil, "only tests whose name matches this regular expression; may be repeated")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		bad := false
		for _, file := range args {
			result, err := rules.Test(cmd.Context(), file, *run)
			if err != nil {
				return &ExitError{Code: exitUsage, Err: fmt.Errorf("%s: %w", file, err)}
			}
			for _, failure := range result.Failures {
				bad = true
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", file, failure)
			}
			if len(result.Failures) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %d tests passed\n", file, result.Tests)
			}
		}
		if bad {
			return errors.New("tests of rules failed")
		}
		return nil
	}
	return c
}

func newRulesPushCmd(f *awsFlags) *cobra.Command {
	c := &cobra.Command{Use: "push WORKSPACE FILE...", Short: "Put files of rules into a workspace, each as a namespace", Args: atLeast("a workspace", "a file")}
	namespace := c.Flags().String("namespace", "", "name of the namespace, for one file (default: the file's name without its ending)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		files := args[1:]
		if *namespace != "" && len(files) > 1 {
			return usagef("--namespace: is for one file, found %d", len(files))
		}
		data := make(map[string][]byte)
		for _, file := range files {
			text, _, ok, err := readRules(cmd, file)
			if err != nil {
				return err
			}
			if !ok {
				return &ExitError{Code: exitUsage, Err: errRules}
			}
			name := *namespace
			if name == "" {
				name = strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
			}
			if _, twice := data[name]; twice {
				return usagef("two files would be namespace %q", name)
			}
			data[name] = text
		}
		c, err := f.client(cmd.Context())
		if err != nil {
			return err
		}
		ws, err := c.workspace(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		for _, name := range sortedKeys(data) {
			if err := c.pushRules(cmd.Context(), ws.WorkspaceID, name, data[name]); err != nil {
				return err
			}
		}
		return f.done(cmd, map[string]any{"namespaces": sortedKeys(data)}, "%s: %s", ws.WorkspaceID, strings.Join(sortedKeys(data), ", "))
	}
	return c
}

// pushRules puts a namespace into the place of the one of its name, or makes it.
func (c *awsClient) pushRules(ctx context.Context, id, name string, data []byte) error {
	base := "/workspaces/" + id + "/rulegroupsnamespaces"
	err := c.aps(ctx, "PutRuleGroupsNamespace", "PUT", base+"/"+url.PathEscape(name), map[string]any{"data": data}, nil)
	if isCode(err, "ResourceNotFoundException") {
		err = c.aps(ctx, "CreateRuleGroupsNamespace", "POST", base, map[string]any{"name": name, "data": data}, nil)
	}
	return err
}

// ruleNamespaces lists the names of a workspace's namespaces.
func (c *awsClient) ruleNamespaces(ctx context.Context, id string) (names []string, err error) {
	for next := ""; ; {
		q := url.Values{"maxResults": {"1000"}}
		if next != "" {
			q.Set("nextToken", next)
		}
		var out struct {
			List []struct {
				Name string `json:"name"`
			} `json:"ruleGroupsNamespaces"`
			NextToken string `json:"nextToken"`
		}
		if err := c.aps(ctx, "ListRuleGroupsNamespaces", "GET", "/workspaces/"+id+"/rulegroupsnamespaces?"+q.Encode(), nil, &out); err != nil {
			return nil, err
		}
		for _, n := range out.List {
			names = append(names, n.Name)
		}
		if next = out.NextToken; next == "" {
			return names, nil
		}
	}
}

// ruleNamespace returns the YAML of a namespace.
func (c *awsClient) ruleNamespace(ctx context.Context, id, name string) ([]byte, error) {
	var out struct {
		N struct {
			Data []byte `json:"data"`
		} `json:"ruleGroupsNamespace"`
	}
	err := c.aps(ctx, "DescribeRuleGroupsNamespace", "GET", "/workspaces/"+id+"/rulegroupsnamespaces/"+url.PathEscape(name), nil, &out)
	return out.N.Data, err
}

func newRulesListCmd(f *awsFlags) *cobra.Command {
	return &cobra.Command{Use: "list WORKSPACE", Short: "List the namespaces of rules in a workspace", Args: exactly("a workspace"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			ws, err := c.workspace(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			names, err := c.ruleNamespaces(cmd.Context(), ws.WorkspaceID)
			if err != nil {
				return err
			}
			return f.show(cmd, map[string]any{"namespaces": names}, func(t *table) {
				for _, n := range names {
					t.row(n)
				}
			})
		}}
}
