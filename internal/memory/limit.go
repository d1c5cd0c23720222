package memory

import (
	"bytes"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// none is above every limit that means something; kernels write "no limit" as a
// number near the largest.
const none = math.MaxInt64 / 4

// Limit returns the smallest memory limit in bytes that the process' control
// groups set, of either version, or 0 if there is none. root is the root of the
// file system.
func Limit(root fs.FS) int64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	limit := int64(none)
	for l := range bytes.Lines(groups) {
		// hierarchy:controllers:path, see cgroups(7).
		parts := strings.SplitN(strings.TrimSpace(string(l)), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[1] == "":
			limit = min(limit, smallest(root, "sys/fs/cgroup", parts[2], "memory.max"))
		case strings.Contains(","+parts[1]+",", ",memory,"):
			limit = min(limit, smallest(root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"))
		}
	}
	if limit >= none {
		return 0
	}
	return limit
}

// smallest reads a limit in a group and all those above it. In a container the
// path may be the host's, of which only the root is there.
func smallest(root fs.FS, mount, group, file string) int64 {
	limit := int64(none)
	for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
		b, err := fs.ReadFile(root, path.Join(mount, dir, file))
		if n, perr := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && perr == nil && n > 0 {
			limit = min(limit, n)
		}
		if dir == "/" {
			return limit
		}
	}
}

// Total returns the memory of the machine in bytes, or 0 where it does not say.
func Total(root fs.FS) int64 {
	info, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0
	}
	for l := range bytes.Lines(info) {
		// "MemTotal:       24612345 kB", see proc_meminfo(5).
		fields := strings.Fields(string(l))
		if len(fields) < 2 || fields[0] != "MemTotal:" {
			continue
		}
		if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			return n << 10
		}
	}
	return 0
}
