package store

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// filled makes a workspace with two blocks, samples in memory and one out of
// order, and returns what is in it.
func filled(t *testing.T) (*Store, time.Time, map[string][]float64) {
	t.Helper()
	s := open(t, Config{})
	// Only the blocks made here: what becomes one while it is exported is there twice.
	h, err := s.AcquireRead(bg, ws)
	require.NoError(t, err)
	h.DisableCompactions()
	h.Release()
	start := time.UnixMilli(1_700_000_000_000).Truncate(2 * time.Hour)
	for i := range 24 {
		require.NoError(t, put(t, s, "a", start.Add(time.Duration(i)*15*time.Minute), float64(i)))
		require.NoError(t, put(t, s, "b", start.Add(time.Duration(i)*15*time.Minute), -float64(i)))
		if i == 8 || i == 16 {
			block(t, s, start.Add(time.Duration(i/8)*2*time.Hour-1))
		}
	}
	require.NoError(t, put(t, s, "a", start.Add(5*time.Hour+time.Second), 1000)) // out of order
	return s, start, read(t, s)
}

func export(t *testing.T, s *Store) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, s.Export(bg, ws, &b))
	left, err := filepath.Glob(filepath.Join(s.path(ws), exportPrefix+"*"))
	require.NoError(t, err)
	require.Empty(t, left)
	return b.Bytes()
}

func TestExportAndImport(t *testing.T) {
	from, start, want := filled(t)
	archive := export(t, from)
	require.Equal(t, want, read(t, from), "an export changes nothing")

	to := open(t, Config{blockReload: time.Second})
	newer := start.Add(5*time.Hour + 30*time.Minute + time.Second)
	require.NoError(t, put(t, to, "c", newer, 7)) // of a time that the archive has too
	out, err := to.Import(bg, ws, bytes.NewReader(archive))
	require.NoError(t, err)
	require.EqualValues(t, 49, out.Samples)
	require.Zero(t, out.Present+out.Expired)
	all := map[string][]float64{"a": want["a"], "b": want["b"], "c": {7}}
	require.Equal(t, all, read(t, to))

	again, err := to.Import(bg, ws, bytes.NewReader(archive))
	require.NoError(t, err)
	require.Equal(t, out.Blocks, again.Blocks+again.Present)
	require.Equal(t, all, read(t, to), "once more changes nothing")
	require.NoError(t, put(t, to, "c", newer.Add(time.Second), 8))

	// What is in the log only must not fall behind the blocks when it is replayed.
	require.NoError(t, to.Close(bg))
	to = open(t, Config{Dir: to.cfg.Dir})
	all["c"] = []float64{7, 8}
	require.Equal(t, all, read(t, to))
}

// rewrite makes another archive of an archive.
func rewrite(t *testing.T, archive []byte, change func(h *tar.Header, body []byte) (*tar.Header, []byte)) []byte {
	t.Helper()
	var out bytes.Buffer
	tr, tw := tar.NewReader(bytes.NewReader(archive)), tar.NewWriter(&out)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		body, err := io.ReadAll(tr)
		require.NoError(t, err)
		if h, body = change(h, body); h == nil {
			continue
		}
		h.Size = int64(len(body))
		require.NoError(t, tw.WriteHeader(h))
		_, err = tw.Write(body)
		require.NoError(t, err)
	}
	require.NoError(t, tw.Close())
	return out.Bytes()
}

