package block

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/mangru/mangru/internal/model"
)

// How an extra is stored: the step from the slot before
// (varint), a byte with its kind and which fields it has, the distance to the
// frame's time (varint), and these fields.
const (
	restKind      = 1<<2 - 1
	restValue     = 1 << 2 // 8 bytes
	restHistogram = 1 << 3 // uvarint length, bytes
	restLabels    = 1 << 4 // uvarint count; uvarint length and bytes of each name and value
	restFlags     = 1<<5 - 1
	restMinSize   = 3
)

// encodeExtras stores the frame's extras.
func (s *scratch) encodeExtras(f *model.Frame) {
	b, last := s.section[secRest], int32(0)
	for i := range f.Extras {
		x := &f.Extras[i]
		flags := byte(x.Kind) & restKind
		if math.Float64bits(x.Value) != 0 {
			flags |= restValue
		}
		if len(x.Histogram) > 0 {
			flags |= restHistogram
		}
		if len(x.Labels) > 0 {
			flags |= restLabels
		}
		b = binary.AppendVarint(b, int64(x.Slot)-int64(last))
		last = x.Slot
		b = append(b, flags)
		b = binary.AppendVarint(b, x.Time-f.Time)
		if flags&restValue != 0 {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x.Value))
		}
		if flags&restHistogram != 0 {
			b = append(binary.AppendUvarint(b, uint64(len(x.Histogram))), x.Histogram...)
		}
		if flags&restLabels != 0 {
			b = binary.AppendUvarint(b, uint64(len(x.Labels)))
			for _, l := range x.Labels {
				b = append(binary.AppendUvarint(b, uint64(len(l.Name))), l.Name...)
				b = append(binary.AppendUvarint(b, uint64(len(l.Value))), l.Value...)
			}
		}
	}
	s.section[secRest] = b
}

// restReader reads section rest. What it returns refers to copies of the
// section, one for histograms and one for labels, made when needed.
type restReader struct {
	reader
	bytes []byte
	text  string
}

// next reads an extra; last is the slot of the frame's one before.
func (r *restReader) next(x *model.Extra, last int32, frameTime int64, slots int) {
	slot := int64(last) + r.varint()
	if slot < 0 || slot >= int64(slots) {
		r.fail("extra outside the slots")
		return
	}
	flags := r.byte()
	if flags&^restFlags != 0 {
		r.fail("unknown field of an extra")
		return
	}
	*x = model.Extra{Slot: int32(slot), Kind: model.ExtraKind(flags & restKind), Time: frameTime + r.varint()}
	if flags&restValue != 0 {
		x.Value = math.Float64frombits(r.word())
	}
	if flags&restHistogram != 0 {
		if r.bytes == nil {
			r.bytes = bytes.Clone(r.b)
		}
		n := len(r.take(r.uvarint()))
		x.Histogram = r.bytes[r.at-n : r.at : r.at]
	}
	if flags&restLabels != 0 {
		if r.text == "" {
			r.text = string(r.b)
		}
		x.Labels = r.labels()
	}
}

func (r *restReader) labels() []model.Label {
	n := r.uvarint()
	if n > uint64(len(r.b)-r.at)/2 { // a label has at least two lengths
		r.fail("too many labels")
		return nil
	}
	ls := make([]model.Label, n)
	for i := range ls {
		ls[i] = model.Label{Name: r.string(), Value: r.string()}
	}
	return ls
}

func (r *restReader) string() string {
	n := len(r.take(r.uvarint()))
	return r.text[r.at-n : r.at]
}
