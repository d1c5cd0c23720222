package install

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var update = flag.Bool("update", false, "write the files that are made of the chart")

const (
	rightsBegin = "<!-- made of the chart by: go test ./internal/install -run TestRightsAreDocumented -update -->\n```\n"
	rightsEnd   = "```\n<!-- end -->\n"
)

// TestRightsAreDocumented keeps docs/rbac.md in step with the chart: it lists
// every rule of every role, in whose name it is, and nothing else.
func TestRightsAreDocumented(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "rbac.md")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), rightsBegin)
	require.True(t, ok, "docs/rbac.md has lost the line that begins the list")
	have, after, ok := strings.Cut(rest, rightsEnd)
	require.True(t, ok, "docs/rbac.md has lost the line that ends the list")
	want := rightsOf(render(t, Request{Preset: "all-in-one"}))
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(before+rightsBegin+want+rightsEnd+after), 0o600))
		return
	}
	require.Equal(t, want, have, "run go test ./internal/install -run TestRightsAreDocumented -update, and say why in the table above it")
}

// rightsOf lists who may do what: one line for each resource of each rule.
func rightsOf(r *Rendered) string {
	holders := map[string][]string{} // role -> service accounts
	for _, o := range r.Objects {
		if kind := o.GetKind(); kind != "ClusterRoleBinding" && kind != "RoleBinding" {
			continue
		}
		role, _, _ := unstructured.NestedStringMap(o.Object, "roleRef")
		subjects, _, _ := unstructured.NestedSlice(o.Object, "subjects")
		for _, s := range subjects {
			m := s.(map[string]any)
			key := role["kind"] + " " + role["name"]
			holders[key] = append(holders[key], fmt.Sprintf("%s/%s", m["namespace"], m["name"]))
		}
	}
	var lines []string
	for _, o := range r.Objects {
		rules, ok, _ := unstructured.NestedSlice(o.Object, "rules")
		if kind := o.GetKind(); !ok || kind != "ClusterRole" && kind != "Role" {
			continue
		}
		where := "everywhere"
		if o.GetKind() == "Role" {
			where = "in " + o.GetNamespace()
		}
		for _, holder := range holders[o.GetKind()+" "+o.GetName()] {
			for _, rule := range rules {
				lines = append(lines, ruleLines(holder, where, rule.(map[string]any))...)
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n") + "\n"
}

func ruleLines(holder, where string, rule map[string]any) (out []string) {
	list := func(key string) []string {
		v, _, _ := unstructured.NestedStringSlice(rule, key)
		return v
	}
	verbs := strings.Join(list("verbs"), ",")
	only := ""
	if names := list("resourceNames"); len(names) > 0 {
		only = " named " + strings.Join(names, ",")
	}
	for _, url := range list("nonResourceURLs") {
		out = append(out, fmt.Sprintf("%s  %s  %s  %s", holder, where, url, verbs))
	}
	for _, group := range list("apiGroups") {
		for _, resource := range list("resources") {
			if group != "" {
				resource += "." + group
			}
			out = append(out, fmt.Sprintf("%s  %s  %s%s  %s", holder, where, resource, only, verbs))
		}
	}
	return out
}
