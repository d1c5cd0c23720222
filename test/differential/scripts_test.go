package differential

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

const (
	textType  = "text/plain; version=0.0.4; charset=utf-8"
	text1Type = "text/plain; version=1.0.0; escaping=allow-utf-8; charset=utf-8"
	omType    = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	protoType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)

func text(body string) answer { return answer{contentType: textType, body: body} }
func om(body string) answer   { return answer{contentType: omType, body: body} }
func pb(body string) answer   { return answer{contentType: protoType, body: body} }
func fails(fault, body string) answer {
	return answer{contentType: textType, body: body, fault: fault}
}

const usual = `# HELP a What a is.
# TYPE a gauge
a{x="1"} 1
a{x="2"} 2
nan NaN
inf{s="+"} +Inf
inf{s="-"} -Inf
zero -0
tiny 5e-324
long 0.1234567890123456789
lab{job="exposed",instance="me",exported_job="deep"} 7
utf{x="grüß \"q\" \\ \n"} 1
empty{x="",y="1"} 1
# TYPE h histogram
h_bucket{le="1"} 3
h_bucket{le="+Inf"} 4
h_sum 5
h_count 4
# TYPE req_total counter
req_total{code="200"} 10
# TYPE s summary
s{quantile="0.5"} 1
s_sum 2
s_count 3
drop_me 1
`

// life is what can happen to a target.
func life() []answer {
	return []answer{
		text(usual),
		text(usual),
		text("new 1\na{x=\"2\"} 5\nzero 0\nnan 1\n"), // another order, some gone, one new
		{contentType: textType, body: usual, status: 500},
		text(usual),
		text("a{x=\n"),
		text(usual),
		text("a{x=\"1\"} 1\na{x=\"3\"} 4\na 1 2 3 4\na{x=\"2\"} 2\n"), // broken in the middle
		text(usual),
		text("a{x=\"1\"} 1\na{x=\"1\"} 2\nb 1\nb 1\n"),
		text("c{x=\"1\",y=\"2\"} 1\nc{y=\"2\",x=\"1\"} 1\nd{x=\"1\",y=\"2\"} 1\nd{y=\"2\",x=\"1\"} 2\n"),
		text("merge{cut=\"1\"} 1\nmerge{cut=\"2\"} 2\nmerge_same{cut=\"1\"} 4\nmerge_same{cut=\"2\"} 4\n"),
		text("o 1 @{-1510}\np 1 @{-1370}\nq 9 @{3600000}\nplain 1\n"),
		text("o 1 @{12:-1510}\np 2 @{12:-1430}\nplain 1\n"), // the same again, and back
		text("o 2 @{-640}\np 3 @{12:-1370}\n"),              // on, and another value at the same time
		text("o 3 @{-590}\no 4 @{-490}\no 5 @{-590}\n"),     // several times of one series
		text("o 6\np 7\n"),                           // without a time
		text("o 7 @{-580}\no 8\nr 1\nr 2 @{-620}\n"), // with and without
		text(usual),
		text(""),
		text(usual),
		text("up 5\nscrape_series_added 9\nscrape_duration_seconds 77\na{x=\"1\"} 1\n"),
		{body: "a{x=\"1\"} 3\n"}, // no type
		{contentType: "application/x-thing", body: "a{x=\"1\"} 4\n"},
		{contentType: "text/html", body: "<html>\n"},
		text("last_line_open 5\nvalue 12345"),
		text("# only a comment\n"),
		text("\n\n  \nspaced   3\t\ntabs\t4\n{\"quoted\"} 5\n{\"with space\", x=\"1\"} 6\n"),
		text("hex 0x1p-2\nplus +3\nunder 1_000\n"),
		text("big 1e400\n"),
		text("a{__name__=\"b\"} 1\n"), // a label twice
		text("a{x=\"1\",x=\"2\"} 1\n"),
		text("c 1\na{x=\"1\",x=\"1\"} 1\n"),
		{contentType: textType, status: 204},
		text(usual),
	}
}

