//go:build unix

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// component is a set of programs that are built from one Go module and kept in
// the cache for as long as nothing in their sources changes.
type component struct {
	Name string
	// Dir is where the go command runs, relative to this package's directory.
	Dir string
	// Sources are directories, relative to Dir, whose files decide whether the
	// programs in the cache are still the right ones.
	Sources []string
	// Module is the one that gives the component its version.
	Module   string
	Packages []string
	// Stamp lists variables that are set at link time, to "VERSION" where the
	// value says so.
	Stamp map[string]string
}

// components are all programs of a cluster. Those under build/ are other
// projects, pinned by a go.mod and go.sum each.
func components() []component {
	const k8s = "k8s.io/kubernetes/cmd/"
	stamp := make(map[string]string)
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		stamp[p+".gitVersion"], stamp[p+".gitMajor"], stamp[p+".gitMinor"] = "VERSION", "MAJOR", "MINOR"
	}
	const own = "github.com/mangru/mangru/test/cluster/"
	prometheusStamp := map[string]string{"github.com/prometheus/common/version.Version": "NUMBER"}
	return []component{
		{Name: "kubernetes", Dir: "build/kubernetes", Sources: []string{"."}, Module: "k8s.io/kubernetes", Stamp: stamp,
			Packages: []string{k8s + "kube-apiserver", k8s + "kube-controller-manager", k8s + "kube-scheduler", k8s + "kube-proxy", k8s + "kubelet", k8s + "kubectl"}},
		{Name: "coredns", Dir: "build/coredns", Sources: []string{"."}, Module: "github.com/coredns/coredns", Packages: []string{"."}},
		{Name: "kube-state-metrics", Dir: "build/kube-state-metrics", Sources: []string{"."}, Module: "k8s.io/kube-state-metrics/v2",
			Packages: []string{"k8s.io/kube-state-metrics/v2"}, Stamp: prometheusStamp},
		{Name: "node_exporter", Dir: "build/node_exporter", Sources: []string{"."}, Module: "github.com/prometheus/node_exporter",
			Packages: []string{"github.com/prometheus/node_exporter"}, Stamp: prometheusStamp},
		{Name: "kwok", Dir: "build/kwok", Sources: []string{".", "stages"}, Module: "sigs.k8s.io/kwok",
			Packages: []string{"sigs.k8s.io/kwok/cmd/kwok", "./stages"}, Stamp: map[string]string{"sigs.k8s.io/kwok/pkg/consts.Version": "VERSION"}},
		{Name: "toolbox", Dir: ".", Sources: []string{"toolbox"}, Packages: []string{own + "toolbox"}},
		{Name: "nodeinit", Dir: ".", Sources: []string{"nodeinit", "nodespec"}, Packages: []string{own + "nodeinit"}},
	}
}

// builder turns components into programs.
type builder struct {
	source string // this package's directory
	cache  string
	log    *slog.Logger
}

// sourceDir finds this package's directory: the build needs the sources.
func sourceDir(ctx context.Context) (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if _, err := os.Stat(file); err == nil {
			return filepath.Dir(file), nil
		}
	}
	// Built with -trimpath: the caller stands in the repository.
	out, err := command(ctx, nil, "go", "list", "-f", "{{.Dir}}", "github.com/mangru/mangru/test/cluster")
	if err != nil {
		return "", fmt.Errorf("finding the sources of the test cluster (run this in the repository): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// version reads the component's version from its go.mod.
func (b builder) version(c component) (string, error) {
	if c.Module == "" {
		return "", nil
	}
	path := filepath.Join(b.source, c.Dir, "go.mod")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(lines.Text()), "require "))
		if len(fields) >= 2 && fields[0] == c.Module && strings.HasPrefix(fields[1], "v") {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", path, c.Module)
}

// flags are the linker's, from the component's version.
func (c component) flags(version string) string {
	number := strings.TrimPrefix(version, "v")
	major, rest, _ := strings.Cut(number, ".")
	minor, _, _ := strings.Cut(rest, ".")
	fill := map[string]string{"VERSION": version, "NUMBER": number, "MAJOR": major, "MINOR": minor}
	flags := "-s -w"
	for _, variable := range sortedKeys(c.Stamp) {
		flags += " -X " + variable + "=" + fill[c.Stamp[variable]]
	}
	return flags
}

// digest changes whenever the programs would.
func (b builder) digest(c component, flags string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, c.Name, runtime.GOARCH, c.Packages, flags)
	for _, dir := range c.Sources {
		entries, err := os.ReadDir(filepath.Join(b.source, c.Dir, dir))
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if !isSource(e.Name()) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(b.source, c.Dir, dir, e.Name()))
			if err != nil {
				return "", err
			}
			fmt.Fprintln(h, dir, e.Name(), len(text))
			_, _ = h.Write(text) // a hash never fails
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

func isSource(name string) bool {
	return name == "go.mod" || name == "go.sum" || strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
}

// all builds what the cache does not have and returns, by component, the
// directories with the programs.
func (b builder) all(ctx context.Context) (map[string]string, error) {
	dirs := make(map[string]string)
	for _, c := range components() {
		dir, err := b.one(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("building %s: %w", c.Name, err)
		}
		dirs[c.Name] = dir
	}
	return dirs, nil
}

func (b builder) one(ctx context.Context, c component) (string, error) {
	version, err := b.version(c)
	if err != nil {
		return "", err
	}
	flags := c.flags(version)
	digest, err := b.digest(c, flags)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(b.cache, strings.TrimSuffix(c.Name+"-"+version, "-")+"-"+digest)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	// Two builds of one component would only be in each other's way.
	unlock, err := lock(ctx, dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	began := time.Now()
	b.log.Info("building "+c.Name+", once", "version", version, "into", dir)
	if err := b.run(ctx, c, flags, dir); err != nil {
		return "", err
	}
	b.log.Info("built "+c.Name, "after", time.Since(began).Round(time.Second))
	return dir, nil
}

// run builds into a directory beside dir and renames it when complete.
func (b builder) run(ctx context.Context, c component, flags, dir string) error {
	if _, err := exec.LookPath("go"); err != nil {
		return &UnsupportedError{"no go command in PATH: the cluster's programs are built from Go modules (Go 1.26 or later; with sudo, keep the PATH: sudo env PATH=\"$PATH\" ...)"}
	}
	half := dir + ".half"
	if err := errors.Join(os.RemoveAll(half), os.MkdirAll(half, 0o755)); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(half) }()
	args := append([]string{"build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", half + "/"}, c.Packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(b.source, c.Dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w\n%s", err, tail(out, 3000))
	}
	return os.Rename(half, dir)
}

// tail keeps the end of a long text.
func tail(text []byte, limit int) string {
	if len(text) > limit {
		return "...\n" + string(text[len(text)-limit:])
	}
	return string(text)
}
