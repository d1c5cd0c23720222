package discover

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
)

func TestChanges(t *testing.T) {
	group := func(source, label string, targets ...string) *targetgroup.Group {
		g := &targetgroup.Group{Source: source, Labels: commonmodel.LabelSet{"l": commonmodel.LabelValue(label)}}
		for _, s := range targets {
			g.Targets = append(g.Targets, commonmodel.LabelSet{commonmodel.AddressLabel: commonmodel.LabelValue(s)})
		}
		return g
	}
	table := groupTable{known: map[string]*targetgroup.Group{}, names: map[commonmodel.LabelName]commonmodel.LabelName{}}
	sources := func(groups ...*targetgroup.Group) (out []string) {
		for _, g := range table.changes(groups) {
			if len(g.Targets) > 0 {
				require.True(t, sameGroup(g, groups[slices.IndexFunc(groups, func(o *targetgroup.Group) bool { return o.Source == g.Source })]))
			}
			out = append(out, g.Source)
		}
		return out
	}
	require.Equal(t, []string{"a", "b"}, sources(group("a", "x", "1"), group("b", "x", "1"), group("empty", "x"), nil))
	require.Empty(t, sources(group("a", "x", "1"), group("b", "x", "1")))
	require.Equal(t, []string{"a"}, sources(group("a", "y", "1"), group("b", "x", "1")), "another label")
	require.Equal(t, []string{"b"}, sources(group("a", "y", "1"), group("b", "x", "1", "2")), "another target")
	require.Equal(t, []string{"b"}, sources(group("b", "x", "1", "3")))
	require.Equal(t, []string{"a"}, sources(group("a", "y")), "gone")
	require.Empty(t, sources(group("a", "y")))
	require.Len(t, table.known, 1)
	require.Len(t, table.names, 2)
	require.Equal(t, []string{"a"}, sources(group("a", "y", "1")))
}

// TestDiscoveryThatRepeatsItself sends the same targets each time, as most do.
// They are not relabelled again, so they stay the very same.
func TestDiscoveryThatRepeatsItself(t *testing.T) {
	var asked, port atomic.Int64
	port.Store(1)
	sd := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `[{"targets":["x:%d"]},{"targets":["y:1"]}]`, port.Load())
	}))
	m, l, _, _ := start(t)
	require.NoError(t, m.Apply(Config{Jobs: load(t, fmt.Sprintf(`scrape_configs: [{job_name: a, http_sd_configs: [{url: %q, refresh_interval: 10ms}]}]`, sd))}))
	require.Eventually(t, func() bool { return len(l.urls()) == 2 }, patience, time.Millisecond)
	before := l.get()[0].found[1].group
	seen := asked.Load()
	require.Eventually(t, func() bool { return asked.Load() > seen+3 }, patience, time.Millisecond)
	port.Store(2)
	require.Eventually(t, func() bool { return strings.Contains(strings.Join(l.urls(), " "), "x:2") }, patience, time.Millisecond)
	require.Same(t, before, l.get()[0].found[1].group)
}
