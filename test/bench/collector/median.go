//go:build linux

package main

import "slices"

// median of at least one number; the slice is sorted.
func median[T int64 | float64](all []T) T {
	slices.Sort(all)
	n := len(all)
	if n%2 == 1 {
		return all[n/2]
	}
	return (all[n/2-1] + all[n/2]) / 2
}
