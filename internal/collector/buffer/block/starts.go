package block

import (
	"encoding/binary"
	"slices"

	"github.com/mangru/mangru/internal/model"
)

// How a frame's start timestamps are stored; above, their number plus startsNew.
const (
	startsNone = 0
	startsSame = 1
	startsNew  = 2
)

// encodeStarts stores the frames' start timestamps. Most are the same from frame to
// frame, and from slot to slot: that of the target's process.
func (s *scratch) encodeStarts(frames []*model.Frame) {
	b, last := s.section[secStarts], (*model.Starts)(nil)
	for _, f := range frames {
		switch {
		case f.Starts == nil:
			b = append(b, startsNone)
		case last != nil && (f.Starts == last || slices.Equal(*f.Starts, *last)):
			b = append(b, startsSame)
		default:
			b = binary.AppendUvarint(b, startsNew+uint64(len(*f.Starts)))
			before := f.Time
			for _, v := range *f.Starts {
				b = binary.AppendVarint(b, v-before)
				before = v
			}
		}
		last = f.Starts
	}
	s.section[secStarts] = b
}

// decodeStarts reads the frames' start timestamps.
func (d *decoder) decodeStarts() {
	r, last := &d.starts, (*model.Starts)(nil)
	for _, f := range d.frames {
		switch n := r.uvarint(); {
		case n == startsNone:
		case n == startsSame && last != nil:
			f.Starts = last
		case n == startsSame || n-startsNew > uint64(d.limit) || n-startsNew > uint64(len(r.b)-r.at):
			r.fail("impossible start timestamps")
			return
		default:
			list, before := make(model.Starts, n-startsNew), f.Time
			for i := range list {
				before += r.varint()
				list[i] = before
			}
			f.Starts = &list
		}
		last = f.Starts
	}
}
