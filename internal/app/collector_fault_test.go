package app

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/collector/buffer"
	"github.com/mangru/mangru/internal/collector/scrape"
	"github.com/mangru/mangru/internal/collector/send"
	"github.com/mangru/mangru/internal/otelconf"
)

// troubled is an endpoint that fails in many ways, one at a time.
type troubled struct {
	*receiver
	rnd     *rand.Rand
	refused int // requests, for good
}

// RoundTrip implements http.RoundTripper.
func (e *troubled) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	answer := func(code int, header ...string) (*http.Response, error) {
		rec := httptest.NewRecorder()
		if len(header) > 0 {
			rec.Header().Set(header[0], header[1])
		}
		http.Error(rec, "in trouble", code)
		return rec.Result(), nil
	}
	accept := func() (*http.Response, error) {
		rec := httptest.NewRecorder()
		req.Body = io.NopCloser(bytes.NewReader(body))
		e.ServeHTTP(rec, req)
		return rec.Result(), nil
	}
	e.mu.Lock()
	trouble := e.rnd.IntN(12)
	// What was taken before, though the answer said otherwise, is not refused.
	refuse := trouble == 8 && e.refused < 5 && !e.hasAny(req, body)
	if refuse {
		e.refused++
	}
	e.mu.Unlock()
	switch trouble {
	case 0:
		return answer(http.StatusInternalServerError)
	case 1:
		return answer(http.StatusTooManyRequests, "Retry-After", "1")
	case 2:
		return answer(http.StatusForbidden)
	case 3: // hangs
		<-req.Context().Done()
		return nil, req.Context().Err()
	case 4:
		return nil, errors.New("connection reset")
	case 5: // takes it and says nothing
		if _, err := accept(); err != nil {
			return nil, err
		}
		return nil, errors.New("connection reset after the fact")
	case 6: // takes it and fails
		if _, err := accept(); err != nil {
			return nil, err
		}
		return answer(http.StatusBadGateway)
	case 7:
		if len(body) > 1500 {
			return answer(http.StatusRequestEntityTooLarge)
		}
	case 8:
		if refuse {
			return answer(http.StatusBadRequest)
		}
	}
	return accept()
}

// troubledTarget serves pages that are broken now and then.
func troubledTarget(start time.Time) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := int(time.Since(start) / time.Second)
		var page bytes.Buffer
		for i := range 15 + n%5 {
			fmt.Fprintf(&page, "# TYPE m gauge\nm{i=\"%d\"} %d\n", (i+n/10)%25, n)
			if i == 3 {
				fmt.Fprintf(&page, "timed %d %d\n", n, time.Now().UnixMilli()-500)
			}
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		kind := (n + len(r.URL.Host) + int(r.URL.Host[len(r.URL.Host)-1])) % 23
		switch kind {
		case 0:
			<-r.Context().Done() // stalls
			return
		case 1:
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		case 2:
			page.WriteString("broken{\n")
		case 3:
			w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0") // which it is not
		case 4: // less than it says
			w.Header().Set("Content-Encoding", "gzip")
			var packed bytes.Buffer
			zw := gzip.NewWriter(&packed)
			_, _ = zw.Write(page.Bytes())
			_ = zw.Close()
			_, _ = w.Write(packed.Bytes()[:packed.Len()/2])
			return
		case 5:
			w.Header().Set("Content-Encoding", "gzip") // which it is not
		case 6: // more than is allowed
			for i := range 20000 {
				fmt.Fprintf(&page, "huge{i=\"%d\"} 1\n", i)
			}
		case 7:
			page.Reset()
		}
		_, _ = w.Write(page.Bytes())
	}
}

// TestTroubles scrapes troubled targets and sends to troubled endpoints, of both
// versions, and audits every sample: what was scraped arrived, in order, save what
// an endpoint refused for good, which is counted.
func TestTroubles(t *testing.T) {
	for _, v2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v2=%v", v2), func(t *testing.T) {
			bubble(t, func(t *testing.T) { testTroubles(t, v2) })
		})
	}
}

func testTroubles(t *testing.T, v2 bool) {
	log := slog.New(slog.DiscardHandler)
	start := time.Now()
	rcv := &receiver{v2: v2}
	queue, err := buffer.New(buffer.Config{MaxBytes: 64 << 20, MaxAge: time.Hour}, []buffer.Endpoint{{Name: "far"}}, log)
	require.NoError(t, err)
	sink := &tee{want: map[string][]prompb.Sample{}, queue: queue}
	reg := prometheus.NewRegistry()
	scraper := scrape.New(scrape.Config{UserAgent: "test", FirstWithin: 100 * time.Millisecond}, sink, reg, log)
	cfg, err := config.Load("scrape_configs: [{job_name: j, scrape_interval: 1s, scrape_timeout: 800ms, body_size_limit: 100KB}]", log)
	require.NoError(t, err)
	job := scrape.Job{Config: cfg.ScrapeConfigs[0], Transport: &inMemory{troubledTarget(start)}}
	for i := range 10 {
		job.Targets = append(job.Targets, scrape.Target{
			ID: uint64(i * 7919), URL: fmt.Sprintf("http://target-%d/metrics", i), Interval: time.Second, Timeout: 800 * time.Millisecond,
			Labels: labels.FromStrings("job", "j", "instance", fmt.Sprint(i)),
		})
	}
	require.NoError(t, scraper.Apply([]scrape.Job{job}))
	sender, err := send.New(send.Config{
		Endpoint: otelconf.Endpoint{
			Name: "far", URL: "http://far/write", Timeout: 2 * time.Second, MaxShards: 4,
			MaxRequestBytes: 4000, MaxSamplesPerRequest: 300, Retry: otelconf.Retry{Initial: 20 * time.Millisecond, Max: time.Second},
		},
		BatchTimeout: time.Second, Transport: &troubled{receiver: rcv, rnd: rand.New(rand.NewPCG(7, 7))},
	}, send.NewMetrics(reg), log)
	require.NoError(t, err)
	waiting, err := queue.Feed("far")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() { defer close(done); sender.Run(t.Context(), feed{waiting}) }()
	time.Sleep(4 * time.Minute)
	scraper.Stop()
	queue.Close()
	<-done

	missing := sink.audit(t, rcv)
	require.EqualValues(t, sender.State().Refused, missing, "refused samples are all that is missing")
	require.Positive(t, missing)
	require.Positive(t, rcv.repeated)
	for name, n := range queue.State().Endpoints[0].Dropped {
		require.Zero(t, n, name)
	}
}
