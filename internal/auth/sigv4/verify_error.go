package sigv4

import "net/http"

// Reason says why a request was refused, for counters and for callers that
// speak another protocol than REST-JSON.
type Reason string

// The reasons of a refusal.
const (
	ReasonMissing      Reason = "missing"
	ReasonIncomplete   Reason = "incomplete"
	ReasonAlgorithm    Reason = "algorithm"
	ReasonService      Reason = "service"
	ReasonRegion       Reason = "region"
	ReasonSkew         Reason = "time"
	ReasonExpired      Reason = "expired" // a presigned URL beyond its X-Amz-Expires
	ReasonUnknownKey   Reason = "unknown_key"
	ReasonExpiredToken Reason = "expired_token"
	ReasonMismatch     Reason = "mismatch"
	ReasonPayload      Reason = "payload"
	ReasonBody         Reason = "body"
	ReasonTooLarge     Reason = "too_large"
	ReasonThrottled    Reason = "throttled" // too many unknown keys
)

const mismatchMessage = "The request signature we calculated does not match the signature you provided. " +
	"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."

// Error is a refusal in the words AWS uses. It is safe to show to the caller.
type Error struct {
	Status  int
	Code    string // the exception's name in REST-JSON
	Message string
	Reason  Reason
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// restCodes are the exception names of REST-JSON services.
var restCodes = map[Reason]string{
	ReasonMissing:      "MissingAuthenticationTokenException",
	ReasonIncomplete:   "IncompleteSignatureException",
	ReasonAlgorithm:    "IncompleteSignatureException",
	ReasonService:      "InvalidSignatureException",
	ReasonRegion:       "InvalidSignatureException",
	ReasonSkew:         "InvalidSignatureException",
	ReasonExpired:      "InvalidSignatureException",
	ReasonThrottled:    "ThrottlingException",
	ReasonUnknownKey:   "UnrecognizedClientException",
	ReasonExpiredToken: "ExpiredTokenException",
	ReasonMismatch:     "InvalidSignatureException",
	ReasonPayload:      "InvalidSignatureException",
}

func refuse(reason Reason, message string) *Error {
	status := http.StatusForbidden
	if reason == ReasonThrottled {
		status = http.StatusTooManyRequests
	}
	return refuseWith(status, restCodes[reason], reason, message)
}

// clip shortens what a caller sent, for an error that repeats it.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

func refuseWith(status int, code string, reason Reason, message string) *Error {
	return &Error{Status: status, Code: code, Message: message, Reason: reason}
}
