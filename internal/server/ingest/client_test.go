package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"
)

// TestPrometheusSends lets Prometheus' own queue read a write-ahead log and send
// what is in it.
func TestPrometheusSends(t *testing.T) {
	for _, version := range []remoteapi.WriteMessageType{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType} {
		t.Run(string(version), func(t *testing.T) {
			f := open(t, Limits{})
			f.now = time.Now()
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := f.ServeWorkspace(w, r, ws); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
				}
			}))
			defer srv.Close()
			dir := t.TempDir()
			opts := tsdb.DefaultOptions()
			opts.EnableExemplarStorage, opts.MaxExemplars = true, 100
			db, err := tsdb.Open(dir, nil, nil, opts, nil)
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()

			reg := prometheus.NewRegistry()
			sender := remote.NewStorage(slog.New(slog.DiscardHandler), reg, func() (int64, error) { return 0, nil }, dir, time.Second, nil, false)
			db.SetWriteNotified(sender)
			u, err := url.Parse(srv.URL)
			require.NoError(t, err)
			rw := config.DefaultRemoteWriteConfig
			rw.URL, rw.Name, rw.ProtobufMessage = &commonconfig.URL{URL: u}, "us", version
			rw.SendExemplars, rw.SendNativeHistograms, rw.MetadataConfig.Send = true, true, false
			rw.QueueConfig.BatchSendDeadline, rw.QueueConfig.MinShards = model.Duration(50*time.Millisecond), 1
			require.NoError(t, sender.ApplyConfig(&config.Config{GlobalConfig: config.DefaultGlobalConfig, RemoteWriteConfigs: []*config.RemoteWriteConfig{&rw}}))

			const rounds, series = 5, 40
			want := series
			if version == remoteapi.WriteV1MessageType {
				want -= 3 // there are no custom buckets in 1.0
			}
			// The queue sends what comes after it has begun to look.
			start := time.Now().Add(5 * time.Minute)
			for round := range rounds {
				app := db.Appender(context.Background())
				for i := range series {
					l := labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))
					at := start.UnixMilli() + int64(round)
					switch {
					case i < 5:
						_, err = app.AppendHistogram(0, labels.FromStrings("__name__", "h", "i", fmt.Sprint(i)), at, tsdbutil.GenerateTestHistogram(int64(round)), nil)
					case i < 8:
						_, err = app.AppendHistogram(0, labels.FromStrings("__name__", "n", "i", fmt.Sprint(i)), at, nil, tsdbutil.GenerateTestCustomBucketsFloatHistogram(int64(round)))
					default:
						ref, err := app.Append(0, l, at, float64(round*i))
						require.NoError(t, err)
						_, err = app.AppendExemplar(ref, l, exemplar.Exemplar{Labels: labels.FromStrings("t", fmt.Sprint(round)), Value: 1, Ts: at, HasTs: true})
						require.NoError(t, err)
					}
					require.NoError(t, err)
				}
				require.NoError(t, app.Commit())
			}
			require.Eventually(t, func() bool {
				got := dump(t, f.db(t))
				n := 0
				for _, s := range got {
					n += len(s)
				}
				return n == rounds*want
			}, 60*time.Second, 50*time.Millisecond)
			require.Eventually(t, func() bool { return f.exemplars(t) == 100 }, 60*time.Second, 50*time.Millisecond, "as many as there is room for")
			require.NoError(t, sender.Close())
			families, err := reg.Gather()
			require.NoError(t, err)
			for _, family := range families {
				switch family.GetName() {
				case "prometheus_remote_storage_samples_failed_total", "prometheus_remote_storage_histograms_failed_total",
					"prometheus_remote_storage_exemplars_failed_total", "prometheus_remote_storage_samples_dropped_total":
					for _, m := range family.GetMetric() {
						require.Zero(t, m.GetCounter().GetValue(), "%s %v", family.GetName(), m.GetLabel())
					}
				}
			}
			for name, s := range dump(t, f.db(t)) {
				require.Len(t, s, rounds, name)
			}
		})
	}
}
