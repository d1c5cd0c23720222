//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mangru/mangru/test/bench/collector/load"
	"github.com/mangru/mangru/test/bench/collector/pages"
	"github.com/mangru/mangru/test/bench/collector/peer"
	"github.com/mangru/mangru/test/bench/collector/sink"
	"github.com/mangru/mangru/test/bench/process"
)

// session is one collector at work between a page server and a sink of its own.
type session struct {
	log       *slog.Logger
	dir       string
	keep      bool
	pages     *server
	sink      *server
	targets   []pages.Target
	collector peer.Collector
	task      peer.Task

	running *exec.Cmd
	exited  chan struct{} // closed when running has ended
	started time.Time
}

// server is a child process that answers HTTP.
type server struct {
	cmd     *exec.Cmd
	stdin   io.Closer // which it waits for the end of
	address string
}

// startServer runs this program in another mode and waits for its address.
func startServer(ctx context.Context, args ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &server{cmd: exec.CommandContext(ctx, self, args...)}
	s.cmd.Stderr = os.Stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%s server did not start: %w", args[0], errors.Join(err, s.stop()))
	}
	s.address = strings.TrimSpace(line)
	return s, nil
}

func (s *server) stop() error {
	return errors.Join(s.stdin.Close(), s.cmd.Wait())
}

// get asks the server for JSON.
func (s *server) get(ctx context.Context, path string, into any) error {
	return s.ask(ctx, http.MethodGet, path, func(body io.Reader) error { return json.NewDecoder(body).Decode(into) })
}

func (s *server) post(ctx context.Context, path string) error {
	return s.ask(ctx, http.MethodPost, path, func(io.Reader) error { return nil })
}

func (s *server) ask(ctx context.Context, method, path string, read func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	return read(answer.Body)
}

// newSession starts the servers and prepares the collector, which start starts.
func newSession(ctx context.Context, log *slog.Logger, o *options, c peer.Collector) (*session, error) {
	s := &session{log: log, keep: o.keep, collector: c}
	var err error
	if s.dir, err = os.MkdirTemp(o.work, "collector-bench-"); err != nil {
		return nil, err
	}
	if s.pages, err = startServer(ctx, o.pages.args()...); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if s.sink, err = startServer(ctx, "sink"); err != nil {
		return nil, errors.Join(err, s.close())
	}
	if err := s.pages.get(ctx, "/targets", &s.targets); err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.task = peer.Task{Interval: o.pages.shape.Interval, URL: "http://" + s.sink.address + "/api/v1/write", V2: o.protocol == protocolV2, Jobs: jobsOf(s.targets)}
	return s, nil
}

// jobsOf groups targets, in their order. Those that tell of other nodes and pods
// than themselves keep the labels on the page, as usual.
func jobsOf(targets []pages.Target) []peer.Job {
	var jobs []peer.Job
	index := map[string]int{}
	for _, t := range targets {
		i, known := index[t.Job]
		if !known {
			i = len(jobs)
			index[t.Job] = i
			honor := t.Job == load.JobKubelet || t.Job == load.JobCAdvisor || t.Job == load.JobKubeStateMetrics
			jobs = append(jobs, peer.Job{Name: t.Job, HonorLabels: honor})
		}
		jobs[i].Targets = append(jobs[i].Targets, peer.Target{Address: t.Address, Path: t.Path, Node: t.Node})
	}
	return jobs
}

// start runs the collector. What it says goes to a file in the session's
// directory.
func (s *session) start(ctx context.Context) error {
	port, err := freePort(ctx)
	if err != nil {
		return err
	}
	cmd, err := s.collector.Command(ctx, s.task, s.dir, port)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	s.started = time.Now()
	err = errors.Join(cmd.Start(), log.Close())
	if err != nil {
		return err
	}
	s.running, s.exited = cmd, make(chan struct{})
	exited := s.exited
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(exited)
	}()
	return nil
}

func (s *session) logFile() string { return filepath.Join(s.dir, s.collector.Name+".log") }

func (s *session) pid() int { return s.running.Process.Pid }

// alive returns an error with the end of the collector's log if it has ended.
func (s *session) alive() error {
	select {
	case <-s.exited:
	default:
		return nil
	}
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err
	}
	return fmt.Errorf("%s ended early (%s); the end of its log:\n%s", s.collector.Name, s.running.ProcessState, text[max(0, len(text)-2000):])
}

// drainTime is how long a collector may take to send what it has when told to
// stop.
const drainTime = time.Minute

// end tells the collector to stop and waits until it has.
func (s *session) end() error {
	if s.running == nil {
		return nil
	}
	select {
	case <-s.exited:
		return nil
	default:
	}
	if err := s.running.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(drainTime):
		s.log.Warn("killed: it did not stop in time", "collector", s.collector.Name, "after", drainTime)
		return s.kill()
	}
}

func (s *session) kill() error {
	err := s.running.Process.Kill()
	<-s.exited
	return err
}

// close ends everything and removes the session's directory unless it is to be
// kept.
func (s *session) close() error {
	err := s.end()
	for _, server := range []*server{s.sink, s.pages} {
		if server != nil {
			err = errors.Join(err, server.stop())
		}
	}
	if s.keep {
		s.log.Info("kept", "directory", s.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// state is what is known of all parts at one moment.
type state struct {
	at                    time.Time
	pages                 pages.Stats
	sink                  sink.Stats
	cpu, pageCPU, sinkCPU time.Duration
}

func (s *session) state(ctx context.Context) (st state, err error) {
	st.at = time.Now()
	if err := s.alive(); err != nil {
		return st, err
	}
	if st.cpu, err = process.CPU(s.pid()); err != nil {
		return st, err
	}
	if st.pageCPU, err = process.CPU(s.pages.cmd.Process.Pid); err != nil {
		return st, err
	}
	if st.sinkCPU, err = process.CPU(s.sink.cmd.Process.Pid); err != nil {
		return st, err
	}
	err = s.counts(ctx, &st)
	return st, err
}

// counts fills in what the servers counted.
func (s *session) counts(ctx context.Context, st *state) error {
	return errors.Join(s.sink.get(ctx, "/stats", &st.sink), s.pages.get(ctx, "/stats", &st.pages))
}

// watch waits, looks at the collector's memory every second, and calls each
// after every look if it is not nil; it ends early when each says so.
func (s *session) watch(ctx context.Context, d time.Duration, each func() (done bool, err error)) (rss []int64, err error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for until := time.Now().Add(d); time.Now().Before(until); {
		select {
		case <-ctx.Done():
			return rss, ctx.Err()
		case <-s.exited:
			return rss, s.alive()
		case <-tick.C:
		}
		resident, err := process.Memory(s.pid())
		if err != nil {
			return rss, err
		}
		rss = append(rss, resident.Now)
		if each == nil {
			continue
		}
		if done, err := each(); done || err != nil {
			return rss, err
		}
	}
	return rss, nil
}
