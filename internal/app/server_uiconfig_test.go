package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUISettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	require.NoError(t, os.WriteFile(file, []byte("ui:\n  listen: 127.0.0.1:0\n  url: https://m.example\n  refuse_addresses: [10.0.0.0/8, \"fd00::/8\"]\n  own_credentials: true\n"), 0o600))
	cfg, err := LoadServerConfig(file)
	require.NoError(t, err)
	require.Len(t, cfg.UI.RefuseAddresses, 2)
	require.True(t, cfg.UI.OwnCredentials)
	for text, want := range map[string]string{"ui:\n  refuse_addresses: [nonsense]\n": "refuse_addresses", "ui:\n  url: x\n": "ui.url", "ui:\n  listen: \"\"\n  url: https://m.example\n": "ui.listen"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		cfg, err := LoadServerConfig(file)
		if err == nil {
			err = cfg.Validate()
		}
		require.ErrorContains(t, err, want, text)
	}
}
