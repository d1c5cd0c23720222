// Command fill writes the last hour of a recorded cluster into a workspace, so
// that boards can be looked at with the series that a real cluster has.
//
//	fill --credentials mangru-data/credentials --remote-write URL
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/recording"
	"github.com/mangru/mangru/test/bench/server/blocks"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fill:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("fill", flag.ContinueOnError)
	credentials := flags.String("credentials", "", "shared-credentials file of who writes")
	url := flags.String("remote-write", "", "remote-write address of the workspace")
	recordings := flags.String("recordings", "test/bench/collector/testdata", "directory of the recordings")
	nodes := flags.Int("nodes", 3, "nodes of the cluster")
	length := flags.Duration("length", 75*time.Minute, "how much time is written")
	interval := flags.Duration("interval", 30*time.Second, "time between two samples of a series")
	until := flags.Int64("until", time.Now().Unix(), "time of the last sample, seconds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	w, err := newWriter(ctx, *credentials, *url)
	if err != nil {
		return err
	}
	rec, err := recording.Load(os.DirFS(*recordings), load.Jobs())
	if err != nil {
		return err
	}
	end := time.Unix(*until, 0)
	begin := end.Add(-*length).Truncate(time.Second)
	cluster, err := load.New(load.Shape{Nodes: *nodes, PodsPerNode: 8, APIServers: 1, Interval: *interval, Seed: 1}, rec, begin)
	if err != nil {
		return err
	}
	targets := blocks.Targets(cluster, *interval)
	for at := begin; !at.Add(*interval).After(end); at = at.Add(*interval) {
		for _, t := range targets {
			w.thin = t.Job == load.JobAPIServer
			if _, err := t.Scrape(w, at); err != nil {
				return err
			}
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	fmt.Printf("%d samples of %d series\n", w.samples, len(w.series))
	return nil
}

// writer sends what is appended to it. It is a storage.Appender as far as
// targets use one: references are places in series.
type writer struct {
	storage.Appender
	ctx     context.Context
	client  *http.Client
	url     string
	thin    bool // leave out what an API server says of rarely used resources
	series  []prompb.TimeSeries
	draft   prompb.WriteRequest
	samples int
}

func newWriter(ctx context.Context, credentials, url string) (*writer, error) {
	f, err := os.Open(credentials)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	values := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, v, ok := strings.Cut(lines.Text(), "="); ok {
			values[strings.TrimSpace(name)] = strings.TrimSpace(v)
		}
	}
	signer, err := sigv4.NewSigner(sigv4.SignConfig{
		Region: "us-east-1", Service: "aps", AccessKey: values["aws_access_key_id"], SecretKey: values["aws_secret_access_key"],
	}, http.DefaultTransport)
	if err != nil {
		return nil, err
	}
	return &writer{ctx: ctx, client: &http.Client{Transport: signer, Timeout: time.Minute}, url: url}, nil
}

// skipped marks a series that is not written.
const skipped = storage.SeriesRef(1 << 62)

// Append takes one sample for the next request.
func (w *writer) Append(ref storage.SeriesRef, l labels.Labels, ms int64, v float64) (storage.SeriesRef, error) {
	if ref == 0 {
		ref = w.add(l)
	}
	if ref == skipped {
		return ref, nil
	}
	ts := w.series[ref-1]
	ts.Samples = []prompb.Sample{{Timestamp: ms, Value: v}}
	w.draft.Timeseries = append(w.draft.Timeseries, ts)
	if len(w.draft.Timeseries) >= 5000 {
		return ref, w.flush()
	}
	return ref, nil
}

func (w *writer) add(l labels.Labels) storage.SeriesRef {
	if r := l.Get("resource"); w.thin && strings.HasSuffix(l.Get("__name__"), "_bucket") && r != "" && r != "pods" && r != "nodes" && r != "leases" {
		return skipped
	}
	var ts prompb.TimeSeries
	l.Range(func(l labels.Label) { ts.Labels = append(ts.Labels, prompb.Label{Name: l.Name, Value: l.Value}) })
	w.series = append(w.series, ts)
	return storage.SeriesRef(len(w.series))
}

func (w *writer) flush() error {
	if len(w.draft.Timeseries) == 0 {
		return nil
	}
	text, err := w.draft.Marshal()
	if err != nil {
		return err
	}
	w.samples += len(w.draft.Timeseries)
	w.draft.Timeseries = w.draft.Timeseries[:0]
	req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, w.url, bytes.NewReader(s2.EncodeSnappy(nil, text)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	res, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		first, _ := bufio.NewReader(res.Body).ReadString('\n')
		return fmt.Errorf("remote write answered %s: %s", res.Status, first)
	}
	return nil
}