// broken is how the way to a target fails.
func broken() []answer {
	page := strings.Repeat("x{y=\"1\"} 1\n", 1) + "z 2\nw 3\n"
	return []answer{
		text(page), fails(faultCut, page), text(page), fails(faultChunk, page), text(page), fails(faultShort, page),
		text(page), fails(faultStall, page), text(page), fails(faultDrip, page), text(page), fails(faultReset, page),
		text(page), fails(faultNotGzip, page), text(page), fails(faultHalf, page+usual), text(page), fails(faultMoved, page),
		text(page), {contentType: textType, body: page, status: 429}, text(page), {contentType: omType, body: page},
		text(page), {contentType: protoType, body: page}, text(page), {contentType: "text/plain; version", body: page}, text(page),
	}
}

func many(name string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s{i=\"%d\"} %d\n", name, i, i)
	}
	return b.String()
}

// limits goes over every limit and back.
func limits() []answer {
	long := "l{" + strings.Repeat("x", 40) + "=\"1\"} 1\n"
	value := "l{x=\"" + strings.Repeat("v", 60) + "\"} 1\n"
	labels := "l{a=\"1\",b=\"2\",c=\"3\",d=\"4\",e=\"5\",f=\"6\"} 1\n"
	small := many("m", 5)
	return []answer{
		text(small), text(many("m", 40)), text(small), text(small + long), text(small), text(small + value), text(small),
		text(small + labels), text(small), text(small + "# " + strings.Repeat("c", 8000) + "\n"), text(small),
		text("dropped 1\n" + many("m", 9) + "drop_me 1\ndrop_me{x=\"2\"} 1\n"), text(small), text(many("m", 10)), text(many("m", 11)), text(small),
	}
}

const openMetrics = `# TYPE om counter
# UNIT om_seconds seconds
# HELP om A counter.
om_total{x="1"} 5 # {trace_id="abc"} 1
om_created{x="1"} 123.5
# TYPE lat_seconds histogram
# UNIT lat_seconds seconds
# HELP lat_seconds Latency \"quoted\".
lat_seconds_bucket{le="1.0"} 3 # {trace_id="def"} 0.5 @om{-410}
lat_seconds_bucket{le="2.5"} 4
lat_seconds_bucket{le="+Inf"} 4
lat_seconds_sum 5
lat_seconds_count 4
lat_seconds_created 123
# TYPE g gauge
g 1
# TYPE gh gaugehistogram
gh_bucket{le="1.0"} 1
gh_bucket{le="+Inf"} 2
gh_gsum 3
gh_gcount 2
# TYPE st stateset
st{st="a"} 1
st{st="b"} 0
# TYPE build info
build_info{version="1"} 1
# TYPE sm summary
sm{quantile="0.5"} 1
sm_sum 2
sm_count 3
# TYPE u unknown
u 1
`

func openMetricsPages() []answer {
	end := "# EOF\n"
	return []answer{
		om(openMetrics + end), om(openMetrics + end),
		om(strings.ReplaceAll(openMetrics, "abc", "xyz") + end),
		om(openMetrics), // no end
		om(openMetrics + end),
		om(openMetrics + end + "late 1\n"),
		om(openMetrics + end),
		om("# TYPE om counter\nom_total{x=\"1\"} 9 @om{-520} # {trace_id=\"own\"} 1 @om{-650}\n" + end),
		om("# TYPE om counter\nom_total{x=\"1\"} 9 @om{-530} # {trace_id=\"" + strings.Repeat("t", 200) + "\"} 1\n" + end),
		om("# TYPE om counter\nom{x=\"1\"} 9\n" + end), // no suffix
		om(openMetrics + end),
		{contentType: "application/openmetrics-text", body: openMetrics + end},
		{contentType: "application/openmetrics-text; version=0.0.1", body: openMetrics + end},
		om("# TYPE a gauge\na 1\n# TYPE a gauge\na 2\n" + end), // a type twice
		om("a 1\n\nb 2\n" + end), // an empty line
		om(end),
		om(openMetrics + end),
	}
}

// newText is the text format that knows UTF-8 names.
func newText() []answer {
	page := "# TYPE \"http.requests\" counter\n{\"http.requests\",\"status.code\"=\"200\"} 1\nplain{l=\"1\"} 2\n{\"grüße\"} 3\n{\"a b\"} 4\n"
	return []answer{
		{contentType: text1Type, body: page}, {contentType: text1Type, body: page},
		text("plain{l=\"1\"} 2\nU__http_2e_requests{U__status_2e_code=\"200\"} 1\n"),
		{contentType: text1Type, body: page},
	}
}

