package inflate

import (
	"bytes"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// guarded returns n bytes right before a page that must not be touched.
func guarded(t *testing.T, n int) []byte {
	page := os.Getpagesize()
	size := (n + page - 1) / page * page
	b, err := syscall.Mmap(-1, 0, size+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Munmap(b)) })
	require.NoError(t, syscall.Mprotect(b[size:], syscall.PROT_NONE))
	return b[size-n : size : size]
}

// TestBounds has input and output end where memory ends: a load or a store
// beyond them is a fault, which the unchecked accesses would not show otherwise.
func TestBounds(t *testing.T) {
	rng := newRand(11)
	for name, data := range samples() {
		for _, level := range []int{-2, 0, 1, 6, 9} {
			plain := packStd(t, data, level)
			src := guarded(t, len(plain))
			copy(src, plain)
			r := Reader{buf: guarded(t, windowSize)}
			r.Reset(src)
			_, err := readAll(t, &r, nothing)
			require.NoError(t, err)
			for range 4 {
				cut := rng.IntN(len(src))
				part := src[len(src)-cut:]
				copy(part, plain)
				r.Reset(part)
				_, err := readAll(t, &r, randomly(rng))
				require.ErrorIs(t, err, ErrTruncated, name)
				copy(src, plain)

				dst := guarded(t, 1+rng.IntN(len(data)+2*outSlack))
				r.Reset(src)
				got, err := r.AppendAll(dst[:0], int64(len(data)))
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got), name)
			}
		}
	}
}
