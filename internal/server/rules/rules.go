// Package rules evaluates recording and alerting rules. Its records are what
// Managed Prometheus calls rule groups namespaces: YAML files of rule groups,
// each with a name, kept in SQL. Its Manager runs Prometheus' own rule manager
// for every workspace that has rules, on that workspace's samples; results go in
// by the same way as samples from outside, under the same limits and counters,
// and alerts go to whom the Manager was told to give them.
//
// A namespace is the "file" of its groups in Prometheus' API.
package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/mangru/mangru/internal/server/workspace"
)

// Errors of the records are the workspaces', so that they are answered alike.
// Those about a namespace have its name as their ID.
type (
	// InvalidError names the input that is wrong.
	InvalidError = workspace.InvalidError
	// ConflictError says that the call and the namespace's state do not fit.
	ConflictError = workspace.ConflictError
	// QuotaError says that a bound is reached.
	QuotaError = workspace.QuotaError
	// NotFoundError says that there is no such namespace.
	NotFoundError = workspace.NotFoundError
)

func notFound(name string) error {
	return &NotFoundError{Type: workspace.TypeRuleNamespace, ID: name}
}

func isNotFound(err error) bool {
	var missing *NotFoundError
	return errors.As(err, &missing)
}

const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
	maxToken    = 64
	// maxNames bounds the name of a namespace and of a group in it, in bytes.
	maxNames = 721
)

func checkName(name string) error {
	if !workspace.ValidNamespace(name) {
		return &InvalidError{Field: "name", Message: "allowed are 1 to 128 characters, at least one of them a letter or a digit"}
	}
	return nil
}

var validTag = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return &InvalidError{Field: "tags", Message: fmt.Sprintf("%d tags, allowed are %d", len(tags), maxTags)}
	}
	for k, v := range tags {
		if n := utf8.RuneCountInString(k); n < 1 || n > maxTagKey || !validTag.MatchString(k) {
			return &InvalidError{Field: "tags", Message: fmt.Sprintf("key %q: allowed are 1 to %d letters, digits, spaces and _.:/=+-@", k, maxTagKey)}
		}
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return &InvalidError{Field: "tags", Message: fmt.Sprintf("key %q: the prefix aws: is reserved", k)}
		}
		if utf8.RuneCountInString(v) > maxTagValue || !validTag.MatchString(v) {
			return &InvalidError{Field: "tags", Message: fmt.Sprintf("value of %q: allowed are 0 to %d letters, digits, spaces and _.:/=+-@", k, maxTagValue)}
		}
	}
	return nil
}

func checkToken(token string) error {
	if len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r < '!' || r > '~' }) {
		return &InvalidError{Field: "clientToken", Message: fmt.Sprintf("allowed are 1 to %d printable ASCII characters", maxToken)}
	}
	return nil
}

func encodeTags(tags map[string]string) string {
	if tags == nil {
		tags = map[string]string{}
	}
	b, _ := json.Marshal(tags) // strings always encode
	return string(b)
}

func hashInput(parts ...string) string {
	b, _ := json.Marshal(parts)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
