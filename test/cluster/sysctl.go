//go:build unix

package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Kubelets set these for the whole machine; Down puts them back.
var kubeletSysctls = []string{
	"fs.inotify.max_user_instances", "fs.inotify.max_user_watches",
	"kernel.keys.root_maxbytes", "kernel.keys.root_maxkeys",
	"kernel.panic", "kernel.panic_on_oops",
	"vm.overcommit_memory", "vm.panic_on_oom",
}

// watchLimits are what several kubelets and containerds on one machine need.
var watchLimits = map[string]int{
	"fs.inotify.max_user_instances": 1024,
	"fs.inotify.max_user_watches":   262144,
}

func sysctlPath(key string) string {
	return filepath.Join("/proc/sys", strings.ReplaceAll(key, ".", "/"))
}

func readSysctls(keys []string) map[string]string {
	values := make(map[string]string)
	for _, key := range keys {
		// One that this kernel does not have needs no putting back.
		if text, err := os.ReadFile(sysctlPath(key)); err == nil {
			values[key] = strings.TrimSpace(string(text))
		}
	}
	return values
}

// raiseLimits lifts limits that are too low; a machine that forbids it may
// still do.
func raiseLimits(before map[string]string) {
	for key, want := range watchLimits {
		if have, err := strconv.Atoi(before[key]); err == nil && have < want {
			_ = os.WriteFile(sysctlPath(key), []byte(strconv.Itoa(want)), 0o644)
		}
	}
}

// restoreSysctls writes back those that have changed.
func restoreSysctls(before map[string]string) error {
	now := readSysctls(sortedKeys(before))
	var errs []error
	for _, key := range sortedKeys(before) {
		if now[key] != before[key] {
			errs = append(errs, os.WriteFile(sysctlPath(key), []byte(before[key]), 0o644))
		}
	}
	return errors.Join(errs...)
}
