package query

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCardinality(t *testing.T) {
	now := time.UnixMilli(2 * 3600_000)
	f := open(t, Config{now: func() time.Time { return now }}, map[string]string{"ws-1": `load 30s
  up{job="a",instance="1"} 1x240
  up{job="a",instance="2"} 1x240
  up{job="b",instance="1"} 1x240
  old{job="a"} 1x200
  new{job="b",instance="3"} _x200 1x40
  gone{job="a"} 1x10
`})
	ask := func(query string) *Cardinality {
		code, body := f.get(t, "ws-1", "/cardinality?"+query)
		require.Equal(t, 200, code, body)
		var out struct{ Data *Cardinality }
		require.NoError(t, json.Unmarshal([]byte(body), &out))
		return out.Data
	}
	c := ask("")
	require.Equal(t, 4, c.Total.Series)
	require.Equal(t, 1, c.Total.New)
	require.Equal(t, 1, c.Total.Ended)
	require.InDelta(t, 4.0/30, c.Total.SamplesPerSecond, 0.01)
	require.InDelta(t, c.Total.SamplesPerSecond*secondsPerMonth/1e7*0.90, c.Total.CostPerMonth, 1e-9)
	require.Equal(t, "up", c.Metrics[0].Name)
	require.Equal(t, 3, c.Metrics[0].Series)
	require.Equal(t, []string{"new", "old"}, []string{c.Metrics[1].Name, c.Metrics[2].Name})
	require.Equal(t, 1, c.Metrics[2].Ended)
	sum := 0.0
	for _, m := range c.Metrics {
		sum += m.CostPerMonth
	}
	require.InDelta(t, c.Total.CostPerMonth, sum, 1e-9, "shares make up the whole")
	require.Equal(t, "job", c.Label)
	require.Equal(t, 2, c.ValueCount)
	require.Equal(t, []int{2, 2}, []int{c.Values[0].Series, c.Values[1].Series})
	require.Equal(t, LabelCardinality{Name: "instance", Values: 3, Series: 4, Largest: "1", LargestSeries: 2}, c.Labels[0])
	c = ask("label=instance&limit=1&match[]=up&match[]=new")
	require.Len(t, c.Values, 1)
	require.Equal(t, 3, c.ValueCount)
	require.Equal(t, 4, c.Total.Series)
	c = ask("time=600&churn_window=10m")
	require.Equal(t, 4, c.Total.Series, "up thrice, and old")
	require.Equal(t, 1, c.Total.Ended, "gone just now")
	for _, bad := range []string{"limit=x", "window=x", "churn_window=48h", "match[]={", "time=x"} {
		code, body := f.get(t, "ws-1", "/cardinality?"+bad)
		require.Equal(t, 400, code, body)
		require.Contains(t, body, "bad_data")
	}
}

func TestPrices(t *testing.T) {
	p := AMPPrices()
	month := func(samples float64) float64 { return p.perMonth(samples / secondsPerMonth) }
	require.InDelta(t, 180, month(2e9), 1e-6)
	require.InDelta(t, 180+8750, month(252e9), 1e-6)
	require.InDelta(t, 180+8750+160, month(262e9), 1e-6)
	text, err := json.Marshal(p)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "prices.json")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	read, err := LoadPrices(file)
	require.NoError(t, err)
	require.Equal(t, p, read)
	for text, want := range map[string]string{
		`{`:                  "unexpected end",
		`{"currency":"EUR"}`: "ingestion: at least one",
		`{"currency":"EUR","ingestion":[{"up_to":5,"per_10_million":1}]}`:            "the last tier must leave it out",
		`{"currency":"EUR","ingestion":[{"per_10_million":1},{"per_10_million":1}]}`: "ingestion[0].up_to",
		`{"currency":"EUR","ingestion":[{"per_10_million":-1}]}`:                     "must not be negative",
		`{"ingestion":[{"per_10_million":1}]}`:                                       "currency: is required",
	} {
		_, err := parsePrices([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzPrices(f *testing.F) {
	f.Add([]byte(`{"currency":"USD","ingestion":[{"up_to":2e9,"per_10_million":0.9},{"per_10_million":0.35}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePrices(text)
		if err != nil {
			return
		}
		require.GreaterOrEqual(t, p.perMonth(1000), p.perMonth(10), "more never costs less")
	})
}
