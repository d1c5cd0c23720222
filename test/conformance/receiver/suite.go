// Package receiver runs the Prometheus project's suite for remote-write receivers
// against the built program. It is a module of its own because the suite wants an
// older Prometheus than the one for senders.
package receiver

// What the suite, which is nothing but tests, is compiled with.
import (
	_ "github.com/golang/snappy"
	_ "github.com/prometheus/prometheus/config"
	_ "github.com/prometheus/prometheus/storage/remote/googleiam"
	_ "github.com/prometheus/sigv4"
	_ "github.com/stretchr/testify/require"
)
