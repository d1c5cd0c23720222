package model

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math/bits"
	"unsafe"
)

// Labels is the label sets of a list of series, as small as it can be while
// still ready for the wire. Each distinct label is held once, encoded as it
// stands in a TimeSeries of remote write 1.0 (field 1, a Label message), and
// has a number; a series is a list of runs of consecutive numbers, in the order
// of the labels' names. A Labels is immutable.
type Labels struct {
	text   []byte   // the labels, one after the other
	ends   []uint32 // end in text, by label number
	runs   []byte   // of all series, one after the other
	series []uint32 // end in runs, by series

	packed  *packed // at rest: all of the above
	lineage *lineage
}

// Len returns how many series there are.
func (l Labels) Len() int {
	if l.packed != nil {
		return l.packed.series
	}
	return len(l.series)
}

// Distinct returns how many distinct labels there are; their numbers are below.
func (l Labels) Distinct() int {
	if l.packed != nil {
		return l.packed.distinct
	}
	return len(l.ends)
}

// Bytes returns the memory that the lists take.
func (l Labels) Bytes() int {
	if l.packed != nil {
		return cap(l.packed.data) + int(unsafe.Sizeof(*l.packed))
	}
	return cap(l.text) + 4*cap(l.ends) + cap(l.runs) + 4*cap(l.series)
}

// Runs returns a series' labels for NextRun. The bytes must not be changed.
func (l Labels) Runs(series int) []byte {
	from := uint32(0)
	if series > 0 {
		from = l.series[series-1]
	}
	return l.runs[from:l.series[series]]
}

// NextRun takes the first run off: count labels from number first on.
func NextRun(runs []byte) (first, count int, rest []byte) {
	v := uint64(runs[0])
	n := 1
	if v >= 0x80 {
		v, n = binary.Uvarint(runs)
	}
	if v&1 == 0 {
		return int(v >> 1), 1, runs[n:]
	}
	c := uint64(runs[n])
	m := 1
	if c >= 0x80 {
		c, m = binary.Uvarint(runs[n:])
	}
	return int(v >> 1), int(c), runs[n+m:]
}

// Encoded returns count labels from number first on as fields of a TimeSeries
// of remote write 1.0. The bytes must not be changed.
func (l Labels) Encoded(first, count int) []byte {
	from := uint32(0)
	if first > 0 {
		from = l.ends[first-1]
	}
	return l.text[from:l.ends[first+count-1]]
}

// Label returns the label with a number. The bytes must not be changed.
func (l Labels) Label(number int) (name, value []byte) {
	b := l.Encoded(number, 1)
	_, b = field(b) // the message's tag and length
	name, b = stringField(b)
	value, _ = stringField(b)
	return name, value
}

// field takes a tag of one byte and a length off.
func field(b []byte) (length int, rest []byte) {
	v, n := binary.Uvarint(b[1:])
	return int(v), b[1+n:]
}

func stringField(b []byte) (s, rest []byte) {
	n, b := field(b)
	return b[:n], b[n:]
}

// Append appends a series' labels to dst, as strings of their own. A packed list
// is opened for it; who asks for more than one series opens it first.
func (l Labels) Append(dst []Label, series int) []Label {
	l = l.Open(nil)
	for runs := l.Runs(series); len(runs) > 0; {
		var first, count int
		first, count, runs = NextRun(runs)
		for n := first; n < first+count; n++ {
			name, value := l.Label(n)
			dst = append(dst, Label{string(name), string(value)})
		}
	}
	return dst
}

// MarshalAppend appends a form of the list for storing that UnmarshalLabels
// reads.
func (l Labels) MarshalAppend(dst []byte) []byte {
	l = l.Open(nil)
	lengths := func(ends []uint32) {
		dst = binary.AppendUvarint(dst, uint64(len(ends)))
		last := uint32(0)
		for _, e := range ends {
			dst = binary.AppendUvarint(dst, uint64(e-last))
			last = e
		}
	}
	lengths(l.ends)
	dst = append(dst, l.text[:lastOf(l.ends)]...)
	lengths(l.series)
	return append(dst, l.runs[:lastOf(l.series)]...)
}

