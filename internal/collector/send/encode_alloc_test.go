//go:build !race

// Under the race detector a sync.Pool forgets on purpose: nothing to count there.

package send

import (
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/rewrite"
)

func TestEncodeDoesNotAllocate(t *testing.T) {
	cfg := config()
	now := time.Now()
	all := manyPages(t)
	starts := make(model.Starts, all[0].Shape().Slots())
	for i := range starts {
		starts[i] = all[0].Frames[0].Time - 1000
	}
	all[0].Frames[0].Starts = &starts
	pages := batches(all, 10_000)
	for _, rules := range []rewrite.Program{nil, {step(func(*labels.Builder, model.Family) bool { return true })}} {
		cfg.Rewrite = rules
		e := testEncoder(cfg)
		lists := pages
		if rules == nil { // a series of another generation is new to the rules
			lists = append(lists, someSpans(3, 40))
		}
		for _, v := range []version{v1, v2} {
			all := func() {
				for _, l := range lists {
					e.encode(v, l, now)
					e.known.done(e.described, now)
				}
			}
			all()
			all()
			// The compressor's pool may be emptied in between: not every run has to be free.
			least := math.Inf(1)
			for range 20 {
				if least = min(least, testing.AllocsPerRun(1, all)); least == 0 {
					break
				}
			}
			require.Zero(t, least, "version %s, %d rules", v, len(rules))
		}
	}
}
