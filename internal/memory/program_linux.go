package memory

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ForgetProgram takes the pages of the program itself, its code and constants,
// out of the process' resident memory. Those that are used come back from the
// page cache at once; those that only starting up needed, most of a large
// program, do not. Pages that can be written to are left alone.
func ForgetProgram() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("finding the program: %w", err)
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("reading the memory map: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		from, to, ok := programPages(lines.Text(), exe)
		if !ok {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("giving pages back: %w", errno)
		}
	}
	return lines.Err()
}

// programPages reads a line of /proc/self/maps (see proc_pid_maps(5)) and
// reports whether it is about pages of the program that cannot be written to.
func programPages(line, exe string) (from, to uintptr, ok bool) {
	var perms, offset, device string
	var inode uint64
	if _, err := fmt.Sscanf(line, "%x-%x %s %s %s %d", &from, &to, &perms, &offset, &device, &inode); err != nil {
		return 0, 0, false
	}
	return from, to, strings.HasSuffix(line, " "+exe) && strings.HasPrefix(perms, "r-") && perms[3] == 'p'
}
