package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t testing.TB, dir string, opts Options) *Journal {
	t.Helper()
	j, err := Open(dir, opts, quiet())
	require.NoError(t, err)
	t.Cleanup(func() { j.Close() })
	return j
}

// record is one whose bytes say which it is.
func record(i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 0))
	b := make([]byte, 4+r.IntN(60))
	for k := range b {
		b[k] = byte(r.Uint32())
	}
	binary.LittleEndian.PutUint32(b, uint32(i))
	return b
}

func number(b []byte) int { return int(binary.LittleEndian.Uint32(b)) }

// replay returns the numbers of the records, all of which have to be whole.
func replay(t testing.TB, j *Journal) (numbers []int, positions []Position) {
	t.Helper()
	require.NoError(t, j.Replay(func(pos Position, b []byte) error {
		require.Equal(t, record(number(b)), b)
		numbers, positions = append(numbers, number(b)), append(positions, pos)
		return nil
	}))
	return numbers, positions
}

func upTo(n int) (list []int) {
	for i := range n {
		list = append(list, i)
	}
	return list
}

// fill appends records and returns where they are.
func fill(t testing.TB, j *Journal, from, to int) (positions []Position) {
	t.Helper()
	for i := from; i < to; i++ {
		pos, err := j.Append(record(i))
		require.NoError(t, err)
		positions = append(positions, pos)
	}
	return positions
}

func TestReadsBackWhatWasWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	opts := Options{SegmentBytes: 500, BufferBytes: 100}
	var want []Position
	for run := range 5 {
		j := open(t, dir, opts)
		got, positions := replay(t, j)
		require.Equal(t, upTo(run*100), got)
		require.Equal(t, want, append([]Position(nil), positions...))
		want = append(want, fill(t, j, run*100, run*100+100)...)
		require.NoError(t, j.Sync())
		require.Equal(t, sizeOnDisk(t, dir), j.Size())
		require.Greater(t, len(j.Segments()), 5*(run+1))
		require.Equal(t, j.CurrentSegment(), j.Segments()[len(j.Segments())-1])
		require.Zero(t, j.Damage())
		require.NoError(t, j.Close())
		require.NoError(t, j.Close())
	}
	info, err := os.Stat(dir)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	for _, e := range entries(t, dir) {
		info, err := os.Stat(filepath.Join(dir, e))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), e)
		if e != "lock" {
			require.LessOrEqual(t, info.Size(), int64(500))
		}
	}
}

func entries(t testing.TB, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func sizeOnDisk(t testing.TB, dir string) (total int64) {
	t.Helper()
	for _, name := range entries(t, dir) {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		total += info.Size()
	}
	return total
}

func TestOddRecords(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 200, BufferBytes: 50})
	want := [][]byte{{}, make([]byte, 1000), []byte("x"), make([]byte, 180), {}, {}, make([]byte, 5000)}
	for _, b := range want {
		_, err := j.Append(b)
		require.NoError(t, err)
	}
	_, err := j.Append(make([]byte, maxRecord+1))
	require.ErrorIs(t, err, ErrTooLarge)
	require.NoError(t, j.Close())
	j = open(t, dir, Options{})
	var got [][]byte
	require.NoError(t, j.Replay(func(_ Position, b []byte) error { got = append(got, append([]byte{}, b...)); return nil }))
	require.Equal(t, want, got)
}

func TestUseInOrder(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{})
	fill(t, j, 0, 1)
	require.Error(t, j.Replay(nil), "after Append")
	require.NoError(t, j.Close())
	_, err := j.Append(nil)
	require.ErrorIs(t, err, errClosed)
	require.ErrorIs(t, j.Sync(), errClosed)
	require.ErrorIs(t, j.DropSegment(1), errClosed)
	require.ErrorIs(t, j.Replay(nil), errClosed)

	j = open(t, dir, Options{})
	stop := errors.New("stop")
	require.ErrorIs(t, j.Replay(func(Position, []byte) error { return stop }), stop)
	require.Error(t, j.Replay(nil), "twice")
	require.Zero(t, j.Damage())
}

