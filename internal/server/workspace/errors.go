package workspace

import "errors"

// ErrNotFound says that there is no such workspace in the account.
var ErrNotFound = errors.New("workspace not found")

// The types of resources, as errors and ARNs name them.
const (
	TypeWorkspace       = "workspace"
	TypeConfiguration   = "workspaceconfiguration"
	TypePolicy          = "resourcepolicy"
	TypeLogging         = "loggingconfiguration"
	TypeQueryLogging    = "queryloggingconfiguration"
	TypeScraper         = "scraper"
	TypeScraperLogging  = "scraperloggingconfiguration"
	TypeRuleNamespace   = "rulegroupsnamespace"
	TypeAlertDefinition = "alertmanagerdefinition"
)

// NotFoundError says that there is nothing of a type but workspaces, for which
// there is ErrNotFound.
type NotFoundError struct{ Type, ID string }

// Error implements error.
func (e *NotFoundError) Error() string { return e.Type + " not found: " + e.ID }

// InvalidError names the input that is wrong.
type InvalidError struct{ Field, Message string }

// Error implements error.
func (e *InvalidError) Error() string { return e.Field + ": " + e.Message }

// RefusedError says that a call is well formed and cannot be served all the
// same.
type RefusedError struct{ Message string }

// Error implements error.
func (e *RefusedError) Error() string { return e.Message }

// ConflictError says that the call and the resource's state do not fit. An empty
// Type is a workspace.
type ConflictError struct{ Type, ID, Message string }

// Error implements error.
func (e *ConflictError) Error() string { return e.Message }

// QuotaError says that a bound on records is reached. An empty Type is a
// workspace, and without an ID all of an account's are meant. Code is AWS' code
// of the quota.
type QuotaError struct{ Type, ID, Code, Message string }

// Error implements error.
func (e *QuotaError) Error() string { return e.Message }

// isCallers reports whether an error is the caller's own doing.
func isCallers(err error) bool {
	var missing *NotFoundError
	var invalid *InvalidError
	var refused *RefusedError
	var conflict *ConflictError
	var quota *QuotaError
	return errors.Is(err, ErrNotFound) || errors.As(err, &missing) || errors.As(err, &invalid) || errors.As(err, &refused) ||
		errors.As(err, &conflict) || errors.As(err, &quota)
}
