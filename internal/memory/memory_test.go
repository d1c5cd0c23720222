package memory

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

func TestLimit(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"none":         {map[string]string{}, 0},
		"v2":           {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "104857600\n"}, 100 << 20},
		"v2 container": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1048576\n"}, 1 << 20},
		"v2 unlimited": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0},
		"v1": {map[string]string{
			"proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/kubepods/pod1\n0::/\n",
			"sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes": "9223372036854771712\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes":               "2097152\n",
		}, 2 << 20},
		"broken": {map[string]string{"proc/self/cgroup": "x\n0::/\n", "sys/fs/cgroup/memory.max": "12q\n"}, 0},
	} {
		root := fstest.MapFS{}
		for p, text := range c.files {
			root[p] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := Limit(root); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		live int64
		want int
	}{{0, 50}, {10 << 20, 50}, {80 << 20, 18}, {1 << 30, 9}} {
		if got := percent(c.live, 8<<20, 1); got != c.want {
			t.Errorf("%d live: %d, want %d", c.live, got, c.want)
		}
	}
}

func TestPaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); Pace(ctx, 1<<20) }()
		time.Sleep(time.Minute)
		cancel()
		<-done
	})
	if was := debug.SetGCPercent(100); was != 100 {
		t.Errorf("left the target at %d", was)
	}
}

func TestForgetProgram(t *testing.T) {
	if err := ForgetProgram(); err != nil {
		t.Fatal(err)
	}
	if strings.ToUpper("still here") != "STILL HERE" { // code and constants are still there
		t.Fatal("constants changed")
	}
	if Heap() <= 0 {
		t.Fatal("no heap")
	}
}

func TestEffort(t *testing.T) {
	var e effort
	cycles, used := uint64(0), 0.0
	// pass is some seconds of work with collections that look at 100 MB each.
	pass := func(n uint64, seconds float64) float64 {
		cycles, used = cycles+n, used+seconds
		return e.factor(cycles, 100e6, used)
	}
	if f := pass(9, 0.9); f != 1 {
		t.Errorf("too little to judge by: factor %g", f)
	}
	if f := pass(1, 0.1); f != 1.25 {
		t.Errorf("much effort: factor %g", f)
	}
	for range 30 {
		pass(10, 1)
	}
	if f := pass(2, 2); f != 8 {
		t.Errorf("it has to stop somewhere, and stay: factor %g", f)
	}
	for range 30 {
		pass(0, 1)
	}
	if f := pass(2, 2); f != 1 {
		t.Errorf("little effort: factor %g", f)
	}
	if p, more := percent(300<<20, 4<<20, 1), percent(300<<20, 4<<20, 4); p != 9 || more != 36 {
		t.Errorf("percentages %d and %d", p, more)
	}
	if h := readHeap(); h.scanned == 0 {
		t.Errorf("%d collections, %d bytes", h.cycles, h.scanned)
	}
	if processTime() <= 0 {
		t.Error("no time used")
	}
}

func TestLoad(t *testing.T) {
	var l load
	used := 0.0
	after := func(seconds int, share float64) bool {
		for range seconds {
			used += share
			l.look(used)
		}
		return l.one
	}
	if after(calmFor-1, 0.03) {
		t.Error("one processor, and it is not calm for long")
	}
	if !after(1, 0.03) {
		t.Error("calm, and more than one processor")
	}
	if !after(60, 0.4) {
		t.Error("one processor is enough still")
	}
	if after(1, 0.6) {
		t.Error("one processor is soon not enough")
	}
	if after(calmFor-1, 0.1) || after(60, 0.3) || after(calmFor-1, 0.1) {
		t.Error("it may come again")
	}
	if !after(1, 0.1) {
		t.Error("calm again")
	}
}

func TestProcessorsEnd(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); Processors(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		<-done
	})
	if after := runtime.GOMAXPROCS(0); after != before {
		t.Errorf("left it at %d processors of %d", after, before)
	}
}
