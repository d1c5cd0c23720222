package send

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/model"
)

// mixed returns the spans of some targets, interleaved.
func mixed(rnd *rand.Rand, targets, frames int) (all []model.Span, want map[string][]point) {
	var lists [][]model.Span
	for i := range targets {
		lists = append(lists, targetFrames(rnd, uint64(i+1), frames))
	}
	want = expect(lists...)
	for len(lists) > 0 {
		i := rnd.IntN(len(lists))
		all = append(all, lists[i][0])
		if lists[i] = lists[i][1:]; len(lists[i]) == 0 {
			lists = append(lists[:i], lists[i+1:]...)
		}
	}
	return all, want
}

// faults answers in every way that is worth another try, at random.
func faults(rnd *rand.Rand) func(int, version, int) action {
	return func(_ int, _ version, samples int) action {
		part := -1
		if samples > 0 {
			part = rnd.IntN(samples + 1)
		}
		switch rnd.IntN(16) {
		case 0:
			return refusal(503, "busy")
		case 1:
			return action{status: 500, keep: part} // half of it is stored, and it says that nothing is
		case 2:
			return action{status: 429, header: map[string]string{"Retry-After": "7"}}
		case 3:
			return action{reset: true} // nothing was read
		case 4:
			return action{reset: true, keep: part}
		case 5:
			return action{hang: true}
		case 6:
			return action{hang: true, keep: -1} // all is stored, but nobody knows
		case 7:
			return refusal(401, "who?")
		}
		return action{}
	}
}

func TestEverySampleOnceInOrder(t *testing.T) {
	type variant struct {
		protocol, onlyV1 string
		onlyV2           bool
	}
	for i, v := range []variant{{protocol: "1.0"}, {protocol: "2.0"}, {}, {onlyV1: "415"}, {onlyV1: "silent"}, {onlyV1: "404"}, {onlyV2: true}} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("%+v/%d", v, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rnd := rand.New(rand.NewPCG(seed, uint64(i)))
					spans, want := mixed(rnd, 1+rnd.IntN(8), 40)
					n := total(spans)
					sink := &sink{answer: faults(rnd), onlyV1: v.onlyV1, onlyV2: v.onlyV2, latency: 100 * time.Millisecond, bodyLimit: 800 + rnd.IntN(2000)}
					cfg := config()
					cfg.Protocol = v.protocol
					cfg.MaxShards = 1 + rnd.IntN(8)
					cfg.MaxSamplesPerRequest = 1 + rnd.IntN(200)
					cfg.MaxRequestBytes = 800 + rnd.IntN(2000)
					s, _ := newSender(t, cfg, sink)
					q := newQueue(spans...)
					s.Run(t.Context(), q)
					repeated, missing := audit(t, want, sink.got)
					require.Zero(t, missing, "%+v", s.State())
					require.Zero(t, s.State().Refused, s.State().LastError)
					require.Equal(t, uint64(n), s.State().Sent)
					require.Equal(t, n+repeated, sink.kept, "stored is sent, save what an unknown outcome had sent again")
					require.LessOrEqual(t, sink.most, cfg.MaxShards)
					require.Empty(t, q.entries)
				})
			})
		}
	}
}

// TestRefusedIsWhatIsNotStored: also a receiver that takes a part of a request.
func TestRefusedIsWhatIsNotStored(t *testing.T) {
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 9))
			spans, want := mixed(rnd, 4, 40)
			n := total(spans)
			proven := false
			sink := &sink{latency: time.Millisecond}
			sink.answer = func(_ int, v version, samples int) action {
				if !proven || samples == 0 {
					proven = v == v2
					return action{}
				}
				switch rnd.IntN(4) {
				case 0:
					return action{status: 400, body: "out of order", keep: rnd.IntN(samples)} // with headers
				case 1:
					return action{status: 400, body: "all of it is bad", silent: true}
				case 2:
					return action{status: 204, keep: rnd.IntN(samples)} // accepted, yet not all written
				}
				return action{}
			}
			s, _ := newSender(t, config(), sink)
			s.Run(t.Context(), newQueue(spans...))
			repeated, missing := audit(t, want, sink.got)
			require.Zero(t, repeated)
			require.Positive(t, missing)
			require.Equal(t, uint64(missing), s.State().Refused)
			require.Equal(t, uint64(n-missing), s.State().Sent)
		})
	}
}
