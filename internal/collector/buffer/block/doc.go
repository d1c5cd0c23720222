// Package block turns consecutive frames of one target into a compressed,
// columnar block, bit by bit reversible.
//
// A scrape of a target mostly shows what the last one did: most series stand
// still, and those that move are counters with few digits. So a block is laid
// out by slot, not by frame, and each slot's column of values takes the
// cheapest of these forms:
//
//   - constant: one value, none per frame;
//   - linear: integers with the same step from each frame to the next;
//   - delta, delta of delta, or delta against the delta of the column before
//     (the buckets of a histogram mostly grow together), the residuals of all
//     such columns put into planes: all lowest bytes, then all second bytes.
//
// "Integer" includes what a decimal fraction of up to nine digits becomes when
// multiplied by a power of ten, if dividing gives the same bits back: seconds
// of CPU time are counted in hundredths or in nanoseconds. Everything else is
// taken as the integer that its bits are. Absent values and stale markers are
// in a mask and do not disturb their column. Where values have times of their
// own, a slot has a column of times, which all series of a container have in
// common and which is stored once. Where a slot has no value its time is not
// kept, and a stale marker's time usually is the frame's, so neither makes a
// column differ from the container's. What remains (second samples, histograms,
// exemplars) is stored as is, since zstd comes after all of it.
//
// # Format
//
//	block    = version<<1 | compressed (1 byte), CRC-32C of the rest (4 bytes, little endian), body
//	body     = payload, or uvarint length of payload and payload as a zstd frame
//	payload  = uvarint bit set of the sections that follow, uvarint length of each, sections
//
// Sections, by number, with what they hold for each slot where not said otherwise:
//
//	0 frames    uvarint count, uvarint slots; per frame the time (varint, delta of delta),
//	            the number of values (uvarint, delta to slots), and, if section 7 is
//	            there, the number of extras (uvarint, for all frames after the rest)
//	1 forms     1 byte: exponent | mode<<4 | masked<<7
//	2 widths    1 byte for each column with residuals, of values or times: how many planes they have
//	3 numbers   varints: first value (delta to the last one with the same exponent), step
//	4 words     8 bytes: first value, where it is not an integer
//	5 masks     for each masked column a bit per frame: no sample there; then as many: stale instead of absent
//	6 own       uvarint for each slot with any value or stale marker: its column of times:
//	            0 the one that came after the slot before's the last time, column 0 at first;
//	            1 a new one, that does not count for stale markers, which have the frame's time;
//	            2 a new one, that counts for them, too;
//	            3 + n the column numbered n
//	7 rest      extras, by frame
//	8-15        planes of integers, lowest byte first
//	16-23       planes of bits
//	24 starts   per frame the start timestamps (uvarint): 0 none, 1 those of the frame
//	            before, 2 + n: of n slots, each (varint) as the delta to the slot before's,
//	            the first one's to the frame's time; the section is left out if no
//	            frame has any
//
// Columns of times are numbered as they come. They hold distances to the frames'
// times; column 0 has none and is not stored. A new one is stored by the delta
// of each frame's distance to the one before, 0 at first, as residuals among
// those of the integers. Times count modulo 2^64.
package block
