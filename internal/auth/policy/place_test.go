package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlaceOf(t *testing.T) {
	const doc = `{
  "Version": "2012-10-17",
  "Statement": [
    {"Effect": "Allow", "Action": "a:b", "Resource": "*"},
    {
      "Effect": "Deny",
      "Action": "a:b", "Resource": "*",
      "Condition": {
        "Bool": {"aws:SecureTransport": "no"}
      }
    }
  ]
}`
	for change, want := range map[string]Position{
		`"no"`:                     {9, 18},
		`"Allow", "Action": "a:b"`: {4, 25},
		`"Deny"`:                   {6, 7},
		`"Bool"`:                   {9, 9},
		`"2012-10-17"`:             {2, 3},
		"]\n}":                     {13, 1},
		`"Action": "a:b", "Resource": "*",` + "\n": {5, 5},
	} {
		broken := strings.Replace(doc, change, map[string]string{
			`"Allow", "Action": "a:b"`: `"Allow", "Action": "b"`, `"Deny"`: `"Refuse"`, `"Bool"`: `"Boolean"`, `"2012-10-17"`: `"2013-10-17"`,
			"]\n}": "\n}", `"no"`: `"no"`, `"Action": "a:b", "Resource": "*",` + "\n": `"Resource": "*",` + "\n",
		}[change], 1)
		_, err := Parse([]byte(broken), Identity)
		require.Error(t, err, change)
		at, ok := PlaceOf([]byte(broken), err)
		require.True(t, ok, err)
		require.Equal(t, want, at, err)
	}
	_, ok := PlaceOf([]byte(doc), nil)
	require.False(t, ok)
}
