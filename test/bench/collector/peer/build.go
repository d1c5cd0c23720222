package peer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// program is what a peer is built from: a Go module of its own, pinned by its
// go.mod and go.sum.
type program struct {
	module string // directory under peers
	name   string // of the program, if not the module's
	pkg    string
	// cgo: vmagent's releases for Linux use the C zstd, which is faster.
	cgo bool
}

var programs = map[string]program{
	VMAgent:         {module: "vmagent", pkg: "github.com/VictoriaMetrics/VictoriaMetrics/app/vmagent", cgo: true},
	VMAgentOwn:      {module: "vmagent", pkg: "github.com/VictoriaMetrics/VictoriaMetrics/app/vmagent", cgo: true},
	Prometheus:      {module: "prometheus", pkg: "github.com/prometheus/prometheus/cmd/prometheus"},
	OTelCol:         {module: "otelcol", pkg: "."},
	VictoriaMetrics: {module: "vmagent", name: VictoriaMetrics, pkg: "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics", cgo: true},
}

// Builder builds collectors that are not there yet.
type Builder struct {
	// Root is the repository's directory.
	Root string
	// Cache keeps built peers.
	Cache string
	// Have is a directory with ready programs, named as the collectors, that are
	// taken as they are; or empty.
	Have string
	// Mangru is a ready mangru, or empty.
	Mangru string
	Log    *slog.Logger
}

// Root finds the repository's directory from inside it.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("finding the repository (run this inside it): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Build returns the path of a collector's program.
func (b Builder) Build(ctx context.Context, name string) (string, error) {
	if name == Mangru {
		if b.Mangru != "" {
			return filepath.Abs(b.Mangru)
		}
		out := filepath.Join(b.Cache, Mangru)
		return out, b.run(ctx, b.Root, out, "./cmd/mangru", false)
	}
	p, known := programs[name]
	if !known {
		return "", fmt.Errorf("unknown collector %q (there are %v)", name, Names())
	}
	if b.Have != "" {
		if have := filepath.Join(b.Have, cmp.Or(p.name, p.module)); exists(have) {
			return filepath.Abs(have)
		}
	}
	dir := filepath.Join(b.Root, "test/bench/peers", p.module)
	digest, err := digestOf(dir)
	if err != nil {
		return "", err
	}
	out := filepath.Join(b.Cache, cmp.Or(p.name, p.module)+"-"+digest)
	if exists(out) {
		return out, nil
	}
	began := time.Now()
	b.Log.Info("building "+cmp.Or(p.name, p.module)+", once; this takes minutes", "into", out)
	if err := b.run(ctx, dir, out, p.pkg, p.cgo); err != nil {
		return "", err
	}
	b.Log.Info("built "+cmp.Or(p.name, p.module), "after", time.Since(began).Round(time.Second))
	return out, nil
}

func (b Builder) run(ctx context.Context, dir, out, pkg string, cgo bool) error {
	if err := os.MkdirAll(b.Cache, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out+".half", pkg)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if cgo {
		if _, err := exec.LookPath("gcc"); err != nil {
			b.Log.Warn("no gcc: this peer is built without cgo and compresses more slowly than its releases", "package", pkg)
		} else {
			cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
		}
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w", pkg, err)
	}
	return os.Rename(out+".half", out)
}

// digestOf changes whenever the program would.
func digestOf(dir string) (string, error) {
	h := sha256.New()
	found := false
	for _, pattern := range []string{"go.mod", "go.sum", "*.go"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return "", err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return "", err
			}
			found = true
			fmt.Fprintln(h, filepath.Base(file), len(text))
			_, _ = h.Write(text) // a hash never fails
		}
	}
	if !found {
		return "", errors.New("no Go module in " + dir)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
