package logs

import (
	"fmt"
	"os"
	"path/filepath"
)

// rotating is a file that is renamed when it is full.
type rotating struct {
	path     string
	maxSize  int64
	maxFiles int
	f        *os.File
	size     int64
}

func openFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

func (r *rotating) write(lines []byte) (string, error) {
	const reason = "file"
	if r.f != nil && r.size+int64(len(lines)) > r.maxSize && r.size > 0 {
		if err := r.rotate(); err != nil {
			return reason, err
		}
	}
	if r.f == nil {
		f, err := openFile(r.path)
		if err != nil {
			return reason, err
		}
		st, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return reason, err
		}
		r.f, r.size = f, st.Size()
	}
	n, err := r.f.Write(lines)
	r.size += int64(n)
	if err != nil {
		// A line that was cut must not run into the next one.
		_ = r.f.Truncate(r.size - int64(n))
		r.size -= int64(n)
		return reason, err
	}
	return "", nil
}

// rotate makes room under the file's name.
func (r *rotating) rotate() error {
	if err := r.Close(); err != nil {
		return err
	}
	for i := r.maxFiles; i > 0; i-- {
		from := r.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", r.path, i-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", r.path, i)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

// Close implements io.Closer.
func (r *rotating) Close() error {
	f := r.f
	r.f = nil
	if f == nil {
		return nil
	}
	return f.Close()
}