func lastOf(ends []uint32) uint32 {
	if len(ends) == 0 {
		return 0
	}
	return ends[len(ends)-1]
}

var errLabels = errors.New("not a list of label sets")

// UnmarshalLabels reads what MarshalAppend wrote and checks all of it. It
// returns what follows in b. The list does not refer to b.
func UnmarshalLabels(b []byte) (l Labels, rest []byte, err error) {
	if l.ends, b, err = unmarshalEnds(b); err != nil {
		return Labels{}, nil, err
	}
	l.text, b = bytes.Clone(b[:lastOf(l.ends)]), b[lastOf(l.ends):]
	if l.series, b, err = unmarshalEnds(b); err != nil {
		return Labels{}, nil, err
	}
	l.runs, b = bytes.Clone(b[:lastOf(l.series)]), b[lastOf(l.series):]
	if !l.valid() {
		return Labels{}, nil, errLabels
	}
	return l, b, nil
}

// unmarshalEnds reads lengths and sees to it that b has as many bytes after them.
func unmarshalEnds(b []byte) (ends []uint32, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, errLabels
	}
	b = b[size:]
	ends = make([]uint32, n)
	sum := uint64(0)
	for i := range ends {
		v, size := binary.Uvarint(b)
		if size <= 0 || v > uint64(len(b)) {
			return nil, nil, errLabels
		}
		b = b[size:]
		if sum += v; sum > uint64(len(b)) {
			return nil, nil, errLabels
		}
		ends[i] = uint32(sum)
	}
	if sum > uint64(len(b)) {
		return nil, nil, errLabels
	}
	return ends, b, nil
}

// valid reports whether every label and every run can be read.
func (l Labels) valid() bool {
	for n := range l.ends {
		if !validLabel(l.Encoded(n, 1)) {
			return false
		}
	}
	for s := range l.series {
		for runs := l.Runs(s); len(runs) > 0; {
			v, size := binary.Uvarint(runs)
			if size <= 0 {
				return false
			}
			runs = runs[size:]
			count := uint64(1)
			if v&1 == 1 {
				if count, size = binary.Uvarint(runs); size <= 0 {
					return false
				}
				runs = runs[size:]
			}
			if count == 0 || v>>1 > uint64(len(l.ends)) || count > uint64(len(l.ends))-v>>1 {
				return false
			}
		}
	}
	return true
}

// validLabel reports whether b is one label and nothing else.
func validLabel(b []byte) bool {
	body, rest, ok := checkedField(b, tagLabels)
	if !ok || len(rest) > 0 {
		return false
	}
	_, rest, ok = checkedField(body, tagName)
	if !ok {
		return false
	}
	_, rest, ok = checkedField(rest, tagValue)
	return ok && len(rest) == 0
}

func checkedField(b []byte, tag byte) (body, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, size := binary.Uvarint(b[1:])
	if size <= 0 || n > uint64(len(b)-1-size) {
		return nil, nil, false
	}
	b = b[1+size:]
	return b[:n], b[n:], true
}

// Tags of TimeSeries.labels, Label.name and Label.value.
const (
	tagLabels = 1<<3 | 2
	tagName   = 1<<3 | 2
	tagValue  = 2<<3 | 2
)

// LabelsBuilder makes a Labels that grows. It is for one goroutine; the lists
// that it has given out stay as they are. The zero value is empty.
type LabelsBuilder struct {
	l     Labels
	seed  maphash.Seed
	label index // label numbers by encoded label
	sets  index // series by their runs

	numbers []uint32 // of the series that is being added
	encoded []byte   // the label that is looked for
	rested  bool     // it has been at rest, and grows slowly
	awake   bool     // it is not at rest
}

