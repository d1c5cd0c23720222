package telemetry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// RotatingFile is a file of lines that is renamed to PATH.1 when it is full, that
// one to PATH.2 and so on. It is opened by Open or by the first Write, and again
// after an error. It is not safe for concurrent use.
type RotatingFile struct {
	// Path is the file. Its folder is made the first time that it is opened: one that
	// goes away later was taken away by somebody.
	Path string
	// MaxSize in bytes says when the file is full, MaxFiles how many full ones are
	// kept.
	MaxSize  int64
	MaxFiles int

	f     *os.File
	size  int64
	found bool // the folder is there, or was
}

// Open opens the file where it is not open, so that what can fail fails now.
func (r *RotatingFile) Open() error {
	if r.f != nil {
		return nil
	}
	if !r.found {
		if err := os.MkdirAll(filepath.Dir(r.Path), 0o700); err != nil {
			return err
		}
		r.found = true
	}
	f, err := os.OpenFile(r.Path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.f, r.size = f, info.Size()
	return nil
}

// Write appends whole lines, all of them or none.
func (r *RotatingFile) Write(lines []byte) (int, error) {
	if r.f != nil && r.size > 0 && r.size+int64(len(lines)) > r.MaxSize {
		if err := r.rotate(); err != nil {
			return 0, err
		}
	}
	if err := r.Open(); err != nil {
		return 0, err
	}
	n, err := r.f.Write(lines)
	if err != nil {
		// A line that was cut must not run into the next one.
		_ = r.f.Truncate(r.size)
		return 0, err
	}
	r.size += int64(n)
	return n, nil
}

// rotate makes room under the file's name.
func (r *RotatingFile) rotate() error {
	if err := r.Close(); err != nil {
		return err
	}
	for i := r.MaxFiles; i > 0; i-- {
		from := r.Path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", r.Path, i-1)
		}
		// A file that somebody else took away is begun anew.
		if err := os.Rename(from, fmt.Sprintf("%s.%d", r.Path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Close implements io.Closer. A later Write opens the file again.
func (r *RotatingFile) Close() error {
	f := r.f
	r.f = nil
	if f == nil {
		return nil
	}
	return f.Close()
}
