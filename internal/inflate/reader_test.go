package inflate

import (
	"bytes"
	stdflate "compress/flate"
	stdgzip "compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"
)

// packStd compresses with compress/gzip.
func packStd(tb testing.TB, data []byte, level int) []byte {
	var b bytes.Buffer
	w, err := stdgzip.NewWriterLevel(&b, level)
	require.NoError(tb, err)
	_, err = w.Write(data)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	return b.Bytes()
}

// packKlauspost compresses with the library that newer exporters use.
func packKlauspost(tb testing.TB, data []byte, level int) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	require.NoError(tb, err)
	_, err = w.Write(data)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	return b.Bytes()
}

// reference decompresses with compress/gzip.
func reference(src []byte) ([]byte, error) {
	r, err := stdgzip.NewReader(bytes.NewReader(src))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// readAll reads by Next, and checks what it promises. keep says how much of a
// chunk to keep.
func readAll(t testing.TB, r *Reader, keep func(chunk []byte) int) ([]byte, error) {
	t.Helper()
	var all []byte
	kept := 0
	for {
		chunk, err := r.Next(kept)
		if err != nil && !errors.Is(err, io.EOF) {
			if chunk != nil {
				t.Fatal("an error came with a chunk")
			}
			return nil, err
		}
		if !bytes.Equal(chunk[:kept], all[len(all)-kept:]) {
			t.Fatalf("the %d bytes kept came back changed", kept)
		}
		if err == nil && len(chunk) == kept {
			t.Fatal("a chunk without new bytes")
		}
		if cap(chunk) != len(chunk) {
			t.Fatal("a chunk that append would write behind")
		}
		all = append(all, chunk[kept:]...)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		kept = keep(chunk)
	}
}

func nothing([]byte) int { return 0 }

// lastLine keeps what a parser of lines does not get to the end of.
func lastLine(chunk []byte) int { return len(chunk) - 1 - bytes.LastIndexByte(chunk, '\n') }

func randomly(rng *rand.Rand) func([]byte) int {
	return func(chunk []byte) int {
		switch rng.IntN(4) {
		case 0:
			return 0
		case 1:
			return len(chunk)
		case 2:
			return rng.IntN(len(chunk) + 1)
		default:
			return rng.IntN(min(len(chunk), 200) + 1)
		}
	}
}

// compare fails unless the Reader does with src as compress/gzip does, whose
// result it returns.
func compare(t testing.TB, r *Reader, src []byte, rng *rand.Rand) ([]byte, error) {
	t.Helper()
	want, wantErr := reference(src)
	for name, keep := range map[string]func([]byte) int{"nothing": nothing, "lines": lastLine, "random": randomly(rng)} {
		r.Reset(src)
		got, err := readAll(t, r, keep)
		if classOf(err) != classOf(wantErr) {
			t.Fatalf("keep %s: error %v, compress/gzip's %v", name, err, wantErr)
		}
		if wantErr == nil && !bytes.Equal(got, want) {
			t.Fatalf("keep %s: %d bytes that differ from compress/gzip's %d", name, len(got), len(want))
		}
	}
	prefix := make([]byte, rng.IntN(100), 100+rng.IntN(2*len(want)+1000))
	for i := range prefix {
		prefix[i] = byte(i)
	}
	got, err := r.AppendAll(bytes.Clone(prefix), int64(len(want)))
	if wantErr != nil {
		require.Error(t, err)
		require.Equal(t, prefix, got)
		return want, wantErr
	}
	require.NoError(t, err)
	if !bytes.Equal(got, append(prefix, want...)) {
		t.Fatalf("AppendAll: %d bytes that differ from compress/gzip's %d", len(got)-len(prefix), len(want))
	}
	return want, nil
}

// classOf says which kind of error one of ours or of compress/gzip is. Bits that
// are wrong near the end of the input may be called either truncated or corrupt.
func classOf(err error) string {
	var corrupt stdflate.CorruptInputError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrHeader), errors.Is(err, stdgzip.ErrHeader):
		return "header"
	case errors.Is(err, ErrChecksum), errors.Is(err, stdgzip.ErrChecksum):
		return "checksum"
	case errors.Is(err, ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF),
		errors.Is(err, ErrCorrupt), errors.As(err, &corrupt):
		return "data"
	default:
		return err.Error()
	}
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// samples are data of the kinds that compress differently.
func samples() map[string][]byte {
	rng := newRand(1)
	noise := make([]byte, 150_000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	digits := make([]byte, 150_000)
	for i := range digits {
		digits[i] = '0' + byte(rng.IntN(10))
	}
	periods := []byte{}
	for p := 1; p < 70; p++ {
		periods = append(periods, bytes.Repeat(noise[p:2*p], 1+2000/p)...)
	}
	far := append(bytes.Clone(noise[:maxHistory]), noise[:maxHistory]...)
	return map[string][]byte{
		"farthest": bytes.Repeat(noise[:maxHistory], 6),
		"empty":    {}, "one": {'x'}, "noise": noise, "digits": digits, "periods": periods, "far": far,
		"zeros": make([]byte, 300_000), "node": nodePage(3), "cadvisor": cadvisorPage(3, 60),
	}
}

func TestSameAsGzip(t *testing.T) {
	var r Reader
	rng := newRand(2)
	for name, data := range samples() {
		for _, level := range []int{stdgzip.HuffmanOnly, stdgzip.NoCompression, 1, 2, 6, 9} {
			t.Run(fmt.Sprintf("%s/%d", name, level), func(t *testing.T) {
				got, err := compare(t, &r, packStd(t, data, level), rng)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got))
				got, err = compare(t, &r, packKlauspost(t, data, level), rng)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got))
			})
		}
	}
}

