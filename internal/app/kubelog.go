package app

import (
	"log" //nolint:depguard // what others say to it is sent to a *slog.Logger
	"log/slog"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// useKubeLog sends what client-go has to say, which it says to the whole
// process, to our logger, and the API server's warnings once each: discovery
// meets the same deprecation on every watch.
func useKubeLog(logger *slog.Logger) {
	logger = logger.With("component", "kubernetes-client")
	klog.SetSlogLogger(logger)
	rest.SetDefaultWarningHandler(&kubeWarnings{log: logger})
}

// useStandardLog sends to our logger what packages say to Go's own, which is the
// whole process' too: net/http's clients do so of answers that nobody asked for.
func useStandardLog(logger *slog.Logger) {
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(logger.With("component", "go").Handler(), slog.LevelWarn).Writer())
}

// kubeWarnings logs each different warning once.
type kubeWarnings struct {
	log  *slog.Logger
	seen sync.Map
}

// maxKubeWarning bounds what a server can make us remember of one warning.
const maxKubeWarning = 512

// HandleWarningHeader implements rest.WarningHandler. Code 299 is the only one
// that the API server sends.
func (k *kubeWarnings) HandleWarningHeader(code int, _, text string) {
	if code != 299 || text == "" {
		return
	}
	text = text[:min(len(text), maxKubeWarning)]
	if _, before := k.seen.LoadOrStore(text, true); !before {
		k.log.Info("the API server warns, said once", "warning", text)
	}
}