func TestDropSegment(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 300})
	positions := fill(t, j, 0, 50)
	require.NoError(t, j.Sync())
	segments := j.Segments()
	require.NoError(t, j.DropSegment(segments[0]))
	require.NoError(t, j.DropSegment(segments[3]))
	require.NoError(t, j.DropSegment(segments[3]))
	require.NoError(t, j.DropSegment(j.CurrentSegment()))
	require.Zero(t, j.CurrentSegment())
	require.NoError(t, j.Sync())
	require.Equal(t, sizeOnDisk(t, dir), j.Size())
	fill(t, j, 50, 60)
	require.Greater(t, j.CurrentSegment(), segments[len(segments)-1], "a number is used once")
	require.NoError(t, j.Close())

	var want []int
	for i, pos := range positions {
		if pos.Segment != segments[0] && pos.Segment != segments[3] && pos.Segment != segments[len(segments)-1] {
			want = append(want, i)
		}
	}
	for i := 50; i < 60; i++ {
		want = append(want, i)
	}
	got, _ := replay(t, open(t, dir, Options{}))
	require.Equal(t, want, got)
}

// written makes a journal of some segments and returns what is in its files.
func written(t testing.TB, n int) (dir string, positions []Position) {
	t.Helper()
	dir = t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 160, BufferBytes: 64})
	positions = fill(t, j, 0, n)
	require.NoError(t, j.Close())
	return dir, positions
}

// before counts the records that end at or before an offset of a segment.
func before(positions []Position, segment uint64, offset int64) (whole int) {
	for i, pos := range positions {
		if pos.Segment == segment && pos.Offset+recordHeader+int64(len(record(i))) <= offset {
			whole++
		}
	}
	return whole
}

// A crash can cut the last segment anywhere, and can leave zeros or rubbish
// where something was to be.
func TestTornTail(t *testing.T) {
	dir, positions := written(t, 27)
	last := positions[len(positions)-1].Segment
	file := filepath.Join(dir, segmentName(last))
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	for cut := range len(whole) {
		want := 0
		for _, pos := range positions {
			if pos.Segment < last {
				want++
			}
		}
		want += before(positions, last, int64(cut))
		for name, tail := range map[string][]byte{
			"nothing": nil, "zeros": make([]byte, 100), "rubbish": bytes.Repeat([]byte{0xa5}, 33),
		} {
			require.NoError(t, os.WriteFile(file, append(whole[:cut:cut], tail...), 0o600))
			j := open(t, dir, Options{})
			got, _ := replay(t, j)
			require.Equal(t, upTo(want), got, "%s after byte %d", name, cut)
			// It can be written to, and the damage is reported once.
			fill(t, j, want, want+1)
			require.GreaterOrEqual(t, j.CurrentSegment(), last)
			added := j.CurrentSegment()
			require.NoError(t, j.Close())
			j = open(t, dir, Options{})
			got, _ = replay(t, j)
			require.Equal(t, upTo(want+1), got, "%s after byte %d", name, cut)
			require.Zero(t, j.Damage())
			require.NoError(t, j.DropSegment(added))
			require.NoError(t, j.Close())
		}
	}
}

// Damage anywhere loses the rest of its segment and nothing else.
func TestFlippedBits(t *testing.T) {
	dir, positions := written(t, 60)
	segment := positions[20].Segment
	require.Less(t, segment, positions[len(positions)-1].Segment)
	file := filepath.Join(dir, segmentName(segment))
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	for at := range whole {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1 << (at % 8)
		require.NoError(t, os.WriteFile(file, damaged, 0o600))
		var want []int
		for i, pos := range positions {
			if pos.Segment != segment || pos.Offset+recordHeader+int64(len(record(i))) <= int64(at) {
				want = append(want, i)
			}
		}
		j := open(t, dir, Options{})
		got, _ := replay(t, j)
		require.Equal(t, want, got, "byte %d", at)
		require.Equal(t, 1, j.Damage().Segments)
		require.Positive(t, j.Damage().Bytes)
		require.NoError(t, j.Close())
		now, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, damaged, now, "only the last segment is cut")
	}
}

