//go:build unix

package cluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// untar reads an archive into memory.
func untar(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[head.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"app": "binary", "conf/a.yaml": "a", "conf/sub/b.yaml": "b"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	images := []Image{
		{Tag: "app:1", Binary: filepath.Join(dir, "app"), Files: []string{filepath.Join(dir, "conf") + ":/etc/app", filepath.Join(dir, "conf/a.yaml")}},
		{Tag: "other:1", Binary: filepath.Join(dir, "app"), Name: "renamed"},
	}
	var first, second bytes.Buffer
	for _, out := range []*bytes.Buffer{&first, &second} {
		if err := writeArchive(out, images); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same files give different archives")
	}

	files := untar(t, first.Bytes())
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 2 || !slices.Equal(manifest[0].RepoTags, []string{"app:1"}) {
		t.Fatalf("manifest: %+v", manifest)
	}
	for i, m := range manifest {
		var config struct {
			Config struct{ Entrypoint []string }
			RootFS struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		if err := json.Unmarshal(files[m.Config], &config); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(files[m.Layers[0]])
		if want := "sha256:" + hex.EncodeToString(sum[:]); !slices.Equal(config.RootFS.DiffIDs, []string{want}) {
			t.Errorf("image %d: layers %v, want %s", i, config.RootFS.DiffIDs, want)
		}
		if want := []string{"/app", "/renamed"}[i]; !slices.Equal(config.Config.Entrypoint, []string{want}) {
			t.Errorf("image %d: entry point %v, want %s", i, config.Config.Entrypoint, want)
		}
	}
	layer := untar(t, files[manifest[0].Layers[0]])
	for name, want := range map[string]string{"app": "binary", "etc/app/a.yaml": "a", "etc/app/sub/b.yaml": "b", "a.yaml": "a"} {
		if got := string(layer[name]); got != want {
			t.Errorf("%s in the image: %q, want %q", name, got, want)
		}
	}
	if _, ok := untar(t, files[manifest[1].Layers[0]])["renamed"]; !ok {
		t.Error("the second image has no program under its new name")
	}
}

func TestImageIsChecked(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, img := range []Image{
		{Tag: "app", Binary: script}, {Tag: "app:latest", Binary: script}, {Tag: "host:5000/app", Binary: script}, {Tag: "app:", Binary: script},
		{Tag: "app:1", Binary: script}, {Tag: "app:1", Binary: "/nonexistent"},
	} {
		var usage *UsageError
		if err := img.check(); !errors.As(err, &usage) {
			t.Errorf("%+v: %v, want a refusal", img, err)
		}
	}
}

func TestBrokenFileBreaksTheArchive(t *testing.T) {
	err := writeArchive(io.Discard, []Image{{Tag: "a:1", Binary: t.TempDir()}})
	if err == nil {
		t.Error("a directory was taken for a program")
	}
}