func TestArchivesThatAreNotSoundLeaveNothing(t *testing.T) {
	from, _, _ := filled(t)
	archive := export(t, from)
	broken := func(match string, change func([]byte) []byte) []byte {
		return rewrite(t, archive, func(h *tar.Header, b []byte) (*tar.Header, []byte) {
			if strings.HasSuffix(h.Name, match) {
				return h, change(b)
			}
			return h, b
		})
	}
	named := func(name string) []byte {
		first := true
		return rewrite(t, archive, func(h *tar.Header, b []byte) (*tar.Header, []byte) {
			if first {
				h.Name, first = name, false
			}
			return h, b
		})
	}
	// With sums that are right, so that what is inside is looked at.
	consistent := func(match string, change func([]byte) []byte) []byte {
		dir := t.TempDir()
		s := open(t, Config{})
		_, err := s.unpack(bg, bytes.NewReader(archive), dir)
		require.NoError(t, err)
		files, err := filepath.Glob(filepath.Join(dir, "*", match))
		require.NoError(t, err)
		text, err := os.ReadFile(files[0])
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(files[0], change(text), 0o600))
		var b bytes.Buffer
		require.NoError(t, archiveOf(&b, dir))
		return b.Bytes()
	}
	cut := func(b []byte) []byte { return b[:len(b)-1] }
	flip := func(b []byte) []byte {
		for i := len(b) / 4; i < len(b)*3/4; i++ {
			b[i] ^= 0xff
		}
		return b
	}
	for name, tc := range map[string]struct {
		archive []byte
		want    string
	}{
		"empty":           {nil, "it ends early"},
		"no archive":      {bytes.Repeat([]byte("x"), 1024), "archive: archive/tar"},
		"cut off":         {archive[:len(archive)/2], "archive: "},
		"no manifest":     {rewrite(t, archive, func(h *tar.Header, b []byte) (*tar.Header, []byte) { return skip(h, manifestName), b }), "it ends early"},
		"file missing":    {rewrite(t, archive, func(h *tar.Header, b []byte) (*tar.Header, []byte) { return skip(h, "index"), b }), "is missing"},
		"file changed":    {broken("/index", flip), "checksum"},
		"out of place":    {named("../../../evil"), "is no file of a block"},
		"absolute":        {named("/etc/passwd"), "is no file of a block"},
		"other format":    {broken(manifestName, func([]byte) []byte { return []byte(`{"format": 2}`) }), "format 2, this program reads 1"},
		"bad index":       {consistent("index", flip), "archive: block"},
		"short index":     {consistent("index", cut), "archive: block"},
		"bad chunk":       {consistent("chunks/*", flip), "archive: block"},
		"bad meta":        {consistent("meta.json", cut), "archive: block"},
		"another's block": {consistent("meta.json", func(b []byte) []byte { return bytes.Replace(b, []byte(`"ulid": "0`), []byte(`"ulid": "1`), 1) }), "says that it is"},
		"not aligned": {consistent("meta.json", func(b []byte) []byte {
			var m map[string]any
			d := json.NewDecoder(bytes.NewReader(b))
			d.UseNumber()
			require.NoError(t, d.Decode(&m))
			n, err := m["maxTime"].(json.Number).Int64()
			require.NoError(t, err)
			m["maxTime"] = n + 1
			out, err := json.Marshal(m)
			require.NoError(t, err)
			return out
		}), "is not aligned"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, Config{})
			require.NoError(t, put(t, s, "a", time.Now(), 1))
			_, err := s.Import(bg, ws, bytes.NewReader(tc.archive))
			require.ErrorContains(t, err, tc.want)
			require.Equal(t, map[string][]float64{"a": {1}}, read(t, s))
			left, err := filepath.Glob(filepath.Join(s.path(ws), importPrefix+"*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func skip(h *tar.Header, suffix string) *tar.Header {
	if strings.HasSuffix(h.Name, suffix) {
		return nil
	}
	return h
}

func archiveOf(w io.Writer, dir string) error {
	return archive(bg, w, dir, manifest{Format: archiveFormat})
}

func TestImportNeedsRoom(t *testing.T) {
	from, _, _ := filled(t)
	archive := export(t, from)
	free := uint64(1 << 30)
	s := open(t, Config{MinFreeDisk: 1 << 20, FreeBytes: func(string) (uint64, error) { return free, nil }})
	h, err := s.AcquireWrite(bg, ws)
	require.NoError(t, err)
	h.Release()
	free = 1 << 20
	_, err = s.unpack(bg, bytes.NewReader(archive), t.TempDir())
	var wait *UnavailableError
	require.ErrorAs(t, err, &wait)
	require.ErrorContains(t, err, "store.min_free_disk")
}

func TestTransferInPieces(t *testing.T) {
	from, _, want := filled(t)
	to := open(t, Config{blockReload: time.Second})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		if r.Method == http.MethodGet {
			err = from.ServeExport(w, r, ws)
		} else {
			err = to.ServeImport(w, r, ws)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	require.NoError(t, err)
	archive, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())

	send := func(status int, offset int, piece []byte, last string) map[string]any {
		t.Helper()
		res, err := http.Post(fmt.Sprintf("%s?upload=0123abcd&offset=%d&last=%s", srv.URL, offset, last), "application/octet-stream", bytes.NewReader(piece))
		require.NoError(t, err)
		defer func() { _ = res.Body.Close() }()
		require.Equal(t, status, res.StatusCode)
		out := make(map[string]any)
		if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
			require.NoError(t, json.NewDecoder(res.Body).Decode(&out))
		}
		return out
	}
	half := len(archive) / 2
	send(http.StatusOK, 0, archive[:half], "")
	require.EqualValues(t, half, send(http.StatusConflict, 0, archive[:half], "")["received"])
	require.EqualValues(t, half, send(http.StatusConflict, len(archive), nil, "true")["received"])
	got := send(http.StatusOK, half, archive[half:], "true")
	require.EqualValues(t, 49, got["samples"])
	require.Equal(t, want, read(t, to))
	files, err := os.ReadDir(filepath.Join(to.path(ws), uploadsDir))
	require.NoError(t, err)
	require.Empty(t, files)

	send(http.StatusBadRequest, 0, []byte("no archive"), "true")
	res, err = http.Post(srv.URL+"?upload=../x&offset=0", "", nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusBadRequest, res.StatusCode)
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte("x"))
	var b bytes.Buffer
	require.NoError(f, archiveOf(&b, f.TempDir()))
	f.Add(b.Bytes())
	dir := f.TempDir()
	s := &Store{cfg: Config{Dir: dir, FreeBytes: func(string) (uint64, error) { return 1 << 40, nil }}}
	f.Fuzz(func(t *testing.T, archive []byte) {
		into := t.TempDir()
		blocks, err := s.unpack(bg, bytes.NewReader(archive), into)
		if err != nil {
			return
		}
		for _, b := range blocks {
			_, _ = inspect(bg, filepath.Join(into, b))
		}
	})
}
