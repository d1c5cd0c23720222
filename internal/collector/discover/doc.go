// Package discover finds the targets of each job, with Prometheus' own service
// discoveries and relabelling.
//
//	[discover] -> scrape -> buffer -> send
//
// It hands on complete lists: whatever is on the latest list is to be scraped.
// It also finds targets that two jobs scrape at the same address, path and
// parameters, which doubles every sum over them, and says so.
package discover
