// Package buffer holds frames between scraping and sending, in memory.
//
//	discover -> scrape -> [buffer] -> send
//
// A frame is stored once; each endpoint reads it at its own position, spread
// over shards by target, so that the samples of one series stay in order. A
// reader leases spans of the oldest frames, and either acknowledges them or
// hands them back. What is leased stays; everything else is bounded by bytes
// and by age, the oldest goes first, and every sample that goes is counted.
//
// The queue owns the frames it was given; whoever leased a span may read its
// frame until it settles the lease.
package buffer
