package send

import (
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/wire"
)

// drafts are the buffers that requests are made in. They are far larger than the
// finished request, and making one is work for a processor; so an endpoint has
// no more of them than there are processors, however many workers it has, and
// while one of them keeps up, it has one. The zero value is ready.
type drafts struct {
	once sync.Once
	main chan *draft   // the one that there always is, while nobody has it
	turn chan struct{} // a place for each other that is in use

	mu   sync.Mutex
	more []*draft // others, the last one is the one that is warm
}

// draft is a request in the making.
type draft struct {
	messages [2]message // by version, made when needed
	packed   []byte
	room     model.Room
	main     bool
	used     time.Time
}

const (
	// draftPatience is how long one waits for the main draft before another is
	// taken: many times what making a request takes.
	draftPatience = 10 * time.Millisecond
	// draftIdle is for how long another draft is kept that is not needed.
	draftIdle = 3 * time.Second
)

// borrow returns a draft, and waits for one if all are in use. It must be given
// back.
func (d *drafts) borrow() *draft {
	d.once.Do(func() {
		d.main = make(chan *draft, 1)
		d.main <- &draft{main: true}
		d.turn = make(chan struct{}, runtime.GOMAXPROCS(0)-1)
	})
	select {
	case main := <-d.main:
		return main
	default:
	}
	patience := time.NewTimer(draftPatience)
	defer patience.Stop()
	select {
	case main := <-d.main:
		return main
	case <-patience.C:
	}
	select {
	case main := <-d.main:
		return main
	case d.turn <- struct{}{}: // never, with one processor
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.more)
	if n == 0 {
		return &draft{}
	}
	last := d.more[n-1]
	d.more[n-1], d.more = nil, d.more[:n-1]
	return last
}

func (d *drafts) giveBack(used *draft) {
	now := time.Now()
	d.mu.Lock()
	if !used.main {
		used.used = now
		d.more = append(d.more, used)
	}
	for len(d.more) > 0 && now.Sub(d.more[0].used) > draftIdle {
		d.more = slices.Delete(d.more, 0, 1)
	}
	d.mu.Unlock()
	if used.main {
		d.main <- used
		return
	}
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
