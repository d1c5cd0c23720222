package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/mangru/mangru/internal/server/workspace"
)

// headerWorkspace names the workspace to a localWrite.
const headerWorkspace = "X-Mangru-Workspace"

// localWrite sends a scraper's remote-write requests into this process' own
// workspaces: the server itself writes there, as its rules do.
type localWrite struct {
	serve func(w http.ResponseWriter, r *http.Request, workspaceID string) error
}

// RoundTrip implements http.RoundTripper.
func (l *localWrite) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer func() { _ = req.Body.Close() }()
	}
	w := &writeAnswer{header: make(http.Header)}
	err := l.serve(w, req, req.Header.Get(headerWorkspace))
	switch {
	case errors.Is(err, workspace.ErrNotFound):
		http.Error(w, "The workspace does not exist.", http.StatusNotFound)
	case err != nil:
		return nil, err // tried again, as when the network fails
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return &http.Response{Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: req}, nil
}

// writeAnswer takes an answer. Those to writes are short.
type writeAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *writeAnswer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *writeAnswer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

// Write implements http.ResponseWriter.
func (w *writeAnswer) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
