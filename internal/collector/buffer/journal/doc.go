// Package journal is an append-only log of opaque records on disk, from which
// a process that was killed reads back what it had written.
//
// # Files
//
// A journal is a directory of segments and a file "lock", which the process
// that uses the journal holds locked. A segment is never written to again once
// a newer one has begun, and every Open begins a new one; space comes back by
// whole segments only.
//
//	segment = header, records
//	header  = "MJNL", version (uint32), segment number (uint64), CRC-32C of these 16 bytes (uint32)
//	record  = length (uint32), CRC-32C of length and bytes (uint32), bytes
//
// All numbers are little endian.
//
// # Damage
//
// A crash can leave the last segment with half a record, zeros or rubbish at
// its end, and a disk can go bad anywhere. There is no telling where a record
// begins once one is damaged, so reading a segment ends there; the next one is
// read as if nothing had happened. What follows damage in the last segment is
// cut off; elsewhere it stays as it is until the segment is dropped.
package journal
