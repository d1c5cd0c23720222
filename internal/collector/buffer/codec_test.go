package buffer

import (
	"encoding/binary"
	"encoding/json"
	"math"

	"github.com/mangru/mangru/internal/model"
)

// plainCodec does not compress. It is for tests in a synctest bubble, in which
// the encoders that the real one pools cannot be used.
func plainCodec() codec {
	merge := func(dst []byte, shape *model.Shape, blocks ...[]byte) ([]byte, error) {
		for _, b := range blocks {
			dst = append(dst, b...)
		}
		return dst, nil
	}
	return codec{plainEncode, merge, plainDecode}
}

func plainEncode(b []byte, frames []*model.Frame) []byte {
	for _, f := range frames {
		b = binary.BigEndian.AppendUint64(b, uint64(f.Time))
		b = binary.BigEndian.AppendUint32(b, uint32(len(f.Values)))
		for _, v := range f.Values {
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(v))
		}
		extras, err := json.Marshal(f.Extras)
		if err != nil {
			panic(err)
		}
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(extras))), extras...)
	}
	return b
}

func plainDecode(b []byte, shape *model.Shape) (frames []*model.Frame, err error) {
	for len(b) > 0 {
		f := &model.Frame{Shape: shape, Time: int64(binary.BigEndian.Uint64(b))}
		f.Values = make([]float64, binary.BigEndian.Uint32(b[8:]))
		b = b[12:]
		for i := range f.Values {
			f.Values[i], b = math.Float64frombits(binary.BigEndian.Uint64(b)), b[8:]
		}
		n := binary.BigEndian.Uint32(b)
		if err := json.Unmarshal(b[4:4+n], &f.Extras); err != nil {
			return nil, err
		}
		b, frames = b[4+n:], append(frames, f)
	}
	return frames, nil
}
