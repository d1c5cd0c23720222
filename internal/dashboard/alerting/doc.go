// Package alerting translates what Grafana's alerting is provisioned with into
// what workspaces of Managed Prometheus have: alert and recording rules into rule
// groups, contact points, policies, mute timings and templates into the
// definition of an alert manager. It has no I/O. What has no counterpart there is
// refused, by field, instead of being translated into something else.
package alerting

import "fmt"

// Error says which field cannot be taken, and what can.
type Error struct{ Field, Message string }

// Error implements error.
func (e *Error) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

func wrong(field, format string, args ...any) error {
	return &Error{field, fmt.Sprintf(format, args...)}
}
