package send

import (
	"runtime"
	"sync"
	"time"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/wire"
)

// drafts are the buffers that requests are made in. They are far larger than the
// finished request, and making one is work for a processor; so an endpoint has
// no more of them than there are processors, however many workers it has, and
// while one processor keeps up, it has one. The zero value is ready.
type drafts struct {
	once sync.Once
	turn chan struct{}

	mu   sync.Mutex
	free []*draft // the last one is the one that is warm
}

// draft is a request in the making.
type draft struct {
	messages [2]message // by version, made when needed
	packed   []byte
	room     model.Room
	used     time.Time
}

// draftIdle is for how long a draft is kept that is not needed.
const draftIdle = 3 * time.Second

// borrow returns a draft, and waits for one if all are in use. It must be given
// back.
func (d *drafts) borrow() *draft {
	d.once.Do(func() { d.turn = make(chan struct{}, runtime.GOMAXPROCS(0)) })
	d.turn <- struct{}{}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.free)
	if n == 0 {
		return &draft{}
	}
	last := d.free[n-1]
	d.free[n-1], d.free = nil, d.free[:n-1]
	return last
}

func (d *drafts) giveBack(used *draft) {
	d.mu.Lock()
	used.used = time.Now()
	if len(d.free) > 0 && used.used.Sub(d.free[0].used) > draftIdle {
		d.free = append(d.free[:0], d.free[1:]...)
	}
	d.free = append(d.free, used)
	d.mu.Unlock()
	<-d.turn
}

// message returns the draft of an endpoint's request in a version.
func (d *draft) message(ep *endpoint, v version) message {
	if m := d.messages[v-v1]; m != nil {
		return m
	}
	external := ep.external
	if len(ep.cfg.Rewrite) > 0 {
		external = nil // they are in what the rewriter makes
	}
	var m message
	if v == v2 {
		m = wire.NewEncoderV2(external)
	} else {
		m = wire.NewEncoderV1(external)
	}
	d.messages[v-v1] = m
	return m
}