// exotic is a page in protobuf. step moves its values.
func exotic(step, buckets int) string {
	deltas := []int64{2, -1, int64(step)}
	for range buckets {
		deltas = append(deltas, 1, -1)
	}
	var in, count int64 = 0, 1
	for _, d := range deltas {
		in += d
		count += in
	}
	upper := func(le float64, n uint64, id string) *dto.Bucket {
		b := &dto.Bucket{UpperBound: proto.Float64(le), CumulativeCount: proto.Uint64(n)}
		if id != "" {
			b.Exemplar = &dto.Exemplar{
				Label: []*dto.LabelPair{{Name: proto.String("id"), Value: proto.String(id)}}, Value: proto.Float64(le / 2),
			}
		}
		return b
	}
	native := &dto.Histogram{
		SampleCount: proto.Uint64(uint64(count)), SampleSum: proto.Float64(3.5 * float64(step)), Schema: proto.Int32(5),
		ZeroThreshold: proto.Float64(1e-9), ZeroCount: proto.Uint64(1),
		PositiveSpan:  []*dto.BucketSpan{{Offset: proto.Int32(-2), Length: proto.Uint32(uint32(len(deltas)))}},
		PositiveDelta: deltas,
		Bucket:        []*dto.Bucket{upper(1, 3, "one"), upper(2.5, uint64(count), "")},
	}
	floats := &dto.Histogram{
		SampleCountFloat: proto.Float64(4.5), SampleSum: proto.Float64(1), Schema: proto.Int32(2), ZeroThreshold: proto.Float64(0.1),
		ZeroCountFloat: proto.Float64(0.5), PositiveSpan: []*dto.BucketSpan{{Offset: proto.Int32(1), Length: proto.Uint32(2)}},
		PositiveCount: []float64{1.5, 2.5},
	}
	classic := &dto.Histogram{
		SampleCount: proto.Uint64(uint64(3 + step)), SampleSum: proto.Float64(7), Bucket: []*dto.Bucket{upper(1, 2, ""), upper(math.Inf(1), uint64(3+step), "inf")},
	}
	labels := []*dto.LabelPair{{Name: proto.String("x"), Value: proto.String("1")}}
	var b bytes.Buffer
	for _, mf := range []*dto.MetricFamily{
		{Name: proto.String("native_seconds"), Help: proto.String("Both kinds."), Unit: proto.String("seconds"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: native, Label: labels}}},
		{Name: proto.String("floats"), Type: dto.MetricType_GAUGE_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: floats}}},
		{Name: proto.String("classic"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{{Histogram: classic}}},
		{Name: proto.String("plain_total"), Type: dto.MetricType_COUNTER.Enum(), Metric: []*dto.Metric{{Counter: &dto.Counter{Value: proto.Float64(float64(step)), Exemplar: &dto.Exemplar{Label: labels, Value: proto.Float64(1)}}}}},
		{Name: proto.String("sum"), Type: dto.MetricType_SUMMARY.Enum(), Metric: []*dto.Metric{{Summary: &dto.Summary{
			SampleCount: proto.Uint64(uint64(step)), SampleSum: proto.Float64(2), Quantile: []*dto.Quantile{{Quantile: proto.Float64(0.9), Value: proto.Float64(1)}},
		}}}},
		{Name: proto.String("with.dots"), Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: proto.Float64(1)}}}},
	} {
		if _, err := protodelim.MarshalTo(&b, mf); err != nil {
			panic(err)
		}
	}
	return b.String()
}

func protobufPages() []answer {
	one := exotic(1, 0)
	return []answer{
		pb(one), pb(exotic(2, 0)), pb(exotic(3, 30)), pb(exotic(1, 0)), pb(one[:len(one)/2]), pb(exotic(2, 0)),
		text(usual), pb(exotic(4, 2)), pb(""), pb(exotic(5, 0)), {contentType: protoType, body: "\xff\xff nonsense"}, pb(exotic(6, 0)),
	}
}
