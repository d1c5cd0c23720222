package memory

import (
	"context"
	"os"
	"runtime"
	"time"
)

const (
	// processorPace is how often the time used is looked at.
	processorPace = time.Second
	// busyShare of one processor is when one may soon not be enough, calmShare
	// when it is by far.
	busyShare = 0.5
	calmShare = 0.25
	// calmFor is how many looks in a row have to be calm.
	calmFor = 10
)

// Processors lets the process run on one processor while that is by far enough,
// and on all it may use when it is not, until ctx ends. A process that sleeps
// most of the time is woken thousands of times a second; with more than one
// processor the runtime each time wakes another that looks for work and finds
// none. Where GOMAXPROCS is set in the environment that holds.
func Processors(ctx context.Context) {
	if os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 || processTime() == 0 {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	tick := time.NewTicker(processorPace)
	defer tick.Stop()
	l := load{used: processTime()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		was := l.one
		switch l.look(processTime()); {
		case l.one && !was:
			runtime.GOMAXPROCS(1)
		case !l.one && was:
			runtime.SetDefaultGOMAXPROCS()
		}
	}
}

// load decides whether one processor is enough.
type load struct {
	used float64 // seconds of CPU at the last look
	calm int
	one  bool
}

// look is told what the process has used, once every processorPace.
func (l *load) look(used float64) {
	share := (used - l.used) / processorPace.Seconds()
	l.used = used
	switch {
	case share > busyShare:
		l.calm, l.one = 0, false
	case share > calmShare:
		l.calm = 0
	default:
		l.calm++
		l.one = l.one || l.calm >= calmFor
	}
}
