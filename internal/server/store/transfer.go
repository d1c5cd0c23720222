package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// uploadsDir is the folder, in a workspace's, of archives that are on their way.
const uploadsDir = "uploads"

// uploadLife is how long an upload that nobody goes on with is kept.
const uploadLife = 24 * time.Hour

var validUpload = regexp.MustCompile(`^[0-9a-f-]{8,64}$`)

// ServeExport answers with a workspace's archive. Its length is not known before
// it has been made, and an archive that was cut off has no manifest.
func (s *Store) ServeExport(w http.ResponseWriter, r *http.Request, id string) error {
	out := &archiveWriter{w: w, rc: http.NewResponseController(w), id: id}
	err := s.Export(r.Context(), id, out)
	if err != nil && out.started {
		s.logger.Error("export ended early", "workspace", id, "err", err)
		// The connection is cut, so that the caller does not take it for all.
		panic(http.ErrAbortHandler)
	}
	return err
}

// writeStall is how long a piece of an archive may take to be read.
const writeStall = time.Minute

// archiveWriter sends the header with the first piece, so that until then an
// error can be answered.
type archiveWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	id      string
	started bool
}

// Write implements io.Writer.
func (a *archiveWriter) Write(b []byte) (int, error) {
	if !a.started {
		a.started = true
		a.w.Header().Set("Content-Type", "application/x-tar")
		a.w.Header().Set("Content-Disposition", `attachment; filename="`+a.id+`.tar"`)
	}
	_ = a.rc.SetWriteDeadline(time.Now().Add(writeStall)) // where that is not possible, the server's own is in force
	return a.w.Write(b)
}

// ServeImport takes a piece of an archive. Archives are large and each request is
// signed as a whole, so they come in pieces: upload names the archive, offset is
// the place of this piece. A piece that does not follow on what is there is
// answered with 409 and with what is there, so that an upload can go on after a
// failure. With last=true the archive is brought into the workspace.
func (s *Store) ServeImport(w http.ResponseWriter, r *http.Request, id string) error {
	q := r.URL.Query()
	upload := q.Get("upload")
	offset, ok := place(q.Get("offset"))
	if !ok || !validUpload.MatchString(upload) {
		http.Error(w, "upload: 8 to 64 hexadecimal digits and -, and offset: a number of bytes, are required", http.StatusBadRequest)
		return nil
	}
	if _, err := s.entry(id); err != nil {
		return err
	}
	if free, low := s.lowDisk(); low {
		return refuse(w, &UnavailableError{fmt.Sprintf("disk full: %d bytes free (setting store.min_free_disk)", free)})
	}
	path, err := s.uploadPath(id, upload)
	if err != nil {
		return err
	}
	have, err := appendPiece(path, offset, r.Body)
	if errors.Is(err, errWrongPlace) {
		answer(w, http.StatusConflict, map[string]any{"received": have, "error": "the piece does not follow on what was received"})
		return nil
	}
	if err != nil {
		return refuse(w, &UnavailableError{fmt.Sprintf("the piece could not be stored: %v", err)})
	}
	if q.Get("last") != "true" {
		answer(w, http.StatusOK, map[string]any{"received": have})
		return nil
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Hour)) // it takes as long as it takes
	return s.finishImport(w, r, id, path)
}

func place(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 0
}

func (s *Store) finishImport(w http.ResponseWriter, r *http.Request, id, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	out, err := s.Import(r.Context(), id, f)
	var bad *ArchiveError
	switch {
	case errors.As(err, &bad):
		_ = os.Remove(path)
		http.Error(w, bad.Error(), http.StatusBadRequest)
		return nil
	case err != nil:
		return refuse(w, err)
	}
	_ = os.Remove(path)
	answer(w, http.StatusOK, out)
	return nil
}

// refuse answers what time may cure, and hands on everything else.
func refuse(w http.ResponseWriter, err error) error {
	var wait *UnavailableError
	if !errors.As(err, &wait) {
		return err
	}
	w.Header().Set("Retry-After", "5")
	http.Error(w, wait.Error(), http.StatusServiceUnavailable)
	return nil
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller may be gone
}

// uploadPath makes the folder of uploads and clears it of those that were given
// up.
func (s *Store) uploadPath(id, upload string) (string, error) {
	dir := filepath.Join(s.path(id), uploadsDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if st, err := f.Info(); err == nil && s.cfg.Now().Sub(st.ModTime()) > uploadLife {
			_ = os.Remove(filepath.Join(dir, f.Name()))
		}
	}
	return filepath.Join(dir, upload), nil
}

var errWrongPlace = errors.New("not the next piece")

// appendPiece adds a piece and returns how much there is. What is left of a piece
// that broke off is cut away again.
func appendPiece(path string, offset int64, piece io.Reader) (int64, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if st.Size() != offset {
		return st.Size(), errWrongPlace
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.Copy(f, piece)
	if err != nil {
		return offset, errors.Join(err, f.Truncate(offset))
	}
	return offset + n, nil
}

// clearLeftovers removes what exports and imports that a crash interrupted left
// in a workspace's folder.
func clearLeftovers(dir string) error {
	for _, prefix := range []string{importPrefix, exportPrefix} {
		found, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
		if err != nil {
			return err
		}
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}
