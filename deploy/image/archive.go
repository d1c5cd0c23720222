package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is the name and number that the program runs as.
const user = 65532

// spec says what is in an image.
type spec struct {
	Tag, Version, Arch string
	Binary             string
}

// blob is a content-addressed part of an image.
type blob struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`

	data []byte
}

func newBlob(mediaType string, data []byte) blob {
	sum := sha256.Sum256(data)
	return blob{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data)), data: data}
}

func (b blob) path() string { return "blobs/sha256/" + b.Digest[len("sha256:"):] }

// writeArchive writes an image as an OCI layout in a tar, which docker load,
// podman load and ctr images import read. The same binary gives the same bytes.
func writeArchive(w io.Writer, s spec) error {
	layer, diffID, err := layerOf(s)
	if err != nil {
		return err
	}
	config, err := configOf(s, diffID)
	if err != nil {
		return err
	}
	manifest, err := jsonBlob("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": []blob{layer},
	})
	if err != nil {
		return err
	}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
		"manifests": []any{map[string]any{
			"mediaType": manifest.MediaType, "digest": manifest.Digest, "size": manifest.Size,
			"platform":    map[string]string{"architecture": s.Arch, "os": "linux"},
			"annotations": map[string]string{"io.containerd.image.name": fullName(s.Tag), "org.opencontainers.image.ref.name": s.Version},
		}},
	})
	if err != nil {
		return err
	}
	// What docker load reads.
	docker, err := json.Marshal([]any{map[string]any{"Config": config.path(), "RepoTags": []string{s.Tag}, "Layers": []string{layer.path()}}})
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", index}, {"manifest.json", docker},
		{manifest.path(), manifest.data}, {config.path(), config.data}, {layer.path(), layer.data},
	} {
		if err := addFile(out, f.name, 0o644, f.data); err != nil {
			return err
		}
	}
	return out.Close()
}

// fullName is how containerd, and so the kubelet, calls an image whose name
// leaves out its registry.
func fullName(tag string) string {
	first, _, more := strings.Cut(tag, "/")
	switch {
	case !more:
		return "docker.io/library/" + tag
	case strings.ContainsAny(first, ".:") || first == "localhost":
		return tag
	}
	return "docker.io/" + tag
}

func jsonBlob(mediaType string, v any) (blob, error) {
	b, err := json.Marshal(v)
	return newBlob(mediaType, b), err
}

func configOf(s spec, diffID string) (blob, error) {
	return jsonBlob("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": s.Arch, "os": "linux", "created": "1970-01-01T00:00:00Z",
		"config": map[string]any{
			"Entrypoint": []string{"/mangru"}, "User": fmt.Sprintf("%d:%d", user, user), "WorkingDir": "/",
			"Env": []string{"PATH=/"},
			"Labels": map[string]string{
				"org.opencontainers.image.title": "mangru", "org.opencontainers.image.version": s.Version,
				"org.opencontainers.image.licenses": "Apache-2.0",
			},
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{diffID}},
		"history": []any{map[string]any{"created": "1970-01-01T00:00:00Z", "created_by": "make image"}},
	})
}

// layerOf makes the file system: the program, the two files that give its user
// a name, root certificates where Go programs look for them, and /tmp. Time
// zones are in the program.
func layerOf(s spec) (layer blob, diffID string, err error) {
	program, err := os.ReadFile(s.Binary)
	if err != nil {
		return blob{}, "", err
	}
	var zipped bytes.Buffer
	compress := gzip.NewWriter(&zipped)
	plain := sha256.New()
	out := tar.NewWriter(io.MultiWriter(compress, plain))
	var errs []error
	for _, dir := range []tar.Header{{Name: "etc/", Mode: 0o755}, {Name: "etc/ssl/", Mode: 0o755}, {Name: "etc/ssl/certs/", Mode: 0o755}, {Name: "tmp/", Mode: 0o1777}} {
		dir.Typeflag = tar.TypeDir
		errs = append(errs, out.WriteHeader(&dir))
	}
	errs = append(errs,
		addFile(out, "etc/passwd", 0o644, fmt.Appendf(nil, "root:x:0:0:root:/:/bin/false\nmangru:x:%d:%d:mangru:/:/bin/false\n", user, user)),
		addFile(out, "etc/group", 0o644, fmt.Appendf(nil, "root:x:0:\nmangru:x:%d:\n", user)),
		addFile(out, "etc/ssl/certs/ca-certificates.crt", 0o644, roots()),
		addFile(out, "mangru", 0o755, program),
		out.Close(), compress.Close())
	return newBlob("application/vnd.oci.image.layer.v1.tar+gzip", zipped.Bytes()), "sha256:" + hex.EncodeToString(plain.Sum(nil)), errors.Join(errs...)
}

// roots are the authorities that browsers trust, but for those that are trusted
// for a part of the names only, which a file cannot say.
func roots() []byte {
	var out bytes.Buffer
	for r := range bundle.Roots() {
		if r.Constraint == nil {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate}))
		}
	}
	return out.Bytes()
}

func addFile(out *tar.Writer, name string, mode int64, data []byte) error {
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}
