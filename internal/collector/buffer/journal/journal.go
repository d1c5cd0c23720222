package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
)

// Options are the sizes of a journal; zero values mean the defaults.
type Options struct {
	// SegmentBytes is how large a segment grows before the next one begins. One
	// that holds a single record may be larger. Default 16 MiB.
	SegmentBytes int64
	// BufferBytes is how much Append holds back before it writes; a single
	// record may be longer. Default 256 KiB.
	BufferBytes int
}

// Position is where a record is.
type Position struct {
	Segment uint64
	Offset  int64 // in bytes from the segment's start
}

// Damage is what Replay could not read.
type Damage struct {
	Segments int   // in which there was damage
	Bytes    int64 // from the first damaged one to the segment's end
}

// Errors that callers tell apart.
var (
	ErrLocked   = errors.New("journal: in use by another process")
	ErrTooLarge = errors.New("journal: record too large")
	errClosed   = errors.New("journal: closed")
)

// file is what a segment that is written needs to be able to do.
type file interface {
	io.WriteCloser
	Sync() error
}

// Journal is an open journal. Its methods may be called by several goroutines.
type Journal struct {
	opts Options
	log  *slog.Logger
	root *os.Root // so that no name or link leads out of the directory
	lock *os.File
	// create makes a new file. Tests put a disk that fails in its place.
	create func(name string) (file, error)

	syncing sync.Mutex // held during Sync, which alone closes files; taken before mu

	mu       sync.Mutex
	sizes    map[uint64]int64 // of each segment, what is in buf included
	newest   uint64           // highest number that there ever was
	current  uint64           // segment being written, or 0
	file     file             // of the current segment
	buf      []byte           // not yet written, to go to file
	ended    []file           // segments that ended since the last Sync
	unsynced bool             // whether file was written to since
	dirty    bool             // whether the directory changed since
	begun    bool             // whether Replay or Append was called
	closed   bool
	damage   Damage
}

