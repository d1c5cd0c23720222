// Package buffer holds frames between scraping and sending.
//
//	discover -> scrape -> [buffer] -> send
//
// A frame is stored once; each endpoint reads it at its own position, with as
// many readers as it likes. A reader leases spans of the oldest frames, and
// either finishes them or hands them back. A target of which a reader has a
// span is locked for the endpoint's other readers, so that the samples of one
// series stay in order. What is leased stays; everything else is bounded by
// bytes and by age, the oldest goes first, and every sample that goes is
// counted.
//
// Frames that have to wait are compressed: see merge.go. With a directory, they
// are written to disk as well, and survive the process: see spool.go.
//
// The queue owns the frames it was given; whoever leased a span may read its
// frames until it settles the lease.
package buffer
