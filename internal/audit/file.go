package audit

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// file is the file that lines go to, with its predecessors.
type file struct {
	cfg  Config
	f    *os.File // nil after a failed rotation; the next write tries again
	size int64
	born time.Time // of its first line; zero for an empty file
	torn bool      // the last line has no end
}

func openFile(cfg Config) (*file, error) {
	cfg.File = filepath.Clean(cfg.File)
	if err := os.MkdirAll(filepath.Dir(cfg.File), 0o700); err != nil {
		return nil, err
	}
	f := &file{cfg: cfg}
	if err := f.open(); err != nil {
		return nil, err
	}
	return f, f.prune()
}

func (f *file) open() error {
	h, err := os.OpenFile(f.cfg.File, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := h.Stat()
	if err != nil {
		return errors.Join(err, h.Close())
	}
	if !info.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s is not a regular file", f.cfg.File), h.Close())
	}
	f.f, f.size, f.born, f.torn = h, info.Size(), time.Time{}, false
	if f.size == 0 {
		return nil
	}
	f.born = firstTime(h, info.ModTime())
	var end [1]byte
	if _, err := h.ReadAt(end[:], f.size-1); err != nil {
		return errors.Join(err, f.close())
	}
	f.torn = end[0] != '\n' // the process before us died in the middle of a line
	return nil
}

// firstTime returns the time in the first line of a file.
func firstTime(r io.ReaderAt, otherwise time.Time) time.Time {
	text, err := bufio.NewReader(io.NewSectionReader(r, 0, 64<<10)).ReadBytes('\n')
	var first struct{ Time time.Time }
	if err != nil || json.Unmarshal(text, &first) != nil || first.Time.IsZero() {
		return otherwise
	}
	return first.Time
}

// write appends lines. After an error nothing of them counts as written.
func (f *file) write(lines []byte) error {
	now := f.cfg.Now()
	if f.full(int64(len(lines)), now) {
		if err := f.rotate(now); err != nil {
			return err
		}
	}
	if f.f == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	if f.torn {
		if _, err := f.f.Write([]byte("\n")); err != nil {
			return err
		}
		f.torn = false
		f.size++
	}
	n, err := f.f.Write(lines)
	f.size += int64(n)
	if n > 0 && f.born.IsZero() {
		f.born = now
	}
	if err != nil {
		f.torn = n > 0
	}
	return err
}

func (f *file) full(more int64, now time.Time) bool {
	return f.size > 0 && (f.size+more > f.cfg.MaxSize || now.Sub(f.born) >= f.cfg.MaxAge)
}

// tidy rotates and removes what has become old while nothing was written.
func (f *file) tidy() error {
	now := f.cfg.Now()
	if f.f != nil && f.full(0, now) {
		return f.rotate(now)
	}
	return f.prune()
}

// rotate sets the file aside under a name with the time, and begins another.
func (f *file) rotate(now time.Time) error {
	if err := errors.Join(f.sync(), f.close()); err != nil {
		return err
	}
	prefix, ext := f.parts()
	aside := ""
	for at := now.UTC(); ; at = at.Add(time.Millisecond) {
		aside = prefix + at.Format(asideFormat) + ext
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			break
		} else if err != nil {
			return err
		}
	}
	// A file that somebody else took away is begun anew.
	if err := os.Rename(f.cfg.File, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return errors.Join(f.open(), f.prune())
}

// asideFormat sorts by time.
const asideFormat = "20060102T150405.000Z"

func (f *file) parts() (prefix, ext string) {
	ext = filepath.Ext(f.cfg.File)
	return strings.TrimSuffix(f.cfg.File, ext) + "-", ext
}

// prune removes files set aside that are too many or too old.
func (f *file) prune() error {
	prefix, ext := f.parts()
	entries, err := os.ReadDir(filepath.Dir(f.cfg.File))
	if err != nil {
		return err
	}
	type aside struct {
		path string
		at   time.Time
	}
	var all []aside
	for _, e := range entries {
		path := filepath.Join(filepath.Dir(f.cfg.File), e.Name())
		middle, ok := strings.CutPrefix(path, prefix)
		middle, isOurs := strings.CutSuffix(middle, ext)
		if !ok || !isOurs {
			continue
		}
		if at, err := time.Parse(asideFormat, middle); err == nil {
			all = append(all, aside{path, at})
		}
	}
	slices.SortFunc(all, func(a, b aside) int { return strings.Compare(b.path, a.path) }) // youngest first
	var errs []error
	for i, a := range all {
		if i >= f.cfg.MaxFiles || f.cfg.Now().Sub(a.at) >= f.cfg.KeepFor {
			errs = append(errs, os.Remove(a.path))
		}
	}
	return errors.Join(errs...)
}

func (f *file) sync() error {
	if f.f == nil {
		return nil
	}
	return f.f.Sync()
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}
