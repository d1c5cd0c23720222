// Package alerts tells people and machines about alerts. Its records are what
// Managed Prometheus calls the alert manager definition of a workspace: YAML with
// Alertmanager's configuration and the templates that it uses. Its Manager runs
// Alertmanager's own parts for every workspace that has a definition: routes,
// grouping, inhibition, silences, the log of what was told, and receivers.
//
// A definition is written by whoever may change a workspace, which is not whoever
// runs the server. So it can't name files of the server, borrow its credentials,
// or reach addresses that it is not allowed to: see Egress.
package alerts

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mangru/mangru/internal/server/workspace"
)

// Errors of the records are the workspaces', so that they are answered alike.
// Those about a definition have the workspace's id as their ID.
type (
	// InvalidError names the input that is wrong.
	InvalidError = workspace.InvalidError
	// ConflictError says that the call and the definition's state do not fit.
	ConflictError = workspace.ConflictError
	// NotFoundError says that the workspace has no definition.
	NotFoundError = workspace.NotFoundError
)

func isNotFound(err error) bool {
	var missing *NotFoundError
	return errors.As(err, &missing)
}

const maxToken = 64

func checkToken(token string) error {
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r < '!' || r > '~' }) {
		return &InvalidError{Field: "clientToken", Message: fmt.Sprintf("allowed are 1 to %d printable ASCII characters", maxToken)}
	}
	return nil
}

func hashInput(parts ...string) string {
	b, _ := json.Marshal(parts) // strings always encode
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