func TestDamageIsLogged(t *testing.T) {
	dir, positions := written(t, 27)
	last := positions[len(positions)-1]
	require.NoError(t, os.Truncate(filepath.Join(dir, segmentName(last.Segment)), last.Offset+3))
	var out bytes.Buffer
	j, err := Open(dir, Options{}, slog.New(slog.NewTextHandler(&out, nil)))
	require.NoError(t, err)
	defer j.Close()
	replay(t, j)
	require.Equal(t, Damage{Segments: 1, Bytes: 3}, j.Damage())
	require.Contains(t, out.String(), fmt.Sprintf("segment=%d offset=%d bytes=3", last.Segment, last.Offset))
}

func TestLaterVersionIsLeftAlone(t *testing.T) {
	dir, positions := written(t, 3)
	file := filepath.Join(dir, segmentName(positions[0].Segment))
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	head := bytes.Clone(b[:headerSize])
	binary.LittleEndian.PutUint32(head[4:], version+1)
	binary.LittleEndian.PutUint32(head[headerSize-4:], crc32.Checksum(head[:headerSize-4], castagnoli))
	copy(b, head)
	require.NoError(t, os.WriteFile(file, b, 0o600))
	j := open(t, dir, Options{})
	var later *VersionError
	require.ErrorAs(t, j.Replay(func(Position, []byte) error { return nil }), &later)
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, b, now)
}

// A segment under another's name is not taken for it, links are not followed,
// and files that are not ours stay.
func TestOtherFiles(t *testing.T) {
	dir, positions := written(t, 30)
	outside := filepath.Join(t.TempDir(), "outside")
	first := filepath.Join(dir, segmentName(1))
	require.NoError(t, os.WriteFile(outside, []byte("precious"), 0o600))
	b, err := os.ReadFile(first)
	require.NoError(t, err)
	last := positions[len(positions)-1].Segment
	require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(last+1)), b, 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, segmentName(last+2))))
	require.NoError(t, os.Mkdir(filepath.Join(dir, segmentName(last+3)), 0o700))
	for _, name := range []string{"segment-1", "segment-0000000000001", "segment-000000000000", "notes"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	j := open(t, dir, Options{})
	got, _ := replay(t, j)
	require.Equal(t, upTo(30), got)
	require.Equal(t, 1, j.Damage().Segments)
	fill(t, j, 30, 31)
	require.Equal(t, last+4, j.CurrentSegment())
	for _, n := range append(j.Segments(), last+2, last+3) {
		require.NoError(t, j.DropSegment(n))
	}
	require.NoError(t, j.Close())
	b, err = os.ReadFile(outside)
	require.NoError(t, err)
	require.Equal(t, "precious", string(b))
	require.ElementsMatch(t, []string{"lock", "notes", "segment-1", "segment-0000000000001", "segment-000000000000",
		segmentName(last + 2), segmentName(last + 3)}, entries(t, dir))
}

func TestLinkAsLockFile(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "lock")))
	_, err := Open(dir, Options{}, quiet())
	require.Error(t, err)
	require.NoFileExists(t, outside)
}

// disk is files on a disk that can be full and can fail to sync.
type disk struct {
	sync.Mutex
	room  int // bytes; negative means as much as one likes
	fails bool
}

var (
	errFull = errors.New("no space left on device")
	errSync = errors.New("input/output error")
)

type diskFile struct {
	*os.File
	disk *disk
}

func (f diskFile) Write(b []byte) (int, error) {
	f.disk.Lock()
	defer f.disk.Unlock()
	if f.disk.room < 0 || len(b) <= f.disk.room {
		f.disk.room -= min(len(b), max(f.disk.room, 0))
		return f.File.Write(b)
	}
	n, err := f.File.Write(b[:f.disk.room])
	f.disk.room = 0
	return n, errors.Join(err, errFull)
}

func (f diskFile) Sync() error {
	f.disk.Lock()
	defer f.disk.Unlock()
	if f.disk.fails {
		return errSync
	}
	return f.File.Sync()
}