// Labels returns the list so far.
func (b *LabelsBuilder) Labels() Labels {
	l := b.l
	if b.l.lineage == nil {
		b.l.lineage = new(lineage)
	}
	return Labels{
		text: l.text[:len(l.text):len(l.text)], ends: l.ends[:len(l.ends):len(l.ends)],
		runs: l.runs[:len(l.runs):len(l.runs)], series: l.series[:len(l.series):len(l.series)],
		packed: l.packed, lineage: b.l.lineage,
	}
}

// Len returns how many series there are.
func (b *LabelsBuilder) Len() int { return b.l.Len() }

// Append adds a series, also if there is one with the same labels, and returns
// its number. The labels must be sorted by name; the strings are copied.
func (b *LabelsBuilder) Append(ls []Label) int {
	b.wake()
	b.appendRuns(ls)
	return b.commit()
}

// Add returns the number of the series with the labels, and whether it had to
// be added. The labels must be sorted by name; the strings are copied.
func (b *LabelsBuilder) Add(ls []Label) (series int, added bool) {
	b.wake()
	runs := b.appendRuns(ls)
	if n := b.lookup(runs); n >= 0 {
		b.l.runs = b.l.runs[:len(b.l.runs)-len(runs)]
		return n, false
	}
	return b.commit(), true
}

// Find returns the number of the series with the labels, or -1.
func (b *LabelsBuilder) Find(ls []Label) int {
	b.wake()
	b.numbers = b.numbers[:0]
	for _, l := range ls {
		n, ok := b.find(l)
		if !ok {
			return -1
		}
		b.numbers = append(b.numbers, n)
	}
	from := len(b.l.runs)
	b.l.runs = appendNumbers(room(b.l.runs, maxRun*len(b.numbers), b.rested), b.numbers)
	n := b.lookup(b.l.runs[from:])
	b.l.runs = b.l.runs[:from]
	return n
}

// appendRuns writes a series' runs behind those of the others. The same labels
// always have the same numbers, so they have the same runs.
func (b *LabelsBuilder) appendRuns(ls []Label) []byte {
	b.numbers = b.numbers[:0]
	for _, l := range ls {
		n, ok := b.find(l)
		if !ok {
			b.l.text = append(room(b.l.text, len(b.encoded), b.rested), b.encoded...)
			b.l.ends = append(room(b.l.ends, 1, b.rested), uint32(len(b.l.text)))
			n = uint32(len(b.l.ends) - 1)
			b.label.add(b.hash(b.l.Encoded(int(n), 1)), n)
		}
		b.numbers = append(b.numbers, n)
	}
	from := len(b.l.runs)
	b.l.runs = appendNumbers(room(b.l.runs, maxRun*len(b.numbers), b.rested), b.numbers)
	return b.l.runs[from:]
}

// commit makes the runs that were written last a series.
func (b *LabelsBuilder) commit() int {
	b.l.series = append(room(b.l.series, 1, b.rested), uint32(len(b.l.runs)))
	n := len(b.l.series) - 1
	if b.sets.slots != nil {
		b.sets.grow(n+1, func(i int) uint64 { return b.hash(b.l.Runs(i)) })
		b.sets.add(b.hash(b.l.Runs(n)), uint32(n))
	}
	return n
}

// maxRun is the most bytes that a number takes.
const maxRun = 5

// room makes room for n more. A list that has been at rest gets little more than
// that, for it is large, and few are added to it at a time.
func room[T any](s []T, n int, rested bool) []T {
	if !rested || cap(s)-len(s) >= n {
		return s
	}
	return append(make([]T, 0, len(s)+n+len(s)/32), s...)
}

func appendNumbers(dst []byte, numbers []uint32) []byte {
	for i := 0; i < len(numbers); {
		first, count := numbers[i], 1
		for i+count < len(numbers) && numbers[i+count] == first+uint32(count) {
			count++
		}
		i += count
		if count == 1 {
			dst = binary.AppendUvarint(dst, uint64(first)<<1)
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(first)<<1|1)
		dst = binary.AppendUvarint(dst, uint64(count))
	}
	return dst
}

