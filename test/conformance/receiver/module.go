//go:build never

package receiver

// The suite has no code but tests and cannot be imported; this keeps its module
// among the requirements.
import _ "github.com/prometheus/compliance/remotewrite/receiver"
