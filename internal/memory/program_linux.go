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
	return eachProgramPart(func(p part) error { return advise(p.from, p.to, unix.MADV_DONTNEED) })
}

// grain is how many bytes of the program the kernel is to map at a time.
const grain = 16 << 10

// FineProgram makes the kernel map the code and constants of the program in small
// pieces. When a page of a file is touched, Linux maps the 64 kB around it that
// are in the page cache, but never beyond a mapping. Of a large program one place
// runs a few functions here and there, and the garbage collector reads a few words
// in tables, so that most of what is mapped for them is never looked at. Advice
// that differs from piece to piece makes them mappings of their own: some
// thousands, which takes the kernel about a megabyte less than it saves of each ten.
func FineProgram() error {
	return eachProgramPart(func(p part) error {
		for at := p.from + grain; at < p.to; at += 2 * grain {
			if err := advise(at, min(at+grain, p.to), unix.MADV_RANDOM); err != nil {
				return err
			}
		}
		return nil
	})
}

func advise(from, to uintptr, advice uintptr) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, advice); errno != 0 {
		return fmt.Errorf("advising the kernel about memory: %w", errno)
	}
	return nil
}

// part is a mapping of the program's file that cannot be written to.
type part struct{ from, to uintptr }

func eachProgramPart(do func(part) error) error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("finding the program: %w", err)
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("reading the memory map: %w", err)
	}
	defer func() { _ = f.Close() }()
	var parts []part
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		p, ok := programPart(lines.Text(), exe)
		if !ok {
			continue
		}
		if n := len(parts) - 1; n >= 0 && parts[n].to == p.from {
			parts[n].to = p.to
			continue
		}
		parts = append(parts, p)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the memory map: %w", err)
	}
	for _, p := range parts {
		if err := do(p); err != nil {
			return err
		}
	}
	return nil
}

// programPart reads a line of /proc/self/maps (see proc_pid_maps(5)) and reports
// whether it is about pages of the program that cannot be written to.
func programPart(line, exe string) (p part, ok bool) {
	var perms, offset, device string
	var inode uint64
	if _, err := fmt.Sscanf(line, "%x-%x %s %s %s %d", &p.from, &p.to, &perms, &offset, &device, &inode); err != nil {
		return part{}, false
	}
	return p, strings.HasSuffix(line, " "+exe) && strings.HasPrefix(perms, "r-") && perms[3] == 'p'
}
