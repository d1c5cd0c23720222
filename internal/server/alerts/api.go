package alerts

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// base is where Alertmanager has its API.
const base = "/api/v2"

// ServeWorkspace answers Alertmanager's API for a workspace; path is what comes
// after api/v2, such as "/silences", and percent-encoded. A workspace without a
// definition answers 412. The error, if any, is one for the caller to answer.
func (m *Manager) ServeWorkspace(w http.ResponseWriter, r *http.Request, workspaceID, path string) error {
	i := m.instance(workspaceID)
	if i == nil {
		http.Error(w, "The workspace has no alert manager definition.", http.StatusPreconditionFailed)
		return nil
	}
	h, err := i.handler()
	if err != nil {
		return err
	}
	inner := r.Clone(r.Context())
	if inner.URL.Path, err = url.PathUnescape(base + path); err != nil {
		return &InvalidError{Field: "path", Message: "is not well encoded"}
	}
	inner.URL.RawPath = base + path
	// Browsers have no business here, and are not invited by headers.
	inner.Header.Del("Origin")
	if r.Method == http.MethodGet || r.Method == http.MethodHead || !strings.HasPrefix(path, "/silence") {
		h.ServeHTTP(w, inner)
		return nil
	}
	// A silence is on disk before it is said to be there.
	held := &held{header: w.Header(), status: http.StatusOK}
	h.ServeHTTP(held, inner)
	if held.status < http.StatusMultipleChoices {
		if _, err := i.keepSilences(); err != nil {
			return fmt.Errorf("keep silences of workspace %s: %w", workspaceID, err)
		}
	}
	w.WriteHeader(held.status)
	_, _ = w.Write(held.body.Bytes())
	return nil
}

// held is an answer that is not sent yet.
type held struct {
	header http.Header
	status int
	wrote  bool
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (h *held) Header() http.Header { return h.header }

// WriteHeader implements http.ResponseWriter.
func (h *held) WriteHeader(status int) {
	if !h.wrote {
		h.status, h.wrote = status, true
	}
}

// Write implements http.ResponseWriter.
func (h *held) Write(b []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	return h.body.Write(b)
}
