package buffer

import (
	"unsafe"

	"github.com/mangru/mangru/internal/model"
)

const (
	frameOverhead = int64(unsafe.Sizeof(model.Frame{}) + unsafe.Sizeof(entry{}) + unsafe.Sizeof(item{}))
	extraBytes    = int64(unsafe.Sizeof(model.Extra{}))
	seriesBytes   = int64(unsafe.Sizeof(model.Series{}))
	labelBytes    = int64(unsafe.Sizeof(model.Label{}))
)

// frameBytes is what a frame takes beside its shape.
func frameBytes(f *model.Frame) int64 {
	return frameOverhead + 8*int64(cap(f.Values)) + extraBytes*int64(cap(f.Extras))
}

// shapeKey names the shapes that share one list of series.
type shapeKey struct{ target, generation uint64 }

func keyOf(s *model.Shape) shapeKey { return shapeKey{s.Target, s.Generation} }

// shapeUse accounts for the series that waiting frames keep alive. Shapes of
// one generation are prefixes of each other and share their labels, so the
// longest counts, once.
type shapeUse struct {
	frames int
	series int
	bytes  int64
}

// retain notes a frame of the shape and returns what it adds to the memory.
func (q *Queue) retain(s *model.Shape) (added int64) {
	key := keyOf(s)
	u := q.shapes[key]
	if u == nil {
		u = &shapeUse{}
		q.shapes[key] = u
	}
	u.frames++
	for ; u.series < len(s.Series); u.series++ {
		added += seriesBytes
		for _, l := range s.Series[u.series].Labels {
			added += labelBytes + int64(len(l.Name)+len(l.Value))
		}
	}
	u.bytes += added
	return added
}

// release undoes a retain and returns what the memory lost.
func (q *Queue) release(s *model.Shape) (freed int64) {
	key := keyOf(s)
	u := q.shapes[key]
	if u.frames--; u.frames == 0 {
		delete(q.shapes, key)
		return u.bytes
	}
	return 0
}
