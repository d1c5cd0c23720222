package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
)

// victim is a server in a process of its own, TestServerProcess.
type victim struct {
	cmd  *exec.Cmd
	done chan error
	dir  string
	url  string
	key  iam.AccessKey
	ws   string
}

// startVictim starts the process over a data directory. The first start of a
// directory makes the key, which later ones do not know.
func startVictim(t *testing.T, dir string, key *iam.AccessKey, env ...string) *victim {
	t.Helper()
	v := &victim{cmd: exec.Command(os.Args[0], "-test.run=^TestServerProcess$", "-test.v"), done: make(chan error, 1), dir: dir}
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "here")))
	v.cmd.Env = append(append(os.Environ(), "MANGRU_TEST_SERVER_DIR="+dir), env...)
	require.NoError(t, v.cmd.Start())
	go func() { v.done <- v.cmd.Wait() }()
	t.Cleanup(func() { v.kill() })
	var here struct{ URL, ID, Secret, WS string }
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "here"))
		return err == nil && json.Unmarshal(b, &here) == nil
	}, 60*time.Second, 10*time.Millisecond)
	v.url, v.ws, v.key = here.URL, here.WS, iam.AccessKey{ID: here.ID, Secret: here.Secret}
	if key != nil {
		v.key = *key
	}
	return v
}

// kill ends the process as kill -9 does.
func (v *victim) kill() {
	if v.cmd != nil {
		_ = v.cmd.Process.Kill()
		<-v.done
		v.cmd = nil
	}
}

// post signs and sends a write; 0 stands for no answer.
func (v *victim) post(t *testing.T, body []byte) int {
	r := signedRequest(t, "POST", v.url+"/workspaces/"+v.ws+"/api/v1/remote_write", body, v.key, "aps", "us-east-1", time.Now(), nil)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// auditor is a sender with a known sequence: its n-th batch has the value n. What
// got no answer it sends again, unchanged, as senders do.
type auditor struct {
	name  string
	times []int64 // of the batches, in milliseconds
	acked int     // batches that were acknowledged
}

const auditSeries = 7 // of each auditor

func (a *auditor) body(n int) []byte {
	var all []prompb.TimeSeries
	for i := range auditSeries {
		all = append(all, prompb.TimeSeries{
			Labels:  []prompb.Label{{Name: "__name__", Value: "audit"}, {Name: "i", Value: strconv.Itoa(i)}, {Name: "writer", Value: a.name}},
			Samples: []prompb.Sample{{Timestamp: a.times[n], Value: float64(n)}},
		})
	}
	return writeRequest(all...)
}

// send goes on until it has no answer, or no batches, or stop is closed.
func (a *auditor) send(t *testing.T, v *victim, stop <-chan struct{}) {
	for a.acked < len(a.times) {
		select {
		case <-stop:
			return
		default:
		}
		switch code := v.post(t, a.body(a.acked)); code {
		case 200:
			a.acked++
		case 0:
			return
		case 503: // refused for now: again, later
			if !errors.Is(waitOr(stop, 20*time.Millisecond), nil) {
				return
			}
		default:
			t.Errorf("%s: batch %d: status %d", a.name, a.acked, code)
			return
		}
	}
}

var errStopped = errors.New("stopped")

func waitOr(stop <-chan struct{}, d time.Duration) error {
	select {
	case <-stop:
		return errStopped
	case <-time.After(d):
		return nil
	}
}

// check demands every acknowledged sample, once, with its value, and of the others
// nothing but the one that was under way.
func (a *auditor) check(t *testing.T, v *victim) {
	t.Helper()
	q := url.Values{"query": {fmt.Sprintf("audit{writer=%q}[3h]", a.name)}, "time": {epoch(time.Now().Add(10 * time.Minute))}}
	r := signedRequest(t, "GET", v.url+"/workspaces/"+v.ws+"/api/v1/query?"+q.Encode(), nil, v.key, "aps", "us-east-1", time.Now(), nil)
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	var out struct {
		Data struct {
			Result []struct{ Values [][2]any }
		}
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&out))
	require.Equal(t, 200, res.StatusCode)
	if a.acked > 0 {
		require.Len(t, out.Data.Result, auditSeries)
	}
	for _, series := range out.Data.Result {
		got := map[int64]string{}
		for _, p := range series.Values {
			at := int64(p[0].(float64)*1000 + 0.5)
			require.NotContains(t, got, at, "%s has a sample twice", a.name)
			got[at] = p[1].(string)
		}
		require.GreaterOrEqual(t, len(got), a.acked, a.name)
		require.LessOrEqual(t, len(got), a.acked+1, a.name)
		for n, at := range a.times[:min(len(got), len(a.times))] {
			if n < a.acked || got[at] != "" {
				require.Equal(t, strconv.Itoa(n), got[at], "%s, batch %d", a.name, n)
			}
		}
	}
}