func TestMembers(t *testing.T) {
	var r Reader
	rng := newRand(3)
	page := nodePage(1)
	var many []byte
	for i := range 300 {
		part := page[i*len(page)/300 : (i+1)*len(page)/300]
		many = append(many, packStd(t, part, 1+i%9)...)
		if i%7 == 0 {
			many = append(many, packStd(t, nil, 1+i%9)...)
		}
	}
	got, err := compare(t, &r, many, rng)
	require.NoError(t, err)
	require.True(t, bytes.Equal(page, got))

	// A match must not reach into the member before.
	var w bitWriter
	w.bits(1, 1)
	w.bits(1, 2)
	w.fixed(257) // length 3
	w.code(0, 5) // distance 1
	w.fixed(256)
	bad := append(packStd(t, []byte("abc"), 6), member(w.flush(), []byte("ccc"))...)
	_, err = compare(t, &r, bad, rng)
	require.Error(t, err)
	_, err = r.AppendAll(nil, 100)
	require.ErrorIs(t, err, ErrCorrupt)
}

// member puts header and trailer around a DEFLATE stream.
func member(deflated, data []byte) []byte {
	b := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, deflated...)
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(data))
	return binary.LittleEndian.AppendUint32(b, uint32(len(data)))
}

func TestHeaders(t *testing.T) {
	plain := packStd(t, []byte("some text, some text"), 6)
	body := plain[10:]
	header := func(flags byte, fields ...[]byte) []byte {
		return append([]byte{0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3}, bytes.Join(fields, nil)...)
	}
	withCRC := func(h []byte) []byte { return binary.LittleEndian.AppendUint16(h, uint16(crc32.ChecksumIEEE(h))) }
	text := func(n int) []byte { return append(bytes.Repeat([]byte{'n'}, n), 0) }
	extra := []byte{5, 0, 1, 2, 3, 4, 5}
	for name, c := range map[string]struct {
		header []byte
		want   error
	}{
		"plain":                {header(0), nil},
		"flag of text":         {header(1), nil},
		"reserved flags":       {header(0xe0), nil},
		"extra":                {header(flagExtra, extra), nil},
		"empty extra":          {header(flagExtra, []byte{0, 0}), nil},
		"long extra":           {header(flagExtra, []byte{0xff, 0xff}, make([]byte, 0xffff)), nil},
		"name":                 {header(flagName, text(4)), nil},
		"empty name":           {header(flagName, text(0)), nil},
		"longest name":         {header(flagName, text(maxString-1)), nil},
		"name too long":        {header(flagName, text(maxString)), ErrHeader},
		"comment":              {header(flagComment, text(9)), nil},
		"comment too long":     {header(flagComment, text(maxString)), ErrHeader},
		"everything":           {withCRC(header(0x1f, extra, text(3), text(4))), nil},
		"header checksum":      {withCRC(header(flagHeaderCRC)), nil},
		"bad header checksum":  {header(flagHeaderCRC, []byte{1, 2}), ErrHeader},
		"extra after the end":  {header(flagExtra, []byte{0xff, 0xff}), ErrTruncated},
		"name without an end":  {header(flagName), ErrTruncated},
		"other magic":          {append([]byte{0x1f, 0x8c}, header(0)[2:]...), ErrHeader},
		"other method":         {append([]byte{0x1f, 0x8b, 7}, header(0)[3:]...), ErrHeader},
		"text that is no gzip": {[]byte("# HELP up The target.\n"), ErrHeader},
	} {
		t.Run(name, func(t *testing.T) {
			var r Reader
			src := append(c.header, body...)
			if name == "name without an end" {
				src = append(c.header, 'n', 'a')
			}
			_, err := compare(t, &r, src, newRand(4))
			require.Equal(t, c.want == nil, err == nil)
			_, err = r.AppendAll(nil, 1000)
			require.ErrorIs(t, err, c.want)
		})
	}
}

