package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestArchive reads an image back: every part is there under its digest, the
// file system holds the program and nothing that runs as root, and it is the
// same every time.
func TestArchive(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "mangru")
	require.NoError(t, os.WriteFile(binary, bytes.Repeat([]byte("program "), 4096), 0o700))
	s := spec{Tag: "example.com/mangru:v9", Version: "v9", Arch: "arm64", Binary: binary}
	var first, second bytes.Buffer
	require.NoError(t, writeArchive(&first, s))
	require.NoError(t, writeArchive(&second, s))
	require.Equal(t, first.Bytes(), second.Bytes())

	files := read(t, &first)
	for name, data := range files {
		if digest, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			sum := sha256.Sum256(data)
			require.Equal(t, digest, hex.EncodeToString(sum[:]))
		}
	}
	var index struct {
		Manifests []struct {
			Digest      string
			Annotations map[string]string
		}
	}
	require.NoError(t, json.Unmarshal(files["index.json"], &index))
	require.Equal(t, s.Tag, index.Manifests[0].Annotations["io.containerd.image.name"])
	part := func(digest string) []byte { return files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")] }
	var manifest struct {
		Config blob
		Layers []blob
	}
	require.NoError(t, json.Unmarshal(part(index.Manifests[0].Digest), &manifest))
	var config struct {
		Architecture string
		Config       struct {
			User       string
			Entrypoint []string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	require.NoError(t, json.Unmarshal(part(manifest.Config.Digest), &config))
	require.Equal(t, "arm64", config.Architecture)
	require.Equal(t, "65532:65532", config.Config.User)
	require.Equal(t, []string{"/mangru"}, config.Config.Entrypoint)
	unzip, err := gzip.NewReader(bytes.NewReader(part(manifest.Layers[0].Digest)))
	require.NoError(t, err)
	plain, err := io.ReadAll(unzip)
	require.NoError(t, err)
	sum := sha256.Sum256(plain)
	require.Equal(t, []string{"sha256:" + hex.EncodeToString(sum[:])}, config.RootFS.DiffIDs)
	layer := read(t, bytes.NewReader(plain))
	require.Len(t, layer["mangru"], 8*4096)
	require.Contains(t, string(layer["etc/passwd"]), "mangru:x:65532:65532:")
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(layer["etc/ssl/certs/ca-certificates.crt"]))
}

func read(t *testing.T, r io.Reader) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	in := tar.NewReader(r)
	for {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		data, err := io.ReadAll(in)
		require.NoError(t, err)
		files[head.Name] = data
	}
}

func TestBadInput(t *testing.T) {
	require.ErrorContains(t, run(spec{Tag: "mangru", Binary: "x"}, "y"), "NAME:VERSION")
	text := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(text, []byte("#!/bin/sh\n"), 0o700))
	require.ErrorContains(t, run(spec{Tag: "mangru:v1", Binary: text}, text+".tar"), "wanted a Linux program")
}

func TestFullName(t *testing.T) {
	for tag, want := range map[string]string{
		"mangru:v1": "docker.io/library/mangru:v1", "someone/mangru:v1": "docker.io/someone/mangru:v1",
		"registry.example/mangru:v1": "registry.example/mangru:v1", "localhost/mangru:v1": "localhost/mangru:v1", "host:5000/mangru:v1": "host:5000/mangru:v1",
	} {
		require.Equal(t, want, fullName(tag))
	}
}
