// Package webidentity verifies the tokens by which workloads and people prove
// who they are without a key of ours: JSON Web Tokens (RFC 7519) signed by an
// OpenID Connect issuer, such as the service-account tokens of a Kubernetes
// cluster.
//
// A token is read by Parse, which decides nothing: it only tells the issuer
// that the token claims, so that the caller can look up what it knows about
// that issuer. Verifier.Verify then checks signature, times and audience. The
// algorithms are pinned, a key fits exactly the algorithms of its type, and
// header members that point to keys (jku, jwk, x5u, x5c) are never followed.
//
// Public keys come from the issuer's discovery document, from an address of the
// issuer inside a network that the public one is not reachable from, or from a
// static key set.
package webidentity

import "fmt"

// Reason says why a token was refused. It is a label of the metrics.
type Reason string

// The reasons.
const (
	// ReasonMalformed: not a token, too large, or says something twice.
	ReasonMalformed Reason = "malformed"
	// ReasonAlgorithm: an algorithm that is not in the list, or a critical
	// extension.
	ReasonAlgorithm Reason = "algorithm"
	// ReasonClaim: a required claim is missing or has the wrong type.
	ReasonClaim Reason = "claim"
	// ReasonIssuer: not the issuer that the caller expects.
	ReasonIssuer Reason = "issuer"
	// ReasonKey: the issuer has no such key.
	ReasonKey Reason = "key"
	// ReasonSignature: the signature does not match.
	ReasonSignature Reason = "signature"
	// ReasonExpired: the time of exp has passed.
	ReasonExpired Reason = "expired"
	// ReasonNotYet: the times of nbf or iat are ahead.
	ReasonNotYet Reason = "not_yet"
	// ReasonAudience: meant for somebody else.
	ReasonAudience Reason = "audience"
	// ReasonUnreachable: the issuer's keys could not be fetched; trying again
	// may help.
	ReasonUnreachable Reason = "unreachable"
	// ReasonDiscovery: the issuer answered, but not with what an issuer of this
	// name has to answer.
	ReasonDiscovery Reason = "discovery"
)

// Error says why a token is refused. Its text is for logs: it holds nothing of
// the token but the names that the token's sender chose, shortened and quoted.
type Error struct {
	Reason Reason
	// Claim is the name of the claim for ReasonClaim.
	Claim string
	text  string
	err   error
}

// Error implements error.
func (e *Error) Error() string {
	if e.err != nil {
		return "web identity token: " + e.text + ": " + e.err.Error()
	}
	return "web identity token: " + e.text
}

// Unwrap returns what went wrong below, nil if nothing did.
func (e *Error) Unwrap() error { return e.err }

func refuse(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, text: fmt.Sprintf(format, args...)}
}

// Text is what is wrong, without a prefix.
func (e *Error) Text() string { return e.text }

// shown is how a name that a stranger chose appears in an error.
func shown(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "..."
	}
	return fmt.Sprintf("%q", s)
}
