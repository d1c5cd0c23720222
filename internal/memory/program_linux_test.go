package memory

import (
	"os"
	"strings"
	"testing"
)

func TestProgramPart(t *testing.T) {
	exe := "/usr/bin/x y"
	for line, want := range map[string]bool{
		"00400000-0349d000 r-xp 00000000 08:01 123 /usr/bin/x y":    true,
		"0349d000-05000000 r--p 0309d000 08:01 123 /usr/bin/x y":    true,
		"05000000-05200000 rw-p 04c00000 08:01 123 /usr/bin/x y":    false,
		"7f0000000000-7f0000001000 r--p 00000000 08:01 9 /lib/libc": false,
		"c000000000-c000400000 rw-p 00000000 00:00 0":               false,
		"nonsense": false,
	} {
		if _, ok := programPart(line, exe); ok != want {
			t.Errorf("%q: %v, want %v", line, ok, want)
		}
	}
}

func TestFineProgram(t *testing.T) {
	count := func() (n int) {
		if err := eachProgramPart(func(part) error { return nil }); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile("/proc/self/maps")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(text), "\n")
	}
	before := count()
	for range 2 { // the second time changes nothing
		if err := FineProgram(); err != nil {
			t.Fatal(err)
		}
		if after := count(); after < before+10 {
			t.Errorf("%d mappings before, %d after", before, after)
		}
	}
	if strings.ToUpper("still here") != "STILL HERE" {
		t.Fatal("constants changed")
	}
}
