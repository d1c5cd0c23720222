package fault

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/sink"
)

// clock changes what another process takes for the time of day. The process reads
// it through a function that the kernel maps into it; that is replaced by one that
// adds a number of seconds which lies behind it.
type clock struct {
	t      *testing.T
	pid    int
	offset int64 // address of the seconds to add
}

// replaced is the function: clock_gettime as a system call, and, where the clock
// is CLOCK_REALTIME, the addition of the eight bytes behind it.
var replaced = []byte{
	0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
	0x0f, 0x05, // syscall
	0x85, 0xff, // test edi, edi
	0x75, 10, // jne to ret
	0x48, 0x8b, 0x0d, 6, 0, 0, 0, // mov rcx, [the eight bytes]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3,       // ret
	0x90, 0x90, // the eight bytes are aligned
	0, 0, 0, 0, 0, 0, 0, 0,
}

// takeClock takes over the clock of a process.
func takeClock(t *testing.T, pid int) *clock {
	t.Helper()
	c := &clock{t: t, pid: pid}
	from, to := c.vdso()
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		t.Skipf("the memory of another process cannot be changed here: %v", err)
	}
	defer mem.Close()
	image := make([]byte, to-from)
	_, err = mem.ReadAt(image, from)
	require.NoError(t, err)
	at := from + c.symbol(image)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	defer func() { require.NoError(t, syscall.Kill(pid, syscall.SIGCONT)) }()
	c.quiet(from, to)
	if _, err := mem.WriteAt(replaced, at); err != nil {
		t.Skipf("the memory of another process cannot be changed here: %v", err)
	}
	c.offset = at + int64(len(replaced)) - 8
	return c
}

// vdso returns where the kernel's functions are.
func (c *clock) vdso() (from, to int64) {
	c.t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", c.pid))
	require.NoError(c.t, err)
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
			require.NoError(c.t, err)
			return from, to
		}
	}
	c.t.Skip("the process reads the clock in another way")
	return 0, 0
}

// symbol returns where in the image the clock is read.
func (c *clock) symbol(image []byte) int64 {
	c.t.Helper()
	f, err := elf.NewFile(bytes.NewReader(image))
	require.NoError(c.t, err)
	symbols, err := f.DynamicSymbols()
	require.NoError(c.t, err)
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			require.GreaterOrEqual(c.t, s.Size, uint64(len(replaced)))
			return int64(s.Value)
		}
	}
	c.t.Fatal("no clock_gettime among the kernel's functions")
	return 0
}

// quiet waits until no thread is inside the kernel's functions; all are stopped.
func (c *clock) quiet(from, to int64) {
	c.t.Helper()
	for range 100 {
		inside := false
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", c.pid))
		require.NoError(c.t, err)
		for _, file := range threads {
			b, err := os.ReadFile(file)
			fields := strings.Fields(string(b))
			if err != nil || len(fields) < 3 { // it still runs
				inside = true
				continue
			}
			pc, err := strconv.ParseInt(strings.TrimPrefix(fields[len(fields)-1], "0x"), 16, 64)
			if err != nil || pc >= from && pc < to {
				inside = true
			}
		}
		if !inside {
			return
		}
		require.NoError(c.t, syscall.Kill(c.pid, syscall.SIGCONT))
		time.Sleep(time.Millisecond)
		require.NoError(c.t, syscall.Kill(c.pid, syscall.SIGSTOP))
		time.Sleep(5 * time.Millisecond)
	}
	c.t.Fatal("the process is never outside of the clock")
}

// set moves the process's time of day against the true one.
func (c *clock) set(by time.Duration) {
	c.t.Helper()
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", c.pid), os.O_RDWR, 0)
	require.NoError(c.t, err)
	defer mem.Close()
	_, err = mem.WriteAt(binary.LittleEndian.AppendUint64(nil, uint64(int64(by/time.Second))), c.offset)
	require.NoError(c.t, err)
}

// TestClockSteps moves the clock of the collector to and fro. Samples have the
// time that the clock shows, none is dropped for its age, and each is stored.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	plant := newPlant(t)
	list := []endpoint{{name: "good"}}
	x := newReceivers(t, list).start()
	const global = "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
	writes := x.remoteWrite(list, "")
	c := start(t, global+jobsOf(plant.addr(), []string{"well1", "well2"}, "")+writes, nil, "--queue-age=30m")
	c.steps = true
	clock := takeClock(t, c.PID())
	stored := func(from, to time.Duration) (n int) {
		now := time.Now()
		x.sink.With("good", func(s *sink.Stream) {
			if s == nil {
				return
			}
			for _, series := range s.Series {
				for _, p := range series.Points {
					if at := time.UnixMilli(p.Time).Sub(now); at > from && at < to {
						n++
					}
				}
			}
		})
		return n
	}
	for _, by := range []time.Duration{0, time.Hour, -time.Hour, 0, -10 * time.Second, 2 * time.Hour, 30 * time.Second, 0} {
		const around = 4 * time.Second
		clock.set(by)
		before := stored(by-around, by+around)
		c.await(fmt.Sprintf("samples at %s from now", by), func() bool { return stored(by-around, by+around) > before+150 })
	}
	c.reload(global + "scrape_configs: []\n" + writes)
	m := c.settled(&x.sink, []string{"good"})
	require.Zero(t, m.sum("mangru_collector_send_dropped_samples_total"))
	require.Zero(t, m.sum("mangru_collector_queue_dropped_samples_total"))
	x.sink.With("good", func(s *sink.Stream) {
		auditPages(t, s, plant.seen(), false)
	})
}
