package workspace

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Definition is a text that says how a part of a workspace works: a rule groups
// namespace, or the alert manager definition. Its records belong to those who
// act on it.
type Definition struct {
	// Name of the namespace; the alert manager definition has none.
	Name string
	// Data is the text as it was given. Lists may leave it out.
	Data                  []byte
	Status                Status
	StatusReason          string
	Tags                  map[string]string
	CreatedAt, ModifiedAt time.Time
}

// RuleNamespaceARN returns the name of a rule groups namespace, existing or not.
func RuleNamespaceARN(region, account, workspaceID, name string) string {
	return "arn:aws:aps:" + region + ":" + account + ":rulegroupsnamespace/" + workspaceID + "/" + name
}

// maxNamespace is the length of a namespace's name in characters.
const maxNamespace = 128

// ValidNamespace reports whether name can be that of a rule groups namespace.
func ValidNamespace(name string) bool {
	n := utf8.RuneCountInString(name)
	return n >= 1 && n <= maxNamespace && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) &&
		strings.ContainsFunc(name, func(r rune) bool { return r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
}
