package buffer

import (
	"slices"

	"github.com/mangru/mangru/internal/collector/buffer/block"
	"github.com/mangru/mangru/internal/model"
)

// codec makes blocks of frames, and large blocks of small ones. The frames of a
// block are of one target and generation, oldest first; decoded ones all refer
// to the shape given, which must have at least the slots of each.
type codec struct {
	encode func(dst []byte, frames []*model.Frame) []byte
	merge  func(dst []byte, shape *model.Shape, blocks ...[]byte) ([]byte, error)
	decode func(data []byte, shape *model.Shape) ([]*model.Frame, error)
}

func blockCodec() codec { return codec{block.Encode, block.Merge, block.Decode} }

// Blocks are read in several requests, so their decoded frames stay while a
// position is in them: a block that nobody has at the moment is "idle".
const (
	maxIdle = 32
	// openShare is the part of MaxBytes that the blocks which an endpoint's
	// readers have open may take when there is no room left besides, so that
	// reading does not push out what it is about to read.
	openShare = 16
)

// mayOpen reports whether an endpoint's reader may take the entry, as far as
// memory goes. One block at a time it always may have.
func (q *Queue) mayOpen(ep *endpoint, e *entry) bool {
	limit := q.cfg.MaxBytes
	if !e.isBlock() || limit <= 0 || ep.open == 0 || ep.open+e.plain <= limit/openShare {
		return true
	}
	if e.open == nil && q.bytes+e.plain > limit {
		q.shutIdle()
	}
	return e.open != nil || q.bytes+e.plain <= limit
}

// take notes that an endpoint's reader has the entry.
func (q *Queue) take(ep *endpoint, e *entry) {
	e.leases++
	if !e.isBlock() {
		return
	}
	ep.open += e.plain
	if e.open == nil {
		e.open = &opened{data: e.data, shape: e.gen.shape}
		q.bytes += e.plain
	}
	q.notIdle(e)
}

// giveBack notes that a reader has the entry no more. Its frames stay decoded
// for the next request if it made progress.
func (q *Queue) giveBack(e *entry, progress bool) {
	e.leases--
	if e.open == nil || e.leases > 0 {
		return
	}
	if e.inside == 0 || !progress {
		q.shut(e)
		return
	}
	if len(q.idle) == maxIdle {
		q.shut(q.idle[0])
	}
	q.idle = append(q.idle, e)
}

func (q *Queue) notIdle(e *entry) {
	if i := slices.Index(q.idle, e); i >= 0 {
		q.idle = slices.Delete(q.idle, i, i+1)
	}
}

// shut forgets the decoded frames of a block.
func (q *Queue) shut(e *entry) {
	if e.open != nil {
		q.bytes -= e.plain
		e.open = nil
		q.notIdle(e)
	}
}

func (q *Queue) shutIdle() {
	for len(q.idle) > 0 {
		q.shut(q.idle[len(q.idle)-1])
	}
}