func onDisk(j *Journal, d *disk) {
	inner := j.create
	j.create = func(name string) (file, error) {
		f, err := inner(name)
		if err != nil {
			return nil, err
		}
		return diskFile{f.(*os.File), d}, nil
	}
}

func TestFullDisk(t *testing.T) {
	for room := 0; room < 700; room += 13 {
		dir := t.TempDir()
		j := open(t, dir, Options{SegmentBytes: 300, BufferBytes: 64})
		d := &disk{room: room}
		onDisk(j, d)
		refused := 0
		for next := 0; next < 40; {
			_, err := j.Append(record(next))
			if err == nil {
				next++
				continue
			}
			require.ErrorIs(t, err, errFull)
			require.LessOrEqual(t, len(j.buf), 64+headerSize+recordHeader+64, "what waits is bounded")
			if refused++; refused == 3 {
				require.ErrorIs(t, j.Sync(), errFull)
				d.room = -1 // someone made room
			}
		}
		require.NoError(t, j.Close())
		require.Equal(t, 3, refused)
		j = open(t, dir, Options{})
		got, _ := replay(t, j)
		require.Equal(t, upTo(40), got, "room for %d", room)
		require.Zero(t, j.Damage())
		require.NoError(t, j.Close())
	}
}

// A disk that is full when the process ends has what was accepted by Sync.
func TestFullDiskAndEnd(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{BufferBytes: 64})
	d := &disk{room: 500}
	onDisk(j, d)
	synced := 0
	for i := 0; ; i++ {
		if _, err := j.Append(record(i)); err != nil {
			break
		}
		if j.Sync() == nil {
			synced = i + 1
		}
	}
	require.Positive(t, synced)
	require.ErrorIs(t, j.Close(), errFull)
	got, _ := replay(t, open(t, dir, Options{}))
	require.Equal(t, upTo(synced), got)
}

func TestFullFilesystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("needs to mount a file system:", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	j := open(t, dir, Options{SegmentBytes: 16 << 10, BufferBytes: 4 << 10})
	n := 0
	for ; ; n++ {
		if _, err := j.Append(record(n)); err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			break
		}
	}
	require.ErrorIs(t, j.Sync(), syscall.ENOSPC)
	oldest := j.Segments()[0]
	require.NoError(t, j.DropSegment(oldest))
	require.NoError(t, j.Sync(), "dropping makes room")
	fill(t, j, n, n+50)
	require.NoError(t, j.Close())
	j = open(t, dir, Options{})
	got, positions := replay(t, j)
	require.NoError(t, j.Close())
	require.Greater(t, positions[0].Segment, oldest)
	for i := range got {
		require.Equal(t, n+50-len(got)+i, got[i])
	}
}

func TestFailedSyncEndsSegment(t *testing.T) {
	j := open(t, t.TempDir(), Options{})
	d := &disk{room: -1, fails: true}
	onDisk(j, d)
	before := fill(t, j, 0, 1)[0].Segment
	require.ErrorIs(t, j.Sync(), errSync)
	d.fails = false
	require.Greater(t, fill(t, j, 1, 2)[0].Segment, before)
	require.NoError(t, j.Sync())
	require.NoError(t, j.Close())
}

func TestConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir, Options{SegmentBytes: 2000, BufferBytes: 100})
	var all sync.WaitGroup
	done := make(chan struct{})
	for w := range 4 {
		all.Go(func() {
			for i := range 500 {
				_, err := j.Append(record(w*500 + i))
				require.NoError(t, err)
			}
		})
	}
	var other sync.WaitGroup
	other.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			require.NoError(t, j.Sync())
			j.Segments()
			require.Positive(t, j.Size()+1)
		}
	})
	all.Wait()
	close(done)
	other.Wait()
	require.NoError(t, j.Close())
	got, _ := replay(t, open(t, dir, Options{}))
	require.ElementsMatch(t, upTo(2000), got)
	last := [4]int{-1, -1, -1, -1}
	for _, n := range got { // in the order in which each one wrote
		require.Greater(t, n%500, last[n/500])
		last[n/500] = n % 500
	}
}

const childDir = "JOURNAL_TEST_DIR"