// TestCut cuts a stream everywhere, and puts something behind it.
func TestCut(t *testing.T) {
	var r Reader
	rng := newRand(5)
	src := packStd(t, nodePage(1)[:20_000], 6)
	for n := range src {
		_, err := reference(src[:n])
		require.Error(t, err)
		r.Reset(src[:n:n])
		_, err = readAll(t, &r, nothing)
		require.ErrorIs(t, err, ErrTruncated, "cut after %d bytes", n)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	}
	for n := 1; n < 20; n++ {
		_, err := compare(t, &r, append(bytes.Clone(src), make([]byte, n)...), rng)
		require.Error(t, err)
	}
	r.Reset(append(bytes.Clone(src), "garbage after it"...))
	_, err := readAll(t, &r, nothing)
	require.ErrorIs(t, err, ErrHeader)
}

func TestChecksums(t *testing.T) {
	for _, level := range []int{0, 1, 6} {
		data := nodePage(1)
		src := packStd(t, data, level)
		for i := 1; i <= 8; i++ {
			bad := bytes.Clone(src)
			bad[len(bad)-i] ^= 4
			var r Reader
			r.Reset(bad)
			_, err := readAll(t, &r, nothing)
			require.ErrorIs(t, err, ErrChecksum)
			_, err = r.AppendAll(nil, int64(len(data)))
			require.ErrorIs(t, err, ErrChecksum)
		}
	}
}

// TestMutated changes valid streams, keeping to what compress/gzip says of them.
func TestMutated(t *testing.T) {
	var r Reader
	rng := newRand(6)
	var sources [][]byte
	for _, data := range [][]byte{nodePage(2)[:30_000], cadvisorPage(2, 4), bytes.Repeat([]byte("ab\n"), 30_000)} {
		for _, level := range []int{-2, 0, 1, 6, 9} {
			sources = append(sources, packStd(t, data, level))
		}
	}
	failed := 0
	for range 600 {
		src := bytes.Clone(sources[rng.IntN(len(sources))])
		for range 1 + rng.IntN(3) {
			at := rng.IntN(len(src))
			if rng.IntN(2) == 0 {
				at = min(at, 10+rng.IntN(100)) // where the codes are
			}
			src[at] ^= 1 << rng.IntN(8)
		}
		// Not only what the checksum finds is of interest.
		src = repair(src)
		if _, err := compare(t, &r, src, rng); err != nil {
			failed++
		}
	}
	require.Greater(t, failed, 100)
	require.Less(t, failed, 550)
}

