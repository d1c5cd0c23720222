// Package sink is the end of the bench's line: it takes remote writes, says
// they were stored, and counts.
package sink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// maxMessage bounds a request after decompression.
const maxMessage = 256 << 20

// Stats are counts since the sink began. Those of samples do not hold requests
// that were refused.
type Stats struct {
	// Samples are all that arrived: floats, native histograms and stale marks.
	Samples int64 `json:"samples"`
	// Page are those that were on a page, and not the first time that they came
	// at this timestamp left out: no marks, nothing that the collector adds.
	Page       int64 `json:"page"`
	Synthetic  int64 `json:"synthetic"` // up, scrape_*, target_info
	Stale      int64 `json:"stale"`     // stale marks
	Duplicates int64 `json:"duplicates"`
	OutOfOrder int64 `json:"outOfOrder"`
	Histograms int64 `json:"histograms"`
	Exemplars  int64 `json:"exemplars"`
	Metadata   int64 `json:"metadata"`
	Series     int64 `json:"series"`
	// Targets is the number of different series named up.
	Targets  int64 `json:"targets"`
	Requests int64 `json:"requests"`
	V2       int64 `json:"v2"`      // requests of remote write 2.0
	Refused  int64 `json:"refused"` // during an outage
	Bad      int64 `json:"bad"`     // that could not be read
	Bytes    int64 `json:"bytes"`   // of bodies as received
	RawBytes int64 `json:"rawBytes"`
	// FirstSample is when the first request with a sample was read, in
	// nanoseconds since the epoch.
	FirstSample int64 `json:"firstSample"`
	// LastError is the reason of the last bad request.
	LastError string `json:"lastError,omitempty"`
}

// Sink is an http.Handler: remote writes at any path, GET /stats, and POST
// /fail?status=503 and /recover to begin and end an outage.
type Sink struct {
	seed   maphash.Seed
	only1  bool
	status atomic.Int32 // 0, or what every write is answered with

	pool    sync.Pool // *scratch
	zstd    *zstd.Decoder
	shards  [64]shard
	refused atomic.Int64

	mu    sync.Mutex
	stats Stats
}

type shard struct {
	mu     sync.Mutex
	series map[uint64]*series
}

// series is what is known of one series.
type series struct {
	last      int64 // latest timestamp
	synthetic bool
}

type scratch struct {
	body, message []byte
	decoder       decoder
}

// New makes a sink, which refuses remote write 2.0 if only1 is set.
func New(only1 bool) (*Sink, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxMessage))
	if err != nil {
		return nil, err
	}
	s := &Sink{seed: maphash.MakeSeed(), only1: only1, zstd: z}
	s.pool.New = func() any { return &scratch{decoder: decoder{seed: s.seed}} }
	for i := range s.shards {
		s.shards[i].series = map[uint64]*series{}
	}
	return s, nil
}

// Stats returns the counts so far.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Refused = s.refused.Load()
	return st
}

// ServeHTTP implements http.Handler.
func (s *Sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/stats":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Stats()) // the asker is gone
	case r.Method == http.MethodPost && r.URL.Path == "/fail":
		status, err := strconv.Atoi(r.URL.Query().Get("status"))
		if err != nil || status < 400 || status > 599 {
			http.Error(w, "want status=400 to 599", http.StatusBadRequest)
			return
		}
		s.status.Store(int32(status))
	case r.Method == http.MethodPost && r.URL.Path == "/recover":
		s.status.Store(0)
	case r.Method == http.MethodPost:
		s.write(w, r)
	default:
		http.Error(w, "want POST of a remote write", http.StatusMethodNotAllowed)
	}
}

func (s *Sink) write(w http.ResponseWriter, r *http.Request) {
	if status := s.status.Load(); status != 0 {
		s.refused.Add(1)
		_, _ = io.Copy(io.Discard, r.Body) // so that the connection can be used again
		http.Error(w, "an outage, as asked for", int(status))
		return
	}
	v2 := strings.Contains(r.Header.Get("Content-Type"), "io.prometheus.write.v2.Request")
	if v2 && s.only1 {
		http.Error(w, "only remote write 1.0 here", http.StatusUnsupportedMediaType)
		return
	}
	t, err := s.read(r, v2)
	if err != nil {
		s.mu.Lock()
		s.stats.Bad++
		s.stats.LastError = err.Error()
		s.mu.Unlock()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if v2 {
		h := w.Header()
		h.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(t.samples))
		h.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(t.histograms))
		h.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(t.exemplars))
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sink) read(r *http.Request, v2 bool) (totals, error) {
	sc := s.pool.Get().(*scratch)
	defer s.pool.Put(sc)
	body := bytes.NewBuffer(sc.body[:0])
	if _, err := body.ReadFrom(r.Body); err != nil {
		return totals{}, err
	}
	sc.body = body.Bytes()
	if err := s.decompress(sc, r.Header.Get("Content-Encoding")); err != nil {
		return totals{}, err
	}
	var local Stats
	each := func(b *batch) { s.count(b, &local) }
	decode := sc.decoder.v1
	if v2 {
		decode = sc.decoder.v2
	}
	t, err := decode(sc.message, each)
	if err != nil {
		return t, err
	}
	s.add(&local, t, sc, v2)
	return t, nil
}

func (s *Sink) decompress(sc *scratch, encoding string) (err error) {
	switch encoding {
	case "snappy":
		n, err := s2.DecodedLen(sc.body)
		if err != nil {
			return err
		}
		if n > maxMessage {
			return errors.New("message too long")
		}
		sc.message, err = s2.Decode(sc.message[:cap(sc.message)], sc.body)
		return err
	case "zstd":
		sc.message, err = s.zstd.DecodeAll(sc.body, sc.message[:0])
		return err
	}
	return fmt.Errorf("Content-Encoding %q: want snappy or zstd", encoding)
}

// count enters the points of one series.
func (s *Sink) count(b *batch, st *Stats) {
	sh := &s.shards[b.hash%uint64(len(s.shards))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	known := sh.series[b.hash]
	if known == nil {
		name := string(b.name)
		known = &series{last: -1 << 62}
		known.synthetic = name == "up" || name == "target_info" || strings.HasPrefix(name, "scrape_")
		sh.series[b.hash] = known
		st.Series++
		if name == "up" {
			st.Targets++
		}
	}
	for _, p := range b.points {
		switch {
		case p.stale:
			st.Stale++
		case known.synthetic:
			st.Synthetic++
		case p.time != known.last:
			st.Page++
		}
		switch {
		case p.time == known.last:
			st.Duplicates++
		case p.time < known.last:
			st.OutOfOrder++
		default:
			known.last = p.time
		}
	}
}

func (s *Sink) add(st *Stats, t totals, sc *scratch, v2 bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.stats
	a.Samples += int64(t.samples + t.histograms)
	a.Histograms += int64(t.histograms)
	a.Exemplars += int64(t.exemplars)
	a.Metadata += int64(t.metadata)
	a.Page += st.Page
	a.Synthetic += st.Synthetic
	a.Stale += st.Stale
	a.Duplicates += st.Duplicates
	a.OutOfOrder += st.OutOfOrder
	a.Series += st.Series
	a.Targets += st.Targets
	a.Requests++
	if v2 {
		a.V2++
	}
	a.Bytes += int64(len(sc.body))
	a.RawBytes += int64(len(sc.message))
	if a.FirstSample == 0 && t.samples+t.histograms > 0 {
		a.FirstSample = time.Now().UnixNano()
	}
}