// TestChild is no test but what the next one kills.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		t.Skip("only as a child process")
	}
	j, err := Open(dir, Options{SegmentBytes: 4000, BufferBytes: 200}, quiet())
	require.NoError(t, err)
	next := 0
	require.NoError(t, j.Replay(func(_ Position, b []byte) error { next = number(b) + 1; return nil }))
	fmt.Println("ready")
	for i := next; ; i++ {
		_, err := j.Append(record(i))
		require.NoError(t, err)
		if i%7 == 0 {
			require.NoError(t, j.Sync())
			fmt.Println("synced", i)
		}
	}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	synced := -1
	for run := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestChild$")
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 0 {
				require.Equal(t, "ready", lines.Text())
				_, err := Open(dir, Options{}, quiet())
				require.ErrorIs(t, err, ErrLocked)
			}
			if n == 10+run*13 {
				require.NoError(t, cmd.Process.Kill())
			}
			if s, ok := strings.CutPrefix(lines.Text(), "synced "); ok {
				synced, err = strconv.Atoi(s)
				require.NoError(t, err)
			}
		}
		require.Error(t, cmd.Wait(), "killed")
		j := open(t, dir, Options{})
		got, _ := replay(t, j)
		require.Greater(t, len(got), synced)
		require.Equal(t, upTo(len(got)), got)
		require.NoError(t, j.Close())
	}
	require.Greater(t, synced, 8*7)
}

func FuzzReadSegment(f *testing.F) {
	b := appendHeader(nil, 7)
	for i := range 5 {
		b = appendRecord(b, record(i))
		f.Add(bytes.Clone(b))
		f.Add(b[:len(b)-3])
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		again := appendHeader(nil, 7)
		good, err := readSegment(bytes.NewReader(in), 7, int64(len(in)), func(offset int64, record []byte) error {
			require.Equal(t, int64(len(again)), offset)
			again = appendRecord(again, record)
			return nil
		})
		if good == 0 {
			require.Error(t, err)
			return
		}
		// What it takes for good is what writing makes of it.
		require.Equal(t, in[:good], again)
		require.Equal(t, err == nil, int(good) == len(in))
	})
}

// A record may be what a fuzzer finds hard to make: one with a right checksum.
func FuzzAnyRecord(f *testing.F) {
	f.Add([]byte("abc"), []byte{}, uint16(3))
	f.Fuzz(func(t *testing.T, first, second []byte, cut uint16) {
		b := appendRecord(appendRecord(appendHeader(nil, 1), first), second)
		b = b[:len(b)-int(cut)%len(b)]
		var got [][]byte
		good, err := readSegment(bytes.NewReader(b), 1, int64(len(b)), func(_ int64, record []byte) error {
			got = append(got, bytes.Clone(record))
			return nil
		})
		want := 0
		for _, end := range []int{headerSize + recordHeader + len(first), headerSize + 2*recordHeader + len(first) + len(second)} {
			if end <= len(b) {
				want++
			}
		}
		require.Len(t, got, want)
		if err != nil {
			require.ErrorIs(t, err, errDamaged)
		}
		require.LessOrEqual(t, good, int64(len(b)))
	})
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, syscall.EIO }

// A disk that does not answer is not taken for damage, which would be cut off.
func TestReadError(t *testing.T) {
	b := appendRecord(appendHeader(nil, 1), []byte("abc"))
	for cut := range b {
		_, err := readSegment(io.MultiReader(bytes.NewReader(b[:cut]), failingReader{}), 1, int64(len(b)),
			func(int64, []byte) error { return nil })
		require.ErrorIs(t, err, syscall.EIO)
		require.NotErrorIs(t, err, errDamaged)
	}
}

func BenchmarkAppend(b *testing.B) {
	j := open(b, b.TempDir(), Options{})
	rec := make([]byte, 2000)
	b.SetBytes(int64(len(rec)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.Append(rec); err != nil {
			b.Fatal(err)
		}
		if j.Size() > 256<<20 {
			for _, n := range j.Segments() {
				if err := j.DropSegment(n); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
}
