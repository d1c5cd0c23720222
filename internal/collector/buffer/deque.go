package buffer

// deque is a first-in-first-out list in a ring, which also gives way in the
// middle. The zero value is empty.
type deque[T any] struct {
	ring []T
	head int
	n    int
}

func (d *deque[T]) len() int { return d.n }

// at returns the i-th element from the front.
func (d *deque[T]) at(i int) *T {
	if i < 0 || i >= d.n {
		panic("BUG: buffer: element out of range")
	}
	return &d.ring[(d.head+i)&(len(d.ring)-1)]
}

func (d *deque[T]) push(v T) {
	if d.n == len(d.ring) {
		d.resize(max(16, 2*d.n))
	}
	d.n++
	*d.at(d.n - 1) = v
}

func (d *deque[T]) pop() T {
	p := d.at(0)
	v := *p
	var zero T
	*p = zero
	d.head = (d.head + 1) & (len(d.ring) - 1)
	d.n--
	// Memory follows what is live, also after an outage.
	if len(d.ring) > 64 && d.n < len(d.ring)/4 {
		d.resize(len(d.ring) / 2)
	}
	return v
}

// removeAt takes out the i-th element by moving the ones before it, of which
// there are few.
func (d *deque[T]) removeAt(i int) {
	for ; i > 0; i-- {
		*d.at(i) = *d.at(i - 1)
	}
	d.pop()
}

func (d *deque[T]) resize(size int) {
	ring := make([]T, size)
	for i := range d.n {
		ring[i] = *d.at(i)
	}
	d.ring, d.head = ring, 0
}
