//go:build linux

// Package process tells what other processes of this machine use, from /proc.
package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of CPU time in /proc: USER_HZ, which is 100 on every
// platform that Go runs on.
const ticksPerSecond = 100

// CPU is what a process has used so far, in user and kernel mode.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name in parentheses may hold anything; the third field follows it.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// Resident is a process's resident set in bytes: all of it, what of it is
// anonymous and of files, and the most that it ever was.
type Resident struct{ Now, Anonymous, File, Peak int64 }

// Memory is a process's resident set.
func Memory(pid int) (r Resident, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return r, err
	}
	to := map[string]*int64{"VmRSS:": &r.Now, "RssAnon:": &r.Anonymous, "RssFile:": &r.File, "VmHWM:": &r.Peak}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || to[fields[0]] == nil {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return r, err
		}
		*to[fields[0]] = n << 10
	}
	return r, nil
}
