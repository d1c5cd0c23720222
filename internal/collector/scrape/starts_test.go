package scrape

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	dto "github.com/prometheus/prometheus/prompb/io/prometheus/client"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

const (
	openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	protobuf    = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

func startSpec(t *testing.T, on bool) *spec {
	t.Helper()
	cfg := loadConfig(t, "scrape_configs: [{job_name: j, scrape_native_histograms: true}]").ScrapeConfigs[0]
	p, err := newPlan(Job{Config: cfg, StartTimestamps: on}, "test")
	require.NoError(t, err)
	return &spec{plan: p, public: labels.FromStrings("job", "j")}
}

// startsOf returns the start timestamps of a frame's series by their texts.
func startsOf(f *model.Frame) map[string]int64 {
	out := map[string]int64{}
	list := f.Shape.Labels.Open(nil)
	for slot := range f.Shape.Slots() {
		var name []string
		for _, l := range list.Append(nil, slot) {
			if l.Name != "job" {
				name = append(name, l.Value)
			}
		}
		if start := f.Start(slot, f.Time); start != 0 {
			out[strings.Join(name, " ")] = start
		}
	}
	return out
}

func TestStartTimestampsOfOpenMetrics(t *testing.T) {
	text := func(created string) *page {
		return &page{contentType: openMetrics, wire: []byte(`# TYPE c counter
c_total{p="a"} 1
c_created{p="a"} ` + created + `
c_total{p="b"} 1
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 1
h_count 1
h_sum 1
h_created 1.5
# TYPE s summary
s{quantile="0.5"} 1
s_count 1
s_created 2
# TYPE g gauge
g 1
# EOF
`)}
	}
	want := func(c int64) map[string]int64 {
		out := map[string]int64{"h_bucket 1.0": 1500, "h_bucket +Inf": 1500, "h_count": 1500, "h_sum": 1500, "s 0.5": 2000, "s_count": 2000}
		if c != 0 {
			out["c_total a"] = c
		}
		return out
	}
	sp, c := startSpec(t, true), newCache(1, 1, "j")
	first, r := passPage(c, sp, 10_000, text("4"))
	require.NoError(t, r.err)
	require.Equal(t, want(4000), startsOf(first))
	require.Equal(t, 9, r.scraped, "_created is no series then")
	same, _ := passPage(c, sp, 11_000, text("4"))
	require.Same(t, first.Starts, same.Starts, "frames share what has not changed")
	reset, _ := passPage(c, sp, 12_000, text("11"))
	require.Equal(t, want(11_000), startsOf(reset))
	require.Equal(t, want(4000), startsOf(first), "a frame keeps what it had")
	bad, _ := passPage(c, sp, 13_000, text("NaN"))
	require.Equal(t, want(0), startsOf(bad), "no time at all")
	ahead, _ := passPage(c, sp, 14_000, text("15"))
	require.Equal(t, want(0), startsOf(ahead), "the target's clock is ahead")
	off, r := passPage(c, startSpec(t, false), 15_000, text("4"))
	require.NoError(t, r.err)
	require.Nil(t, off.Starts)
	require.Equal(t, 12, r.scraped, "_created is a series")
}

// allocate makes what a field refers to, whose type is a package's that we do not use.
func allocate[T any](field **T) *T {
	*field = new(T)
	return *field
}

func TestStartTimestampsOfProtobuf(t *testing.T) {
	sp, c := startSpec(t, true), newCache(1, 1, "j")
	encoded := func(sec int64) *page {
		counter := &dto.Counter{Value: 1}
		allocate(&counter.StartTimestamp).Seconds = sec
		native := &dto.Histogram{
			SampleCount: 1, SampleSum: 1, Schema: 1, ZeroThreshold: 1e-9,
			PositiveSpan: []dto.BucketSpan{{Offset: 0, Length: 1}}, PositiveDelta: []int64{1},
		}
		allocate(&native.StartTimestamp).Seconds = sec + 1
		var b bytes.Buffer
		for _, f := range []*dto.MetricFamily{
			{Name: "c", Type: dto.MetricType_COUNTER, Metric: []dto.Metric{{Counter: counter}}},
			{Name: "g", Type: dto.MetricType_GAUGE, Metric: []dto.Metric{{Gauge: &dto.Gauge{Value: 1}}}},
			{Name: "h", Type: dto.MetricType_HISTOGRAM, Metric: []dto.Metric{{Histogram: native}}},
		} {
			msg, err := f.Marshal()
			require.NoError(t, err)
			b.Write(append(binary.AppendUvarint(nil, uint64(len(msg))), msg...))
		}
		return &page{contentType: protobuf, wire: b.Bytes()}
	}
	f, r := passPage(c, sp, 10_000, encoded(3))
	require.NoError(t, r.err)
	require.Equal(t, map[string]int64{"c": 3000, "h": 4000}, startsOf(f))
	require.Len(t, f.Extras, 1)
}

// TestStartTimestampsMove: where the list of series is made anew, start timestamps
// go along.
func TestStartTimestampsMove(t *testing.T) {
	sp, c := startSpec(t, true), newCache(1, 1, "j")
	generations := map[uint64]bool{}
	for i := range 60 {
		var b strings.Builder
		b.WriteString("# TYPE c counter\n")
		for k := range 100 {
			fmt.Fprintf(&b, "c_total{i=\"%d\"} 1\nc_created{i=\"%d\"} %d\n", i*50+k, i*50+k, i*50+k+1)
		}
		b.WriteString("# EOF\n")
		f, r := passPage(c, sp, int64(1e9+i*1000), &page{contentType: openMetrics, wire: []byte(b.String())})
		require.NoError(t, r.err)
		got := startsOf(f)
		for k := range 100 {
			require.EqualValues(t, (i*50+k+1)*1000, got[fmt.Sprintf("c_total %d", i*50+k)])
		}
		generations[f.Shape.Generation] = true
	}
	require.Greater(t, len(generations), 1)
}
