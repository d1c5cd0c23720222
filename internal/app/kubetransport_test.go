package app

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestKubeTransportFollowsItsFile(t *testing.T) {
	var auth string
	api := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { auth = r.Header.Get("Authorization") }))
	defer api.Close()
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}))
	dir := t.TempDir()
	file := filepath.Join(dir, "kubeconfig")
	write := func(user string, modified time.Time) {
		require.NoError(t, os.WriteFile(file, []byte(fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: %s}]
`, api.URL, ca, user)), 0o600))
		require.NoError(t, os.Chtimes(file, modified, modified))
	}
	k := &kubeTransport{file: file}
	defer k.CloseIdleConnections()
	get := func() error {
		auth = ""
		resp, err := (&http.Client{Transport: k}).Get(api.URL + "/api/v1/nodes/n/proxy/metrics")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	require.ErrorContains(t, get(), "kubeconfig", "the file may come late")
	start := time.Now()
	write("{token: one}", start)
	require.NoError(t, get())
	require.Equal(t, "Bearer one", auth)
	write("{token: two}", start.Add(time.Second))
	require.NoError(t, get())
	require.Equal(t, "Bearer two", auth)

	// An exec plugin brings the token.
	plugin := filepath.Join(dir, "plugin")
	require.NoError(t, os.WriteFile(plugin, []byte("#!/bin/sh\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"three\"}}'\n"), 0o700))
	write(fmt.Sprintf("{exec: {apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: %s}}", plugin), start.Add(2*time.Second))
	require.NoError(t, get())
	require.Equal(t, "Bearer three", auth)

	require.NoError(t, os.Remove(file))
	require.NoError(t, get(), "the file is being replaced")
}