// auditors are four with steady clocks, and two whose clocks step back and ahead.
func auditors(batches int) []*auditor {
	var all []*auditor
	base := time.Now().Add(-time.Hour).UnixMilli()
	for w := range 6 {
		a := &auditor{name: fmt.Sprintf("steady-%d", w)}
		for n := range batches {
			at := base + int64(n)*100 + int64(w)
			switch {
			case w == 4 && n >= batches/2: // back by ten minutes, between the older ones' times
				a.name, at = "back", at-10*60_000+37
			case w == 5 && n >= batches/2: // ahead by nine minutes of what is now
				a.name, at = "ahead", time.Now().Add(9*time.Minute).UnixMilli()/1000*1000+int64(n)
			}
			a.times = append(a.times, at)
		}
		all = append(all, a)
	}
	return all
}

// tear puts something behind the end of the newest log, as a write that a power
// cut caught half way leaves it.
func tear(t *testing.T, dir string, what []byte) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "workspaces", "*", "tsdb", "wal", "[0-9]*"))
	require.NoError(t, err)
	slices.Sort(logs)
	f, err := os.OpenFile(logs[len(logs)-1], os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.Write(what)
	require.NoError(t, errors.Join(err, f.Close()))
}

// TestServerAudit lets senders with known sequences write while the server is
// killed, finds torn records in its log, runs out of disk and has little memory.
// Every sample that was acknowledged has to be there, once, with its value.
func TestServerAudit(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err == nil {
		t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	}
	rnd := rand.New(rand.NewPCG(1, 5))
	garbage := make([]byte, 3000)
	for i := range garbage {
		garbage[i] = byte(rnd.Uint32())
	}
	all := auditors(400)
	little := []string{"GOMEMLIMIT=48MiB", "MANGRU_TEST_SERVER_DISK=tiny"}
	v := startVictim(t, dir, nil, little...)
	key := v.key
	// round lets them write until so much more has been acknowledged.
	round := func(more int, meanwhile func()) {
		stop := make(chan struct{})
		before := 0
		for _, a := range all {
			before += a.acked
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		for _, a := range all {
			wg.Go(func() {
				one := *a
				for one.acked < len(one.times) {
					next := one.acked
					oneMore := auditor{name: one.name, times: one.times[:next+1], acked: next}
					oneMore.send(t, v, stop)
					if oneMore.acked == next {
						break
					}
					mu.Lock()
					one.acked, a.acked = oneMore.acked, oneMore.acked
					mu.Unlock()
				}
			})
		}
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			n := 0
			for _, a := range all {
				n += a.acked
			}
			return n-before >= more
		}, 60*time.Second, time.Millisecond)
		meanwhile()
		close(stop)
		wg.Wait()
	}
	for _, torn := range [][]byte{nil, garbage, make([]byte, 3000), {3}} {
		round(150, v.kill)
		if torn != nil {
			tear(t, dir, torn)
		}
		v = startVictim(t, dir, &key, little...)
		for _, a := range all {
			a.check(t, v)
		}
	}
	if ballast := filepath.Join(dir, "ballast"); fill(ballast) {
		require.Eventually(t, func() bool { return v.post(t, writeRequest(oneSeries("other", 1, time.Now()))) == 503 }, 30*time.Second, time.Millisecond)
		for _, a := range all {
			a.check(t, v) // reading goes on
		}
		require.NoError(t, os.Remove(ballast))
		round(60, func() {}) // and writing, alone
		for _, a := range all {
			a.check(t, v)
		}
	}
	round(100, v.kill)
	v = startVictim(t, dir, &key, little...)
	for _, a := range all {
		a.send(t, v, nil)
		require.Len(t, a.times, a.acked)
		a.check(t, v)
	}
}

// fill takes what room there is on a small file system, and reports whether it is
// one.
func fill(file string) bool {
	var st syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(file), &st); err != nil || st.Blocks*uint64(st.Bsize) > 100<<20 {
		return false
	}
	f, err := os.Create(file)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	piece := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(piece)
	}
	return errors.Is(err, syscall.ENOSPC)
}
