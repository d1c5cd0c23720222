// Package discover finds the targets of each job, with Prometheus' own service
// discoveries and relabelling.
//
//	[discover] -> scrape -> buffer -> send
//
// It hands on complete lists: whatever is on the latest list is to be scraped,
// in the times that the list says. It shares the targets with the replicas of
// this collector (see package members), takes jobs from a target allocator and
// is one for others, and finds targets that two jobs scrape at the same address,
// path and parameters, which doubles every sum over them.
//
// What it keeps of a target is small: labels after relabelling for the targets
// of this replica, some numbers for those of others. Labels before relabelling
// are made again when somebody asks for them.
package discover