// Open makes dir if need be (mode 0700) and locks it: while the journal is
// open, another Open of it returns ErrLocked.
func Open(dir string, opts Options, log *slog.Logger) (*Journal, error) {
	if opts.SegmentBytes <= 0 {
		opts.SegmentBytes = 16 << 20
	}
	if opts.BufferBytes <= 0 {
		opts.BufferBytes = 256 << 10
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	j := &Journal{opts: opts, log: log, root: root, sizes: make(map[uint64]int64)}
	j.create = func(name string) (file, error) {
		return root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err := j.open(); err != nil {
		return nil, errors.Join(err, j.unlock())
	}
	return j, nil
}

func (j *Journal) open() error {
	var err error
	if j.lock, err = j.root.OpenFile("lock", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := syscall.Flock(int(j.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%w: %s", ErrLocked, j.root.Name())
		}
		return fmt.Errorf("journal: locking %s: %w", j.root.Name(), err)
	}
	entries, err := fs.ReadDir(j.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, e := range entries {
		n, ok := segmentNumber(e.Name())
		if !ok {
			continue
		}
		j.newest = max(j.newest, n)
		if !e.Type().IsRegular() { // not ours; but the name is taken
			continue
		}
		info, err := e.Info()
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		j.sizes[n] = info.Size()
	}
	return nil
}

// unlock closes the directory, and with the lock file its lock.
func (j *Journal) unlock() error {
	err := j.root.Close()
	if j.lock != nil {
		err = errors.Join(err, j.lock.Close())
	}
	return err
}

// Replay calls fn with every record that can be read, oldest first; record is
// valid until fn returns. It may be called once, before the first Append.
// Damage is not an error: it is logged and counted, see Damage. If fn returns
// an error, Replay ends with it and leaves all files as they are; so it does
// when a segment is of a later version.
func (j *Journal) Replay(fn func(pos Position, record []byte) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return errClosed
	}
	if j.begun {
		return errors.New("journal: Replay comes once, before the first Append")
	}
	j.begun = true
	for _, n := range j.segments() {
		if err := j.replaySegment(n, fn); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) replaySegment(n uint64, fn func(pos Position, record []byte) error) error {
	size := j.sizes[n]
	if size == 0 && n == j.newest { // begun, and nothing was written before the end
		return j.remove(n)
	}
	var stopped error // by fn
	good, err := int64(0), error(nil)
	f, err := j.root.Open(segmentName(n))
	if err == nil {
		good, err = readSegment(f, n, size, func(offset int64, record []byte) error {
			stopped = fn(Position{Segment: n, Offset: offset}, record)
			return stopped
		})
		_ = f.Close() // was only read
	}
	var later *VersionError
	switch {
	case err == nil:
		return nil
	case stopped != nil:
		return stopped
	case errors.As(err, &later):
		return err
	}
	j.damage.Segments++
	j.damage.Bytes += size - good
	j.log.Warn("journal: damage, the rest of the segment is lost",
		"segment", n, "offset", good, "bytes", size-good, "error", err)
	// A disk that does not answer is no reason to throw away what it holds.
	if n == j.newest && errors.Is(err, errDamaged) {
		return j.cut(n, good)
	}
	return nil
}

// cut ends the last segment where damage begins, so that it is reported once.
func (j *Journal) cut(n uint64, size int64) error {
	if size == 0 { // not even a header
		return j.remove(n)
	}
	f, err := j.root.OpenFile(segmentName(n), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err = f.Truncate(size); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.sizes[n] = size
	return nil
}

// Damage returns what Replay could not read.
func (j *Journal) Damage() Damage {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.damage
}

// Append adds a record and returns where it will be. It is safe from a crash of
// the process when later ones have pushed it out of the buffer, and safe from
// one of the machine after the next Sync. An error means that the record was
// not added, and that nothing else was lost: what waits in the buffer is tried
// again by the next Append or Sync.
func (j *Journal) Append(record []byte) (Position, error) {
	if len(record) > maxRecord {
		return Position{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(record), maxRecord)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return Position{}, errClosed
	}
	j.begun = true
	size := recordHeader + int64(len(record))
	if at := j.sizes[j.current]; j.current != 0 && at > headerSize && at+size > j.opts.SegmentBytes {
		if err := j.end(); err != nil {
			return Position{}, err
		}
	}
	if j.current == 0 {
		if err := j.begin(); err != nil {
			return Position{}, err
		}
	}
	if len(j.buf) > 0 && int64(len(j.buf))+size > int64(j.opts.BufferBytes) {
		if err := j.flush(); err != nil {
			return Position{}, err
		}
	}
	j.buf = appendRecord(j.buf, record)
	pos := Position{Segment: j.current, Offset: j.sizes[j.current]}
	j.sizes[j.current] += size
	return pos, nil
}

// begin makes a new segment.
func (j *Journal) begin() error {
	f, err := j.create(segmentName(j.newest + 1))
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.newest++
	j.current, j.file, j.dirty = j.newest, f, true
	j.buf = appendHeader(j.buf[:0], j.current)
	j.sizes[j.current] = headerSize
	return nil
}

// end writes the rest of the current segment. It becomes durable with the next
// Sync: nothing that Append does waits for the disk.
func (j *Journal) end() error {
	if err := j.flush(); err != nil {
		return err
	}
	j.ended = append(j.ended, j.file)
	j.current, j.file, j.unsynced = 0, nil, false
	return nil
}

// flush writes the buffer. After an error, what is left goes on where writing
// stopped, so that a disk that was full does no harm.
func (j *Journal) flush() error {
	if len(j.buf) == 0 {
		return nil
	}
	n, err := j.file.Write(j.buf)
	j.unsynced = true
	if err != nil {
		j.buf = append(j.buf[:0], j.buf[n:]...)
		return fmt.Errorf("journal: %w", err)
	}
	j.buf = j.buf[:0]
	if cap(j.buf) > 2*j.opts.BufferBytes { // one long record
		j.buf = nil
	}
	return nil
}

// Sync makes durable what was appended before. It does not hold up Append for
// longer than writing the buffer takes. If it fails, records since the last
// Sync that did not may be lost in a crash of the machine, even when a later
// Sync succeeds. It has to be called from time to time, for it also closes the
// files of segments that have ended.
func (j *Journal) Sync() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return errClosed
	}
	return j.syncUnlock()
}

// syncUnlock is called with both mutexes held and releases mu.
func (j *Journal) syncUnlock() error {
	var err error
	if j.current != 0 {
		err = j.flush()
	}
	ended, current, dirty := j.ended, j.file, j.dirty
	if !j.unsynced {
		current = nil
	}
	j.ended, j.unsynced, j.dirty = nil, false, false
	j.mu.Unlock()
	// Only what is durable in the directory can be found again.
	if dirty {
		if e := j.syncDir(); e != nil {
			err = errors.Join(err, e)
			j.mu.Lock()
			j.dirty = true
			j.mu.Unlock()
		}
	}
	for _, f := range ended {
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if current == nil {
		return wrap(err)
	}
	if e := current.Sync(); e != nil {
		err = errors.Join(err, e)
		j.giveUp(current)
	}
	return wrap(err)
}

// giveUp ends a segment that could not be synced: the kernel may have dropped
// what it could not write and say that all is well the next time.
func (j *Journal) giveUp(f file) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == f {
		if err := j.end(); err != nil {
			j.log.Warn("journal: segment that could not be synced is still in use", "segment", j.current, "error", err)
		}
	}
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("journal: %w", err)
}

func (j *Journal) syncDir() error {
	d, err := j.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// DropSegment removes a segment and all records in it. Dropping the current one
// ends it; dropping one that is not there does nothing.
func (j *Journal) DropSegment(n uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return errClosed
	}
	if _, there := j.sizes[n]; !there {
		return nil
	}
	if n == j.current {
		j.ended = append(j.ended, j.file) // a Sync may be using it; the next one closes it
		j.current, j.file, j.buf, j.unsynced = 0, nil, j.buf[:0], false
	}
	return j.remove(n)
}

func (j *Journal) remove(n uint64) error {
	if err := j.root.Remove(segmentName(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("journal: %w", err)
	}
	delete(j.sizes, n)
	j.dirty = true
	return nil
}

// Segments returns the numbers of all segments, oldest first.
func (j *Journal) Segments() []uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.segments()
}

func (j *Journal) segments() []uint64 {
	list := make([]uint64, 0, len(j.sizes))
	for n := range j.sizes {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// CurrentSegment returns the number of the segment that was written last, or 0
// if nothing was appended since Open or since it was dropped or ended.
func (j *Journal) CurrentSegment() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.current
}

// Size returns the bytes of all segments, what is still buffered included.
func (j *Journal) Size() (total int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, size := range j.sizes {
		total += size
	}
	return total
}

// Close is Sync and gives the directory back. After an error the journal is
// closed all the same.
func (j *Journal) Close() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	err := j.syncUnlock()
	if j.file != nil {
		err = errors.Join(err, j.file.Close())
	}
	for _, f := range j.ended { // by giveUp
		err = errors.Join(err, f.Close())
	}
	return errors.Join(err, j.unlock())
}
