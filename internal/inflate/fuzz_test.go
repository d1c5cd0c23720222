package inflate

import "testing"

// FuzzReader takes its input once as gzip, and once as DEFLATE in a member whose
// trailer is right for what compress/flate makes of it.
func FuzzReader(f *testing.F) {
	rng := newRand(10)
	for _, level := range []int{-2, 0, 1, 6} {
		f.Add(packStd(f, nodePage(1)[:2000], level), uint64(level+2))
		f.Add(packStd(f, nodePage(1)[:2000], level)[headerSize:], uint64(level+2))
	}
	for n := range 20 {
		var w bitWriter
		size := 0
		randomBlock(&w, rng, 0, &size)
		randomBlock(&w, rng, 1, &size)
		f.Add(w.flush(), uint64(n))
	}
	f.Fuzz(func(t *testing.T, src []byte, seed uint64) {
		var r Reader
		_, _ = compare(t, &r, src, newRand(seed))
		_, _ = compare(t, &r, repair(member(src, nil)), newRand(seed))
	})
}
