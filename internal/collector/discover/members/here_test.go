package members

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHere(t *testing.T) {
	host := func() (string, error) { return "host", nil }
	file := func(name string) ([]byte, error) {
		if name != namespaceFile {
			return nil, errors.New("no such file")
		}
		return []byte("prometheus\n"), nil
	}
	none := func(string) ([]byte, error) { return nil, errors.New("no such file") }
	in := "KUBERNETES_SERVICE_HOST"
	for _, tc := range []struct {
		env  map[string]string
		read func(string) ([]byte, error)
		want [2]string
		ok   bool
	}{
		{map[string]string{"POD_NAME": "p", "POD_NAMESPACE": "n"}, file, [2]string{}, false},
		{map[string]string{in: "1", "POD_NAME": "p", "POD_NAMESPACE": "n", "HOSTNAME": "h"}, file, [2]string{"n", "p"}, true},
		{map[string]string{in: "1", "HOSTNAME": "h"}, file, [2]string{"prometheus", "h"}, true},
		{map[string]string{in: "1"}, file, [2]string{"prometheus", "host"}, true},
		{map[string]string{in: "1"}, none, [2]string{"", "host"}, false},
	} {
		n, p, ok := here(func(k string) string { return tc.env[k] }, tc.read, host)
		require.Equal(t, tc.want, [2]string{n, p})
		require.Equal(t, tc.ok, ok)
	}
}
