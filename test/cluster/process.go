//go:build unix

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one that Up started. The start time tells it from another that
// was given the same id later.
type process struct {
	Name  string
	PID   int
	Start uint64 // clock ticks since the machine started
}

// startTime reads when a process started; zombies count as gone.
func startTime(pid int) (uint64, bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	return parseStartTime(text)
}

// parseStartTime takes the state and the start time out of /proc/PID/stat. The
// second field, the command in brackets, may hold anything, brackets too.
func parseStartTime(stat []byte) (uint64, bool) {
	_, rest, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return start, err == nil
}

func (p process) alive() bool {
	start, ok := startTime(p.PID)
	return ok && start == p.Start
}

// kill ends the process at once: the cluster's state is thrown away anyway.
func (p process) kill() error {
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("ending %s (process %d): %w", p.Name, p.PID, err)
	}
	return nil
}

// waitGone waits for the process to end, and collects it if it is our child.
func (p process) waitGone(ctx context.Context) error {
	for p.alive() {
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("%s (process %d) does not end: %w", p.Name, p.PID, err)
		}
	}
	// Not our child: the error says so and nothing is lost.
	_, _ = syscall.Wait4(p.PID, nil, syscall.WNOHANG, nil)
	return nil
}

// spawn starts a command that outlives this program, with an environment of
// its own, and remembers it.
func (s *state) spawn(logDir, name string, argv ...string) error {
	log, err := os.Create(filepath.Join(logDir, name+".log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// Whatever context Up has, the process goes on after it.
	cmd := exec.CommandContext(context.Background(), argv[0], argv[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	pid := cmd.Process.Pid
	start, ok := startTime(pid)
	if !ok {
		return fmt.Errorf("%s ended at once: %s", name, lastLine(log.Name()))
	}
	s.Processes = append(s.Processes, process{Name: name, PID: pid, Start: start})
	if err := s.save(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// command runs a program to its end; an error carries what it complained about.
func command(ctx context.Context, stdin io.Reader, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &complaint
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(complaint.String())
		return out.Bytes(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, text)
	}
	return out.Bytes(), nil
}

// lastLine is the end of a log, for an error text.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}