// repair gives a stream of one member with a plain header the trailer it needs,
// so far as it can be decompressed.
func repair(src []byte) []byte {
	if len(src) < headerSize {
		return src
	}
	in := bytes.NewReader(src[headerSize:])
	data, err := io.ReadAll(stdflate.NewReader(in))
	if err != nil {
		return src
	}
	return member(src[headerSize:len(src)-in.Len()], data)
}

func TestAppendAllLimit(t *testing.T) {
	var r Reader
	for _, data := range [][]byte{nil, []byte("x"), nodePage(1), make([]byte, 3_000_000)} {
		size := int64(len(data))
		r.Reset(packStd(t, data, 6))
		got, err := r.AppendAll([]byte("before"), size)
		require.NoError(t, err)
		require.True(t, bytes.Equal(append([]byte("before"), data...), got))
		for _, less := range []int64{1, 2, 300, size} {
			if less > size || size == 0 {
				continue
			}
			got, err = r.AppendAll([]byte("before"), size-less)
			require.ErrorIs(t, err, ErrTooLarge)
			require.Equal(t, "before", string(got))
		}
		got, err = r.AppendAll(nil, size+1)
		require.NoError(t, err)
		require.Len(t, got, len(data))
	}
	// The Reader can be read from its start afterwards.
	_, err := r.Next(0)
	require.NoError(t, err)
	_, err = r.AppendAll(nil, -1)
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = r.Next(0)
	require.NoError(t, err)
}

// TestAppendAllBelieves sees that a stream that lies about its size makes
// AppendAll allocate no more than it could have.
func TestAppendAllBelieves(t *testing.T) {
	src := packStd(t, []byte("short"), 6)
	binary.LittleEndian.PutUint32(src[len(src)-4:], 1<<31)
	var r Reader
	r.Reset(src)
	require.LessOrEqual(t, r.sizeHint(), len(src)*maxRatio+1)
	_, err := r.AppendAll(nil, 1<<40)
	require.ErrorIs(t, err, ErrChecksum)
}

func TestAppendAllReusesSpace(t *testing.T) {
	data := nodePage(1)
	var r Reader
	r.Reset(packStd(t, data, 6))
	buf, err := r.AppendAll(nil, 1<<30)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(5, func() {
		again, err := r.AppendAll(buf[:0], 1<<30)
		if err != nil || &again[0] != &buf[0] {
			t.Fatal("another buffer", err)
		}
	}))
}

// TestBuffer sees the buffer grow as keep demands and shrink again.
func TestBuffer(t *testing.T) {
	data := cadvisorPage(1, 400)
	require.Greater(t, len(data), 10*chunkSize)
	src := packStd(t, data, 6)
	var r Reader
	r.Reset(src)
	_, err := readAll(t, &r, lastLine)
	require.NoError(t, err)
	require.Len(t, r.buf, windowSize)
	require.Zero(t, testing.AllocsPerRun(3, func() {
		r.Reset(src)
		for keep := 0; ; keep = 100 {
			if _, err = r.Next(keep); err != nil {
				break
			}
		}
	}))

	r.Reset(src)
	all, err := readAll(t, &r, func(chunk []byte) int { return len(chunk) })
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, all))
	require.Less(t, len(r.buf), 2*len(data)+windowSize)
	require.Greater(t, len(r.buf), windowSize)
	r.Reset(src)
	_, err = r.Next(0)
	require.NoError(t, err)
	require.Len(t, r.buf, windowSize)
	r.Release()
	require.Nil(t, r.buf)
	_, err = r.Next(0)
	require.ErrorIs(t, err, ErrTruncated)
}