// lookup returns the series with the runs, or -1.
func (b *LabelsBuilder) lookup(runs []byte) int {
	b.sets.grow(len(b.l.series), func(i int) uint64 { return b.hash(b.l.Runs(i)) })
	n, ok := b.sets.find(b.hash(runs), func(n uint32) bool { return bytes.Equal(b.l.Runs(int(n)), runs) })
	if !ok {
		return -1
	}
	return int(n)
}

// find returns the number of a label, and leaves it in encoded.
func (b *LabelsBuilder) find(l Label) (uint32, bool) {
	b.label.grow(len(b.l.ends), func(i int) uint64 { return b.hash(b.l.Encoded(i, 1)) })
	b.encoded = AppendLabel(b.encoded[:0], l)
	return b.label.find(b.hash(b.encoded), func(n uint32) bool { return bytes.Equal(b.l.Encoded(int(n), 1), b.encoded) })
}

func (b *LabelsBuilder) hash(p []byte) uint64 {
	if b.seed == (maphash.Seed{}) {
		b.seed = maphash.MakeSeed()
	}
	return maphash.Bytes(b.seed, p)
}

// Rest gives back what only adding needs, and packs the list. The next Append
// or Find opens it again.
func (b *LabelsBuilder) Rest() {
	b.label, b.sets, b.numbers, b.encoded, b.rested, b.awake = index{}, index{}, nil, nil, true, false
	if b.l = b.l.pack(); b.l.packed != nil {
		return
	}
	b.l.text, b.l.runs = fit(b.l.text), fit(b.l.runs)
	b.l.ends, b.l.series = fit(b.l.ends), fit(b.l.series)
}

// Awake reports whether something was looked up or added since the last Rest.
func (b *LabelsBuilder) Awake() bool { return b.awake }

func (b *LabelsBuilder) wake() {
	b.awake = true
	if b.l.packed != nil {
		b.l = b.l.Open(nil)
	}
}

// fit returns s without room to grow, if that saves an eighth or more.
func fit[T any](s []T) []T {
	if cap(s)-len(s) <= len(s)/8 {
		return s
	}
	return append(make([]T, 0, len(s)), s...)
}

// index finds numbers by hash, with open addressing. The zero value is empty.
type index struct{ slots []uint32 } // numbers plus one

// grow makes room for one number more than n. It fills a new table with the
// first n numbers.
func (x *index) grow(n int, hash func(i int) uint64) {
	if 2*(n+1) <= len(x.slots) {
		return
	}
	x.slots = make([]uint32, 1<<bits.Len(uint(max(15, 3*n))))
	for i := range n {
		x.add(hash(i), uint32(i))
	}
}

func (x *index) add(hash uint64, n uint32) {
	mask := uint64(len(x.slots) - 1)
	at := hash & mask
	for x.slots[at] != 0 {
		at = (at + 1) & mask
	}
	x.slots[at] = n + 1
}

func (x *index) find(hash uint64, is func(n uint32) bool) (uint32, bool) {
	mask := uint64(len(x.slots) - 1)
	for at := hash & mask; x.slots[at] != 0; at = (at + 1) & mask {
		if n := x.slots[at] - 1; is(n) {
			return n, true
		}
	}
	return 0, false
}

// AppendLabel appends a label as field 1 of a TimeSeries of remote write 1.0.
func AppendLabel(dst []byte, l Label) []byte {
	size := 2 + uvarintLen(len(l.Name)) + len(l.Name) + uvarintLen(len(l.Value)) + len(l.Value)
	dst = append(dst, tagLabels)
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = append(dst, tagName)
	dst = binary.AppendUvarint(dst, uint64(len(l.Name)))
	dst = append(dst, l.Name...)
	dst = append(dst, tagValue)
	dst = binary.AppendUvarint(dst, uint64(len(l.Value)))
	return append(dst, l.Value...)
}

func uvarintLen(v int) int { return (bits.Len(uint(v)|1) + 6) / 7 }
