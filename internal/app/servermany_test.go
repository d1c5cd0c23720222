package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
)

// many is a server with workspaces that are used at once.
type many struct {
	*testServer
	ids []string
}

func startMany(t testing.TB, count int, change func(*ServerConfig)) *many {
	t.Helper()
	cfg := testConfig(t.TempDir())
	cfg.MaxWorkspaces = count
	if change != nil {
		change(&cfg)
	}
	m := &many{testServer: startServer(t, cfg)}
	m.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 2 * count
	for i := range count {
		m.ids = append(m.ids, m.newWorkspace(t, fmt.Sprintf("many-%d", i)))
	}
	return m
}

// belongings are a workspace's own samples of one round: only it has this owner,
// and only it these values.
func belongings(workspace, round, series int, at time.Time) []byte {
	all := make([]prompb.TimeSeries, 0, series)
	for i := range series {
		all = append(all, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "shared_name"}, {Name: "i", Value: strconv.Itoa(i)}, {Name: "owner", Value: strconv.Itoa(workspace)}},
			Samples: []prompb.Sample{{Timestamp: at.UnixMilli(), Value: float64(workspace*1000 + round)}},
		})
	}
	return writeRequest(all...)
}

// metrics reads the server's own metrics, by name and labels.
func (m *many) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	res, err := m.client.Get(m.URL() + "/metrics")
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	out := map[string]float64{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		if i := strings.LastIndexByte(lines.Text(), ' '); i > 0 && lines.Text()[0] != '#' {
			v, err := strconv.ParseFloat(lines.Text()[i+1:], 64)
			require.NoError(t, err)
			out[lines.Text()[:i]] = v
		}
	}
	require.NoError(t, lines.Err())
	return out
}

// TestManyWorkspacesAtOnce hammers fifty workspaces, one of them beyond what it
// may: that one is limited and all it lost is counted, and the others get, keep
// and read what is theirs and nothing else.
func TestManyWorkspacesAtOnce(t *testing.T) {
	const count, rounds, series, batch = 50, 8, 20, 4000
	m := startMany(t, count, func(c *ServerConfig) {
		c.Limits.MaxSampleRate = 2000
		c.Query.MaxConcurrent, c.Query.MaxWaiting = 1, 2
	})
	start := time.Now().Add(-time.Minute).Truncate(time.Second)
	const noisy = count - 1
	var writers, noise sync.WaitGroup
	var sent, limited, queries, refused atomic.Int64
	stop := make(chan struct{})
	for range 4 { // the noisy one writes and asks from many sides
		noise.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				res := m.write(t, m.ids[noisy], belongings(noisy, round, batch, time.Now()))
				sent.Add(batch)
				switch res.status {
				case 429:
					limited.Add(1)
				case 200, 400: // the sides do not know of each other's times
				default:
					t.Errorf("noisy: %d %s", res.status, res.body)
				}
			}
		})
		for range 3 {
			noise.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					res := m.call(t, "GET", "/workspaces/"+m.ids[noisy]+"/api/v1/query?query="+url.QueryEscape(`count(rate(shared_name[1m])) + count(shared_name)`), "")
					queries.Add(1)
					if res.status == 429 {
						refused.Add(1)
					} else if res.status != 200 {
						t.Errorf("noisy: %d %s", res.status, res.body)
					}
				}
			})
		}
	}
	for w := range noisy {
		writers.Go(func() {
			for round := range rounds {
				res := m.write(t, m.ids[w], belongings(w, round, series, start.Add(time.Duration(round)*time.Second)))
				if res.status != 200 {
					t.Errorf("workspace %d, round %d: %d %s", w, round, res.status, res.body)
				}
				if got := m.value(t, m.ids[w], `count(shared_name)`); got != strconv.Itoa(series) {
					t.Errorf("workspace %d, round %d: it sees %s series", w, round, got)
				}
			}
		})
	}
	writers.Wait()
	require.Eventually(t, func() bool { return limited.Load() > 10 && refused.Load() > 10 }, 60*time.Second, time.Millisecond, "the noisy one is not limited")
	close(stop)
	noise.Wait()

	counted := m.metrics(t)
	for w := range noisy {
		requireOwn(t, m, w, rounds, series, start)
		require.InDelta(t, rounds*series, counted[fmt.Sprintf(`mangru_ingested_samples_total{workspace=%q}`, m.ids[w])], 0)
		for name := range counted {
			if strings.HasPrefix(name, "mangru_discarded") || strings.HasPrefix(name, "mangru_refused") {
				require.NotContains(t, name, m.ids[w], "a quiet one lost something")
			}
		}
	}
	lost := counted[fmt.Sprintf(`mangru_discarded_samples_total{reason="rate_limited",workspace=%q}`, m.ids[noisy])]
	require.Greater(t, lost, 0.0)
	for name, v := range counted {
		if strings.HasPrefix(name, "mangru_discarded_samples_total") && strings.Contains(name, m.ids[noisy]) && !strings.Contains(name, "rate_limited") {
			lost += v
		}
	}
	require.InDelta(t, sent.Load(), lost+counted[fmt.Sprintf(`mangru_ingested_samples_total{workspace=%q}`, m.ids[noisy])], 0, "what it sent is stored or counted")
}

// requireOwn demands what a workspace wrote, and nothing that another one did.
func requireOwn(t *testing.T, m *many, w, rounds, series int, start time.Time) {
	t.Helper()
	base := "/workspaces/" + m.ids[w] + "/api/v1"
	owners := m.call(t, "GET", base+"/label/owner/values", "")
	require.JSONEq(t, fmt.Sprintf(`{"status":"success","data":["%d"]}`, w), owners.body)
	res := m.call(t, "GET", fmt.Sprintf("%s/query?query=%s&time=%d", base, url.QueryEscape(`{__name__=~".+"}[10m]`), start.Unix()+60), "")
	var out struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(res.body), &out))
	require.Len(t, out.Data.Result, series)
	for _, s := range out.Data.Result {
		require.Len(t, s.Values, rounds)
		for round, v := range s.Values {
			require.Equal(t, strconv.Itoa(w*1000+round), v[1])
		}
	}
}

// BenchmarkManyWorkspaces says how long writes and queries of quiet workspaces
// take, alone and beside a noisy one.
func BenchmarkManyWorkspaces(b *testing.B) {
	for _, noisy := range []int{0, 8} {
		b.Run(fmt.Sprintf("noise-%d", noisy), func(b *testing.B) {
			m := startMany(b, 50, func(c *ServerConfig) { c.Limits.MaxSampleRate = 100_000 })
			stop := make(chan struct{})
			var noise sync.WaitGroup
			for range noisy {
				noise.Go(func() {
					for round := 0; ; round++ {
						select {
						case <-stop:
							return
						default:
							m.write(b, m.ids[49], belongings(49, round, 4000, time.Now()))
							m.call(b, "GET", "/workspaces/"+m.ids[49]+"/api/v1/query?query="+url.QueryEscape(`count(rate(shared_name[1m]))`), "")
						}
					}
				})
			}
			var writes, queries []time.Duration
			for round := 0; b.Loop(); round++ {
				w := round % 49
				began := time.Now()
				m.write(b, m.ids[w], belongings(w, round, 100, time.Now()))
				middle := time.Now()
				m.value(b, m.ids[w], `count(shared_name)`)
				writes, queries = append(writes, middle.Sub(began)), append(queries, time.Since(middle))
			}
			close(stop)
			noise.Wait()
			for name, all := range map[string][]time.Duration{"write": writes, "query": queries} {
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, name+"-p50-ms")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, name+"-p99-ms")
			}
		})
	}
}
