package provision_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/mangru/mangru/internal/dashboard/provision"
	"github.com/mangru/mangru/internal/dashboard/records"
	"github.com/mangru/mangru/internal/db"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ws = "g-1"

func store(t *testing.T) *records.Store {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	s, err := records.New(d, make([]byte, 32), nil)
	require.NoError(t, err)
	return s
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
}

func board(uid, title string) string {
	return fmt.Sprintf(`{"id":77,"uid":%q,"title":%q,"panels":[]}`, uid, title)
}

// seen lists the boards of the workspace as "folder/title".
func seen(t *testing.T, s *records.Store) []string {
	t.Helper()
	folders, err := s.Folders(t.Context(), ws)
	require.NoError(t, err)
	path := func(uid string) (p string) {
		for uid != "" {
			for _, f := range folders {
				if f.UID == uid {
					p, uid = f.Title+"/"+p, f.ParentUID
					break
				}
			}
		}
		return p
	}
	boards, err := s.Boards(t.Context(), ws)
	require.NoError(t, err)
	list := []string{}
	for _, b := range boards {
		list = append(list, path(b.FolderUID)+b.Title)
	}
	return list
}

func TestDirectory(t *testing.T) {
	s, dir := store(t), t.TempDir()
	write(t, dir, "a.json", board("a", "A"))
	write(t, dir, "Platform/Nodes/b.json", board("b", "B"))
	write(t, dir, "Platform/c.json", `{"title":"C without uid"}`)
	write(t, dir, "..data/b.json", board("b", "what a mounted ConfigMap keeps beside its links"))
	providers, err := provision.ReadProviders(dir)
	require.NoError(t, err)
	require.Len(t, providers, 1)
	p := providers[0]
	require.NoError(t, provision.Once(t.Context(), s, ws, p))
	require.Equal(t, []string{"A", "Platform/Nodes/B", "Platform/C without uid"}, seen(t, s))

	require.NoError(t, provision.Once(t.Context(), s, ws, p))
	b, err := s.Board(t.Context(), ws, "b")
	require.NoError(t, err)
	require.EqualValues(t, 1, b.Version, "nothing changed, nothing was saved")

	_, err = s.SaveBoard(t.Context(), ws, records.SaveInput{Board: []byte(board("b", "by hand")), Overwrite: true, By: "ada"})
	require.ErrorIs(t, err, records.ErrProvisioned)
	require.ErrorIs(t, s.DeleteBoard(t.Context(), ws, "b", ""), records.ErrDeleteProvision)

	// A file that is no board takes nothing away and does not keep others out.
	write(t, dir, "a.json", `{"title":`)
	write(t, dir, "d.json", board("b", "D"))
	write(t, dir, "e.json", board("e", "E"))
	err = provision.Once(t.Context(), s, ws, p)
	require.ErrorContains(t, err, "board a.json: not a dashboard")
	require.ErrorContains(t, err, "board d.json: its uid b is that of Platform/Nodes/b.json")
	require.Equal(t, []string{"A", "E", "Platform/Nodes/B", "Platform/C without uid"}, sortedSeen(t, s))

	require.NoError(t, os.RemoveAll(filepath.Join(dir, "Platform")))
	require.NoError(t, os.Remove(filepath.Join(dir, "d.json")))
	write(t, dir, "a.json", board("a", "A2"))
	require.NoError(t, provision.Once(t.Context(), s, ws, p))
	require.Equal(t, []string{"A2", "E"}, seen(t, s))

	require.NoError(t, os.RemoveAll(dir))
	require.Error(t, provision.Once(t.Context(), s, ws, p))
	require.Equal(t, []string{"A2", "E"}, seen(t, s), "a directory that cannot be read changes nothing")
}

func sortedSeen(t *testing.T, s *records.Store) []string {
	t.Helper()
	list := seen(t, s)
	require.Len(t, list, 4)
	return []string{list[0], list[3], list[1], list[2]}
}

