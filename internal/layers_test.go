// Package internal_test checks the rules of docs/ARCHITECTURE.md about which
// package may import which.
package internal_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mangru/mangru/"

// levels lists every package of ours, below this folder, with its level: it may
// import those of lower levels only. A package that is not listed fails the test.
var levels = map[string]int{
	"model": 0, "telemetry": 0, "db": 0, "memory": 0, "inflate": 0, "auth/policy": 0, "awsquery": 0,
	"rewrite": 1, "collector/discover/members": 1, "collector/buffer/block": 1, "collector/buffer/journal": 1,
	"wire": 1, "otelconf": 1, "httpserver": 1, "auth/sigv4": 1, "auth/iam": 1, "auth/webidentity": 1, "audit": 1, "exporter/node": 1, "exporter/kube": 1, "people/directory": 1, "people/signin": 1, "people/federation": 1, "mail": 1,
	"collector/discover": 2, "collector/scrape": 2, "collector/buffer": 2, "collector/send": 2,
	"server/workspace": 2, "server/ingest": 2, "server/store": 2, "server/query": 2, "server/api": 2,
	"auth/sts": 2, "server/cluster": 2, "server/addon": 2, "server/iamapi": 2, "server/stsapi": 2, "server/eksapi": 2,
	"server/rules": 2, "server/alerts": 2, "server/logs": 2,
	"server/ssoapi": 2, "people/scim": 2, "people/portal": 2,
	"dashboard/workspaces": 1, "server/amgapi": 2,
	"dashboard/caller": 1, "dashboard/records": 2, "dashboard/sources": 2, "dashboard/grafanaapi": 2, "dashboard/catalogue": 2, "dashboard/provision": 2, "dashboard/alerting": 1, "dashboard/render": 1, "server/query/engine": 1,
	"dashboard": 2,
	"install":   2, "operator": 2, "doctor": 2,
	"app": 3,
}

// sameLevel lists the imports inside a level that are meant, with the reason.
var sameLevel = map[string]string{
	"otelconf -> rewrite":                   "a configuration holds programs",
	"people/signin -> people/directory":     "its people",
	"people/federation -> people/directory": "its people",
	"server/ingest -> server/workspace":     "its types",
	"server/store -> server/workspace":      "its types",
	"server/query -> server/workspace":      "its types",
	"server/api -> server/workspace":        "its types",
	"server/rules -> server/workspace":      "its types",
	"server/alerts -> server/workspace":     "its types",
	"server/logs -> server/workspace":       "its types",
	"server/iamapi -> server/api":           "routes",
	"server/stsapi -> server/api":           "routes",
	"server/stsapi -> auth/sts":             "what it serves",
	"server/eksapi -> server/api":           "routes",
	"server/eksapi -> server/cluster":       "its types",
	"server/eksapi -> server/addon":         "what it serves",
	"server/addon -> server/cluster":        "its types",

	"dashboard/workspaces -> dashboard/caller":    "its roles",
	"dashboard/workspaces -> people/directory":    "its people",
	"server/amgapi -> server/api":                 "routes",
	"server/amgapi -> dashboard/records":          "its types",
	"dashboard/sources -> dashboard/records":      "its types",
	"dashboard/grafanaapi -> dashboard/records":   "its types",
	"dashboard/provision -> dashboard/records":    "its types",
	"dashboard/catalogue -> dashboard/records":    "its errors",
	"dashboard/catalogue -> dashboard/grafanaapi": "its types",
	"server/ssoapi -> server/api":                 "routes",
}

// ownedBy lists outside packages that exactly one of ours, or one folder of
// ours, may use, so that a change of library stays in one place.
var ownedBy = map[string][]string{
	"github.com/prometheus/prometheus/tsdb":       {"server/store", "server/ingest", "server/query", "server/query/engine", "server/rules", "doctor"}, // query reads chunks and nothing else of it
	"github.com/prometheus/prometheus/promql":     {"server/query", "server/query/engine", "server/rules", "doctor"},
	"github.com/prometheus/prometheus/web/api/v1": {"server/query"},
	"github.com/prometheus/prometheus/discovery":  {"collector/discover", "otelconf", "app"}, // app only prints their names
	"github.com/prometheus/node_exporter":         {"exporter/node"},
	"modernc.org/sqlite":                          {"db"},
	"github.com/spf13/cobra":                      {"app", "exporter/kube"}, // upstream hangs its flags on a command
	"sigs.k8s.io/controller-runtime":              {"operator"},
	"helm.sh/helm/v4":                             {"install"},
	"k8s.io/kube-state-metrics/v2":                {"exporter/kube"},
	"github.com/go-webauthn/webauthn":             {"people/signin"},
	"github.com/zitadel/oidc/v3":                  {"people/federation"},
	"github.com/crewjam/saml":                     {"people/federation"},
}

func TestImports(t *testing.T) {
	for pkg, imports := range importsOf(t, ".") {
		level, known := levels[pkg]
		if !known {
			t.Errorf("package internal/%s has no level: add it to this test and to docs/ARCHITECTURE.md", pkg)
			continue
		}
		for _, imp := range imports {
			checkOwner(t, pkg, imp)
			target, ours := strings.CutPrefix(imp, module+"internal/")
			switch {
			case imp == module+"web":
				if pkg != "app" && pkg != "dashboard" {
					t.Errorf("internal/%s imports web: only app and dashboard may", pkg)
				}
			case !ours:
			case levels[target] > level:
				t.Errorf("internal/%s (level %d) imports internal/%s (level %d)", pkg, level, target, levels[target])
			case levels[target] == level && sameLevel[pkg+" -> "+target] == "":
				t.Errorf("internal/%s imports internal/%s of its own level: declare the interface it needs, and let app plug them together", pkg, target)
			}
		}
	}
}

func TestCommandImportsOnlyApp(t *testing.T) {
	for pkg, imports := range importsOf(t, filepath.Join("..", "cmd")) {
		for _, imp := range imports {
			if strings.HasPrefix(imp, module) && imp != module+"internal/app" {
				t.Errorf("cmd/%s imports %s: main only chooses a mode, in internal/app", pkg, imp)
			}
		}
	}
}

func checkOwner(t *testing.T, pkg, imp string) {
	for outside, owners := range ownedBy {
		if imp != outside && !strings.HasPrefix(imp, outside+"/") {
			continue
		}
		for _, o := range owners {
			if pkg == o {
				return
			}
		}
		t.Errorf("internal/%s imports %s: only %s may", pkg, imp, strings.Join(owners, ", "))
	}
}

// importsOf reads the import lines of every package below dir, tests left out.
func importsOf(t *testing.T, dir string) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		pkg := path.Dir(filepath.ToSlash(rel))
		for _, spec := range parsed.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			all[pkg] = append(all[pkg], imp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("no packages found below %s", dir)
	}
	return all
}
