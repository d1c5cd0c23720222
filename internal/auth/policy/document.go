package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Kind says what a document is attached to, and so what it may contain.
type Kind int

// The kinds of documents.
const (
	// Identity documents are inline policies of users, groups and roles, and
	// session policies.
	Identity Kind = iota + 1
	// CustomerManaged documents are policies of their own, also as permissions
	// boundaries: Identity, but only in the present version of the language.
	CustomerManaged
	// Trust documents say who may assume a role.
	Trust
	// Resource documents are attached to a resource other than a role.
	Resource
)

// The versions of the language. Without a Version a document is in the old one,
// which has no variables.
const (
	Version2008 = "2008-10-17"
	Version2012 = "2012-10-17"
)

// Effect is what a statement does when it applies.
type Effect uint8

// The effects. The zero value is none: a statement that has it allows nothing.
const (
	Allow Effect = iota + 1
	Deny
)

// String implements fmt.Stringer.
func (e Effect) String() string {
	switch e {
	case Allow:
		return "Allow"
	case Deny:
		return "Deny"
	}
	return "invalid"
}

// Position is a place in a document: both start at 1, and the column counts
// bytes.
type Position struct{ Line, Column int }

// Document is a checked and compiled policy document. It is immutable and may
// be shared. Only Parse makes one that allows anything.
type Document struct {
	kind       Kind
	text       string
	version    string
	id         string
	statements []Statement
	keys       []string
}

// Statement is one statement of a document. Its slices are shared: do not
// change them.
type Statement struct {
	Sid    string
	Effect Effect
	// Actions or NotActions, and Resources or NotResources, are there as
	// written; trust policies have no resources.
	Actions, NotActions     []string
	Resources, NotResources []string
	// Start is at the opening brace, End after the closing one.
	Start, End Position

	principals   *principals
	notPrincipal bool
	actions      []string // lower-case patterns
	notAction    bool
	resources    []arnPattern
	notResource  bool
	conditions   []condition
}

// Kind returns what the document was parsed as.
func (d *Document) Kind() Kind { return d.kind }

// String returns the document as it was given to Parse.
func (d *Document) String() string { return d.text }

// Version returns the version of the language that the document is in.
func (d *Document) Version() string { return d.version }

// ID returns the document's Id, "" if it has none.
func (d *Document) ID() string { return d.id }

// Statements returns the statements in their order. Do not change them.
func (d *Document) Statements() []Statement { return d.statements }

// ContextKeys returns the condition keys that the document asks for, in
// conditions and variables, each once and as written.
func (d *Document) ContextKeys() []string { return slices.Clone(d.keys) }

// MalformedError says what is wrong with a document.
type MalformedError struct {
	// Message is AWS' message for MalformedPolicyDocument.
	Message string
	// Where is the place, such as Statement[2].Condition.StringEquals; Detail
	// says what was found there and what may be. Both may be empty.
	Where, Detail string
}

// Error implements error.
func (e *MalformedError) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Where != "" || e.Detail != "" {
		b.WriteString(" (")
		b.WriteString(e.Where)
		if e.Where != "" && e.Detail != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Detail)
		b.WriteByte(')')
	}
	return b.String()
}

// AWS' messages that more than one check uses.
const (
	msgSyntax      = "Syntax errors in policy."
	msgTrustJSON   = "This policy contains invalid Json"
	msgLegacy      = "The policy failed legacy parsing"
	msgVendor      = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	msgTrustAction = "AssumeRole policy may only specify STS AssumeRole actions."
)

// malformed makes a MalformedError; the detail is formatted.
func malformed(message, where, format string, args ...any) *MalformedError {
	return &MalformedError{Message: message, Where: where, Detail: fmt.Sprintf(format, args...)}
}
