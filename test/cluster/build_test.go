//go:build unix

package cluster

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testBuilder(t *testing.T) builder {
	t.Helper()
	source, err := sourceDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return builder{source: source, cache: t.TempDir(), log: slog.New(slog.DiscardHandler)}
}

func TestEveryComponentHasAVersionAndSums(t *testing.T) {
	b := testBuilder(t)
	for _, c := range components() {
		version, err := b.version(c)
		if err != nil || (c.Module != "") != strings.HasPrefix(version, "v") {
			t.Errorf("%s: version %q, %v", c.Name, version, err)
		}
		if c.Module == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(b.source, c.Dir, "go.sum")); err != nil {
			t.Error(err)
		}
	}
}

func TestFlags(t *testing.T) {
	c := component{Stamp: map[string]string{"b.v": "VERSION", "a.n": "NUMBER", "c.major": "MAJOR", "d.minor": "MINOR"}}
	want := "-s -w -X a.n=1.36.3 -X b.v=v1.36.3 -X c.major=1 -X d.minor=36"
	if got := c.flags("v1.36.3"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDigestFollowsTheSourcesOnly(t *testing.T) {
	source := fakeTree(t, map[string]string{
		"one/go.mod": "module one\n\nrequire (\n\texample.com/m v1.2.3 // indirect\n)\n", "one/go.sum": "a", "one/main.go": "package main", "one/main_test.go": "package main", "one/notes.txt": "x",
		"two/go.mod": "module two\n", "two/go.sum": "a",
	})
	b := builder{source: source}
	digest := func(dir string) string {
		t.Helper()
		d, err := b.digest(component{Name: dir, Dir: dir, Sources: []string{"."}}, "-s")
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	one, two := digest("one"), digest("two")
	change := func(file string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(source, file), []byte("changed"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"one/main_test.go", "one/notes.txt"} {
		change(file)
		if digest("one") != one {
			t.Errorf("%s: a change would rebuild", file)
		}
	}
	if version, err := b.version(component{Dir: "one", Module: "example.com/m"}); err != nil || version != "v1.2.3" {
		t.Errorf("version: %q, %v", version, err)
	}
	for _, file := range []string{"one/go.sum", "one/main.go", "one/go.mod"} {
		before := digest("one")
		change(file)
		if digest("one") == before {
			t.Errorf("%s: a change would not rebuild", file)
		}
	}
	if digest("two") != two {
		t.Error("a change of one component would rebuild another")
	}
}

func TestNothingIsBuiltThatIsInTheCache(t *testing.T) {
	b := testBuilder(t)
	var c component
	for _, c = range components() {
		if c.Name == "kubernetes" {
			break
		}
	}
	version, err := b.version(c)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := b.digest(c, c.flags(version))
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(b.cache, "kubernetes-"+version+"-"+digest)
	if err := os.Mkdir(want, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "/nonexistent") // no go command: a build would fail
	if got, err := b.one(t.Context(), c); err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}
