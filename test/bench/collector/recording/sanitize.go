package recording

import (
	"fmt"
	"hash/fnv"
	"regexp"
	"strings"
)

// identity matches what tells one machine or pod from another: a UUID, a long
// hexadecimal id, a MAC address, a veth device.
var identity = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32,64}|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|veth[0-9a-f]{8}`)

// Sanitizer takes out of a recording what belongs to the machine on which it
// was made, and keeps its form: ids stay ids of the same length, equal ones
// stay equal.
type Sanitizer struct {
	// Replace lists old text and its replacement in turn: names of nodes and
	// namespaces of addresses, versions of the kernel.
	Replace []string
	// Drop lists text whose series are left out: mounts of the machine alone.
	Drop []string
}

// Apply changes the recording in place.
func (s Sanitizer) Apply(r *Recording) {
	replacer := strings.NewReplacer(s.Replace...)
	r.Map(func(text string) string {
		for _, d := range s.Drop {
			if strings.Contains(text, d) {
				return ""
			}
		}
		return identity.ReplaceAllStringFunc(replacer.Replace(text), disguise)
	})
}

// disguise makes an id of the same form out of another.
func disguise(id string) string {
	if id == "00:00:00:00:00:00" || id == "ff:ff:ff:ff:ff:ff" {
		return id
	}
	digits := id
	prefix := ""
	if strings.HasPrefix(id, "veth") {
		prefix, digits = "veth", id[len("veth"):]
	}
	return prefix + Scramble(digits, 0)
}

// Scramble replaces every hexadecimal digit of an id by one that depends on the
// whole id and the salt. Everything else stays, and so does the form of a MAC
// address that is locally administered.
func Scramble(id string, salt uint64) string {
	h := fnv.New64a()
	fmt.Fprint(h, salt, " ", id)
	state := h.Sum64()
	out := []byte(id)
	for i, c := range out {
		if c == '-' || c == ':' {
			continue
		}
		// xorshift64*: a few bits for every digit.
		state ^= state >> 12
		state ^= state << 25
		state ^= state >> 27
		out[i] = "0123456789abcdef"[state*0x2545F4914F6CDD1D>>60]
	}
	if len(out) > 2 && out[2] == ':' {
		out[1] = "26ae"[state>>62]
	}
	return string(out)
}
