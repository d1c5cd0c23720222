package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKubeWarningsAreSaidOnce(t *testing.T) {
	var out bytes.Buffer
	w := &kubeWarnings{log: slog.New(slog.NewTextHandler(&out, nil))}
	for range 3 {
		w.HandleWarningHeader(299, "-", "v1 Endpoints is deprecated")
		w.HandleWarningHeader(299, "-", "another")
		w.HandleWarningHeader(199, "-", "not one of these")
	}
	require.Equal(t, 1, strings.Count(out.String(), "v1 Endpoints is deprecated"))
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
}
