//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mangru/mangru/test/cluster/nodespec"
)

const (
	logDir      = "/var/log"
	restartWait = time.Second
	pollEvery   = 50 * time.Millisecond
)

// supervisor runs the services of a node. One loop starts them, waits for
// them and collects every other process that is orphaned to it, so no exit
// status is ever taken by the wrong waiter.
type supervisor struct {
	env     []string
	due     map[string]nodespec.Service // by name: to be started
	notYet  map[string]time.Time
	running map[int]nodespec.Service // by process id
	start   func(nodespec.Service, []string) (int, error)
	now     func() time.Time
}

func supervise(c nodespec.Config) error {
	s := newSupervisor(c, startService, time.Now)
	for {
		if err := s.startDue(); err != nil {
			return err
		}
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case pid > 0:
			s.ended(pid, status)
		case err == nil, errors.Is(err, syscall.ECHILD), errors.Is(err, syscall.EINTR):
			time.Sleep(pollEvery)
		default:
			return fmt.Errorf("waiting for processes: %w", err)
		}
	}
}

func newSupervisor(c nodespec.Config, start func(nodespec.Service, []string) (int, error), now func() time.Time) *supervisor {
	s := &supervisor{
		env: c.Env, due: make(map[string]nodespec.Service), notYet: make(map[string]time.Time),
		running: make(map[int]nodespec.Service), start: start, now: now,
	}
	for _, svc := range c.Services {
		s.due[svc.Name] = svc
	}
	return s
}

// startDue starts what is due, its condition met and its restart wait over.
func (s *supervisor) startDue() error {
	for name, svc := range s.due {
		if s.now().Before(s.notYet[name]) {
			continue
		}
		if svc.After != "" {
			if _, err := os.Stat(svc.After); err != nil {
				continue
			}
		}
		pid, err := s.start(svc, s.env)
		if err != nil {
			return fmt.Errorf("starting %s: %w", name, err)
		}
		delete(s.due, name)
		s.running[pid] = svc
	}
	return nil
}

// ended notes the end of a process; a service is started again after a wait.
func (s *supervisor) ended(pid int, status syscall.WaitStatus) {
	svc, ok := s.running[pid]
	if !ok {
		return
	}
	delete(s.running, pid)
	s.due[svc.Name] = svc
	s.notYet[svc.Name] = s.now().Add(restartWait)
	how := fmt.Sprintf("exit status %d", status.ExitStatus())
	if status.Signaled() {
		how = "signal " + status.Signal().String()
	}
	fmt.Printf("%s ended (%s); starting it again\n", svc.Name, how)
}

func startService(svc nodespec.Service, env []string) (int, error) {
	log, err := os.OpenFile(filepath.Join(logDir, svc.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }()
	path, err := lookPath(svc.Args[0], env)
	if err != nil {
		return 0, err
	}
	p, err := os.StartProcess(path, svc.Args, &os.ProcAttr{
		Env: env, Files: []*os.File{null, log, log}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	pid := p.Pid
	return pid, p.Release() // Wait4 above waits, not the os package
}

// lookPath finds a program in the PATH of env, not of this process.
func lookPath(name string, env []string) (string, error) {
	for _, e := range env {
		list, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			path := filepath.Join(dir, name)
			if st, err := os.Stat(path); err == nil && !st.IsDir() && st.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s: not in the node's PATH", name)
}
