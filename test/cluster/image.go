//go:build unix

package cluster

import (
	"archive/tar"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// Image is a container image made of local files.
type Image struct {
	// Tag is a name with a version, which must not be "latest": for that the
	// kubelet would look elsewhere.
	Tag string
	// Binary is a static program, the image's entry point, at /NAME.
	Binary string
	// Name is the program's name in the image; empty means that of Binary.
	Name string
	// Files are further files or directories, as FILE (lands at the root) or
	// FILE:PATH.
	Files []string
}

const (
	pauseImage   = "pause:local"
	toolboxImage = "toolbox:local"
	coreDNSImage = "coredns:local"
)

func (i Image) check() error {
	_, version, ok := strings.Cut(path.Base(i.Tag), ":")
	if !ok || version == "" || version == "latest" {
		return &UsageError{fmt.Sprintf("image tag: found %q, wanted NAME:VERSION with a version other than latest, e.g. %s:dev",
			i.Tag, strings.TrimSuffix(i.Tag, ":latest"))}
	}
	f, err := elf.Open(i.Binary)
	if err != nil {
		return &UsageError{fmt.Sprintf("image binary %s: %v; wanted a static Linux program", i.Binary, err)}
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return &UsageError{fmt.Sprintf("image binary %s is dynamically linked and the image holds no libraries; build it with CGO_ENABLED=0", i.Binary)}
		}
	}
	return nil
}

func (i Image) entry() string { return "/" + either(i.Name, filepath.Base(i.Binary)) }

// writeArchive writes images in the form that "docker save" gives and
// containerd imports. The same files give the same bytes.
func writeArchive(w io.Writer, images []Image) error {
	out := tar.NewWriter(w)
	type entry struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var manifest []entry
	for _, img := range images {
		// Once for the digest and the size, once into the archive.
		digest := sha256.New()
		size, err := writeLayer(digest, img)
		if err != nil {
			return fmt.Errorf("image %s: %w", img.Tag, err)
		}
		layer := hex.EncodeToString(digest.Sum(nil))
		config, err := imageConfig(img, layer)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(config)
		e := entry{Config: hex.EncodeToString(sum[:]) + ".json", RepoTags: []string{img.Tag}, Layers: []string{layer + "/layer.tar"}}
		manifest = append(manifest, e)
		if err := addFile(out, e.Config, config); err != nil {
			return err
		}
		if err := out.WriteHeader(&tar.Header{Name: e.Layers[0], Mode: 0o644, Size: size}); err != nil {
			return err
		}
		if _, err := writeLayer(out, img); err != nil {
			return fmt.Errorf("image %s: %w", img.Tag, err)
		}
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return err
	}
	if err := addFile(out, "manifest.json", text); err != nil {
		return err
	}
	return out.Close()
}

func imageConfig(img Image, layer string) ([]byte, error) {
	type settings struct {
		Entrypoint, Env []string
		WorkingDir      string
	}
	return json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      "1970-01-01T00:00:00Z",
		"config":       settings{Entrypoint: []string{img.entry()}, Env: []string{"PATH=/"}, WorkingDir: "/"},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layer}},
	})
}

func addFile(out *tar.Writer, name string, text []byte) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := out.Write(text)
	return err
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// writeLayer writes the image's file system and returns its size.
func writeLayer(w io.Writer, img Image) (int64, error) {
	count := &counter{w: w}
	out := tar.NewWriter(count)
	for _, dir := range []string{"etc/", "tmp/"} {
		mode := int64(0o755)
		if dir == "tmp/" {
			mode = 0o1777
		}
		if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: mode}); err != nil {
			return 0, err
		}
	}
	users := "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n"
	if err := addFile(out, "etc/passwd", []byte(users)); err != nil {
		return 0, err
	}
	if err := addFile(out, "etc/group", []byte("root:x:0:\nnogroup:x:65534:\n")); err != nil {
		return 0, err
	}
	if err := copyFile(out, img.Binary, img.entry(), 0o755); err != nil {
		return 0, err
	}
	for _, spec := range img.Files {
		from, to, ok := strings.Cut(spec, ":")
		if !ok {
			to = "/" + filepath.Base(from)
		}
		if err := copyTree(out, from, to); err != nil {
			return 0, err
		}
	}
	err := out.Close()
	return count.n, err
}

// copyTree adds a file, or a directory with all that is in it, in order of name.
func copyTree(out *tar.Writer, from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		return copyFile(out, name, path.Join(to, filepath.ToSlash(rel)), info.Mode().Perm())
	})
}

func copyFile(out *tar.Writer, from, to string, mode fs.FileMode) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", from)
	}
	head := &tar.Header{Name: strings.TrimPrefix(path.Clean(to), "/"), Mode: int64(mode), Size: info.Size()}
	if err := out.WriteHeader(head); err != nil {
		return err
	}
	if _, err := io.Copy(out, f); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
}

// saveArchive writes images to a file.
func saveArchive(file string, images []Image) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	return writeArchive(f, images)
}
