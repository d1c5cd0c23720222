//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// browser signs in with a real Chromium, walks home, Explore and the boards
// given, in dark and light, and fails on a console error, a panel that shows an
// error, or one without data. It leaves screenshots in shots and returns, for
// each board, the text of single-value panels by title, and of tables by
// "table TITLE" with a row a line and " | " between cells.
func browser(t *testing.T, s *site, boards []string, shots string) map[string]map[string]string {
	t.Helper()
	require.NoError(t, os.MkdirAll(shots, 0o755))
	values := filepath.Join(t.TempDir(), "values.json")
	cmd := exec.CommandContext(t.Context(), "npm", "run", "--silent", "test:live")
	cmd.Dir = filepath.Join(root, "web")
	cmd.Env = append(os.Environ(), "MANGRU_UI="+s.ui, "MANGRU_LOGIN_TOKEN="+s.token,
		"MANGRU_BOARDS="+strings.Join(boards, ","), "MANGRU_SHOTS="+shots, "MANGRU_VALUES="+values)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("browser:\n%s", tail(string(out), 12))
	text, err := os.ReadFile(values)
	require.NoError(t, err)
	t.Logf("what the panels say: %s", text)
	var got map[string]map[string]string
	require.NoError(t, json.Unmarshal(text, &got))
	return got
}