func TestProviderFiles(t *testing.T) {
	t.Setenv("BOARDS", "boards")
	s, dir := store(t), t.TempDir()
	write(t, dir, "one.yaml", `
apiVersion: 1
providers:
  - name: editable
    orgId: 1
    folder: Team
    folderUid: team
    type: file
    disableDeletion: true
    allowUiUpdates: true
    updateIntervalSeconds: 3
    options: {path: $BOARDS}
`)
	write(t, dir, "boards/a.json", board("a", "A"))
	providers, err := provision.ReadProviders(dir)
	require.NoError(t, err)
	require.Equal(t, []provision.Provider{{
		Name: "editable", Folder: "Team", FolderUID: "team", Path: filepath.Join(dir, "boards"), Editable: true, Keep: true, Every: 3 * time.Second,
	}}, providers)
	p := providers[0]
	require.NoError(t, provision.Once(t.Context(), s, ws, p))

	// People may change it, and keep their change until the file changes.
	_, err = s.SaveBoard(t.Context(), ws, records.SaveInput{Board: []byte(board("a", "by hand")), FolderUID: "team", Overwrite: true, By: "ada"})
	require.NoError(t, err)
	require.NoError(t, provision.Once(t.Context(), s, ws, p))
	require.Equal(t, []string{"Team/by hand"}, seen(t, s))
	write(t, dir, "boards/a.json", board("a", "A2"))
	require.NoError(t, provision.Once(t.Context(), s, ws, p))
	require.Equal(t, []string{"Team/A2"}, seen(t, s))

	require.NoError(t, os.Remove(filepath.Join(dir, "boards/a.json")))
	require.NoError(t, provision.Once(t.Context(), s, ws, p))
	require.Equal(t, []string{"Team/A2"}, seen(t, s), "disableDeletion")
}

func TestProviderErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown field": {"providers: [{name: a, pth: x}]", "one.yaml: yaml: unmarshal errors:\n  line 1: field pth not found"},
		"name":          {"providers: [{options: {path: /x}}]", "one.yaml: providers[0].name: is missing"},
		"type":          {"providers: [{name: a, type: git, options: {path: /x}}]", `providers[0].type: found "git", allowed is file`},
		"path":          {"providers: [{name: a}]", "providers[0].options.path: is missing"},
		"org":           {"providers: [{name: a, orgId: 2, options: {path: /x}}]", "providers[0].orgId: found 2, allowed is 1"},
		"both":          {"providers: [{name: a, folder: F, options: {path: /x, foldersFromFilesStructure: true}}]", "providers[0].folder: must be empty"},
		"twice":         {"providers: [{name: a, options: {path: /x}}, {name: a, options: {path: /y}}]", `provider name "a" is taken`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "one.yaml", c.text)
			_, err := provision.ReadProviders(dir)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := provision.ReadProviders(filepath.Join(t.TempDir(), "nowhere"))
	require.ErrorContains(t, err, "want a directory")
}

func TestConfigMaps(t *testing.T) {
	s := store(t)
	client := fake.NewClientset(configMap("one", "grafana_dashboard", map[string]string{"a.json": board("a", "A"), "readme.md": "no"}))
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		provision.ConfigMaps{Client: client, Label: "grafana_dashboard", Annotation: "grafana_folder"}.Watch(ctx, s, ws, slog.New(slog.DiscardHandler))
	}()
	defer func() { stop(); <-done }()
	is := func(want ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, want, seen(t, s)) }, 20*time.Second, 50*time.Millisecond)
	}
	maps := client.CoreV1().ConfigMaps("monitoring")
	is("Cluster/Nodes/A")
	_, err := maps.Create(ctx, configMap("other", "something", map[string]string{"x.json": board("x", "X")}), meta.CreateOptions{})
	require.NoError(t, err)
	_, err = maps.Create(ctx, configMap("two", "grafana_dashboard", map[string]string{"b.json": board("b", "B")}), meta.CreateOptions{})
	require.NoError(t, err)
	is("Cluster/Nodes/A", "Cluster/Nodes/B")
	_, err = maps.Update(ctx, configMap("two", "grafana_dashboard", map[string]string{"b.json": board("b", "B2")}), meta.UpdateOptions{})
	require.NoError(t, err)
	is("Cluster/Nodes/A", "Cluster/Nodes/B2")
	require.NoError(t, maps.Delete(ctx, "one", meta.DeleteOptions{}))
	is("Cluster/Nodes/B2")
}

func configMap(name, label string, data map[string]string) *core.ConfigMap {
	return &core.ConfigMap{
		ObjectMeta: meta.ObjectMeta{Namespace: "monitoring", Name: name, Labels: map[string]string{label: "1"}, Annotations: map[string]string{"grafana_folder": "Cluster/Nodes"}},
		Data:       data,
	}
}