// TestEnd sees what Next says once the stream has ended, either way.
func TestEnd(t *testing.T) {
	var r Reader
	r.Reset(packStd(t, []byte("text"), 6))
	chunk, err := r.Next(0)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "text", string(chunk))
	chunk, err = r.Next(3)
	require.Equal(t, io.EOF, err)
	require.Equal(t, "ext", string(chunk))
	require.Panics(t, func() { r.Next(4) })
	chunk, err = r.Next(0)
	require.Equal(t, io.EOF, err)
	require.Empty(t, chunk)

	r.Reset(nil)
	for range 2 {
		chunk, err = r.Next(0)
		require.ErrorIs(t, err, ErrTruncated)
		require.Nil(t, chunk)
	}

	r.Reset(packStd(t, nil, 6))
	chunk, err = r.Next(0)
	require.Equal(t, io.EOF, err)
	require.Empty(t, chunk)
}

func TestCorruptSaysWhatAndWhere(t *testing.T) {
	var w bitWriter
	w.bits(1, 1)
	w.bits(3, 2)
	var r Reader
	r.Reset(member(w.flush(), nil))
	_, err := r.Next(0)
	require.ErrorIs(t, err, ErrCorrupt)
	require.EqualError(t, err, "gzip: corrupt before byte 11: unknown block type 3")
}

// nodePage is like what the node exporter serves: many families of few series.
func nodePage(seed uint64) []byte {
	rng := newRand(seed)
	var b bytes.Buffer
	for cpu := range 16 {
		for _, mode := range strings.Fields("idle iowait irq nice softirq steal system user") {
			fmt.Fprintf(&b, "node_cpu_seconds_total{cpu=%q,mode=%q} %.2f\n", fmt.Sprint(cpu), mode, rng.Float64()*1e6)
		}
	}
	words := strings.Fields("bytes total seconds memory active anon file inactive receive transmit errors packets disk read written " +
		"time io now weighted filesystem avail free size netstat tcp segs retrans sockets used alloc mapped shmem slab kernel stack huge pages")
	for range 300 {
		name := "node"
		for range 2 + rng.IntN(4) {
			name += "_" + words[rng.IntN(len(words))]
		}
		fmt.Fprintf(&b, "# HELP %s %s.\n# TYPE %s gauge\n", name, strings.ReplaceAll(name, "_", " "), name)
		for i := range 1 + rng.IntN(4) {
			fmt.Fprintf(&b, "%s{device=\"eth%d\"} %v\n", name, i, float64(rng.Int64N(1<<rng.IntN(40)+1)))
		}
	}
	return b.Bytes()
}

// cadvisorPage is like the kubelet's page about containers: few families of many
// series with long labels.
func cadvisorPage(seed uint64, pods int) []byte {
	rng := newRand(seed)
	ids := make([]string, pods)
	for i := range ids {
		ids[i] = fmt.Sprintf("container=\"app-%d\",id=\"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod%08x_%04x_4%03x.slice/cri-containerd-%016x%016x.scope\","+
			"image=\"registry.example.com/team/app-%d:v1.%d.%d\",name=\"%016x\",namespace=\"team-%d\",pod=\"app-%d-%08x-%05x\"",
			i%40, rng.Uint32(), rng.IntN(1<<16), rng.IntN(1<<12), rng.Uint64(), rng.Uint64(), i%40, rng.IntN(20), rng.IntN(9), rng.Uint64(),
			i%7, i%40, rng.Uint32(), rng.IntN(1<<20))
	}
	var b bytes.Buffer
	for _, name := range strings.Fields("container_cpu_usage_seconds_total container_cpu_user_seconds_total container_fs_reads_bytes_total " +
		"container_memory_rss container_memory_usage_bytes container_memory_working_set_bytes container_processes container_threads " +
		"container_start_time_seconds container_spec_memory_limit_bytes container_sockets container_file_descriptors") {
		fmt.Fprintf(&b, "# HELP %s %s.\n# TYPE %s gauge\n", name, strings.ReplaceAll(name, "_", " "), name)
		for _, id := range ids {
			fmt.Fprintf(&b, "%s{%s} %v %d\n", name, id, float64(rng.Int64N(1<<rng.IntN(40)+1)), 1_790_000_000_000+rng.Int64N(10_000))
		}
	}
	return b.Bytes()
}
