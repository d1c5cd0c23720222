// Package scrape reads the targets' metrics on time and turns each page into a
// frame.
//
//	discover -> [scrape, with metric relabelling] -> buffer -> send
//
// Each target has one goroutine and one cache. The cache knows, for the text of
// every series that the target has shown, the slot of the finished series or
// that relabelling drops it, so only a series never seen before is parsed into
// labels. What a scrape means (up and scrape_*, stale markers, limits, clashes
// of labels) is what it means in Prometheus.
//
// The page is borrowed from a pool for the time of one scrape; the frame is
// made anew and belongs to the sink.
package scrape
