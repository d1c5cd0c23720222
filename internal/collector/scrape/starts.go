package scrape

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/prompb"

	"github.com/mangru/mangru/internal/model"
)

// start takes in when the parser's series says that it began. Asking costs the
// OpenMetrics parser a look ahead, so nobody asks without need.
func (c *cache) start(p textparse.Parser, slot int32, isHistogram bool) {
	zeroes, starts := c.sp.plan.zeroes, c.sp.plan.starts
	if !zeroes && !starts {
		return
	}
	start := p.StartTimestamp()
	if zeroes {
		c.takeStart(slot, start, isHistogram)
	}
	if starts {
		c.noteStart(slot, start)
	}
}

// noteStart notes a series' start timestamp. The list that a frame has is left as
// it is.
func (c *cache) noteStart(slot int32, start int64) {
	start = max(0, start) // what is no time, such as NaN, is none
	if c.since == nil {
		if start == 0 {
			return
		}
		c.since = new(model.Starts)
	}
	known := int(slot) < len(*c.since)
	if known && (*c.since)[slot] == start || !known && start == 0 {
		return
	}
	if !c.begun {
		list := append(make(model.Starts, 0, len(c.flags)), *c.since...)
		c.since, c.begun = &list, true
	}
	for len(*c.since) <= int(slot) {
		*c.since = append(*c.since, 0)
	}
	(*c.since)[slot] = start
}

// moveStart gives a slot the start timestamp that another one has in a list. It is
// for between two passes.
func (c *cache) moveStart(to int32, from *model.Starts, slot int) {
	if from == nil || slot >= len(*from) || (*from)[slot] == 0 {
		return
	}
	if c.since == nil {
		c.since = new(model.Starts)
	}
	for len(*c.since) <= int(to) {
		*c.since = append(*c.since, 0)
	}
	(*c.since)[to] = (*from)[slot]
}

// begun is when a series began, and the time of its last sample.
type begun struct{ start, last int64 }

// takeStart adds a zero at the time at which a series says that it began, once,
// unless there are samples of it from later on already. So the first increase of
// a counter is seen.
func (c *cache) takeStart(slot int32, start int64, isHistogram bool) {
	if start == 0 || start >= c.now {
		return
	}
	if c.starts == nil {
		c.starts = make(map[int32]begun)
	}
	was := c.starts[slot]
	c.starts[slot] = begun{start: start, last: c.now}
	if start == was.start || start <= was.last || c.flags[slot]&hasOwn != 0 && start <= c.own[slot].time {
		return
	}
	x := model.Extra{Slot: slot, Time: start}
	if isHistogram {
		msg := prompb.FromIntHistogram(start, &histogram.Histogram{})
		encoded, err := msg.Marshal()
		if err != nil {
			return // cannot happen: the message is ours
		}
		x.Kind, x.Histogram = model.ExtraHistogram, encoded
	}
	c.extras = append(c.extras, x)
}
