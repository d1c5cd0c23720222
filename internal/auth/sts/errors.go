package sts

import (
	"fmt"
	"net/http"
)

// Error is a refusal in the words and codes of AWS STS.
type Error struct {
	// Status is that of HTTP.
	Status  int
	Code    string
	Message string
	// Reason says to the operator what the message keeps from the caller. It
	// holds nothing secret. Empty where the message says it all.
	Reason string
	err    error
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Code + ": " + e.Message
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	return s
}

// Unwrap returns the cause, nil if there is none.
func (e *Error) Unwrap() error { return e.err }

// The codes of Error.
const (
	CodeValidation       = "ValidationError"
	CodeInvalidParameter = "InvalidParameterValue"
	CodeMalformedPolicy  = "MalformedPolicyDocument"
	CodePackedPolicy     = "PackedPolicyTooLarge"
	CodeAccessDenied     = "AccessDenied"
	CodeInvalidToken     = "InvalidIdentityToken"
	CodeExpiredToken     = "ExpiredTokenException"
	CodeRejectedClaim    = "IDPRejectedClaim"
	CodeIDPCommunication = "IDPCommunicationError"
)

func fail(code, format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: code, Message: fmt.Sprintf(format, args...)}
}

// denied is AccessDenied; the reason is not told.
func denied(reason, format string, args ...any) *Error {
	return &Error{Status: http.StatusForbidden, Code: CodeAccessDenied, Message: fmt.Sprintf(format, args...), Reason: reason}
}
