package app

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCredentialsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	_, err := readCredentials(file)
	require.True(t, isMissing(err))

	want := credentials{AccessKey: "AKIAEXAMPLE", SecretKey: "a+/secret="}
	require.NoError(t, writeCredentials(file, want))
	got, err := readCredentials(file)
	require.NoError(t, err)
	require.Equal(t, want, got)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".credentials-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestCredentialsFileOfOtherTools(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("[other]\naws_access_key_id=x\n\n; note\n[default]\nAWS_ACCESS_KEY_ID=a\naws_secret_access_key = b=c \nregion = here\n")
	got, err := readCredentials(file)
	require.NoError(t, err)
	require.Equal(t, credentials{AccessKey: "a", SecretKey: "b=c"}, got)
	write("[default]\nnonsense\n")
	_, err = readCredentials(file)
	require.ErrorContains(t, err, "credentials:2: neither")
	write("[default]\naws_access_key_id = a\n")
	_, err = readCredentials(file)
	require.ErrorContains(t, err, "needs aws_access_key_id and aws_secret_access_key")
}

func TestStagesStopInOrderWhateverEndsThem(t *testing.T) {
	broken := errors.New("broken")
	for _, failing := range []int{-1, 0, 1, 2} {
		var order []string
		ctx, cancel := context.WithCancel(t.Context())
		started := make(chan struct{}, 3)
		fail := make(chan struct{})
		var list []stage
		for i, name := range []string{"first", "second", "third"} {
			list = append(list, stage{name, func(ctx context.Context) error {
				started <- struct{}{}
				if i == failing {
					<-fail
					return broken
				}
				<-ctx.Done()
				order = append(order, name) // one stops after the other: no lock needed
				return ctx.Err()
			}})
		}
		done := make(chan error)
		go func() { done <- runStages(ctx, list) }()
		for range list {
			<-started
		}
		if failing < 0 {
			cancel()
			require.NoError(t, <-done)
			require.Equal(t, []string{"first", "second", "third"}, order)
		} else {
			close(fail)
			err := <-done
			require.ErrorIs(t, err, broken)
			require.ErrorContains(t, err, list[failing].name+": broken")
			require.Len(t, order, 2)
			cancel()
		}
	}
}

const kubeconfigText = `
apiVersion: v1
kind: Config
clusters:
- {name: "arn:aws:eks:ap-northeast-2:123456789012:cluster/shop", cluster: {server: "https://api.example"}}
contexts:
- {name: c, context: {cluster: "arn:aws:eks:ap-northeast-2:123456789012:cluster/shop", user: u}}
current-context: c
users: [{name: u, user: {}}]
`

func TestFindWatched(t *testing.T) {
	dir, home := t.TempDir(), t.TempDir()
	file := filepath.Join(dir, "config")
	require.NoError(t, os.WriteFile(file, []byte(kubeconfigText), 0o600))
	env := map[string]string{}
	getenv := func(k string) string { return env[k] }

	w, err := findWatched("", getenv, home)
	require.NoError(t, err)
	require.False(t, w.isCluster(), "nothing anywhere: this machine")

	want := watched{kubeconfig: file, cluster: "shop", server: "https://api.example"}
	w, err = findWatched(file, getenv, home)
	require.NoError(t, err)
	require.Equal(t, want, w)

	env["KUBECONFIG"] = filepath.Join(dir, "none") + string(os.PathListSeparator) + file
	w, err = findWatched("", getenv, home)
	require.NoError(t, err)
	require.Equal(t, want, w)
	env["KUBECONFIG"] = filepath.Join(dir, "none")
	_, err = findWatched("", getenv, home)
	require.ErrorContains(t, err, "$KUBECONFIG names no file that exists")

	env = map[string]string{}
	require.NoError(t, os.MkdirAll(filepath.Join(home, ".kube"), 0o700))
	require.NoError(t, os.Rename(file, filepath.Join(home, ".kube", "config")))
	w, err = findWatched("", getenv, home)
	require.NoError(t, err)
	require.Equal(t, "shop", w.cluster)

	_, err = findWatched(filepath.Join(dir, "none"), getenv, home)
	var exit *ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, exitUsage, exit.Code)
}

func TestClusterName(t *testing.T) {
	for in, want := range map[string]string{
		"kind-dev": "kind-dev", "prod.us-east-1.eksctl.io": "prod",
		"arn:aws:eks:us-east-1:123456789012:cluster/prod": "prod",
	} {
		require.Equal(t, want, clusterName(in))
	}
}
