package load

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"regexp"
	"slices"
	"strings"

	"github.com/mangru/mangru/test/bench/collector/recording"
)

// The one node of the recordings.
const (
	RecordedNode   = "ip-10-0-0-11.internal"
	RecordedNodeIP = "10.0.0.11"
)

// template is a recording made ready to be said of any node and any pod.
type template struct {
	families []familyTemplate
	// objects is, by scope, how many different ones the recording has.
	objects map[scope]int
}

type familyTemplate struct {
	header string
	lines  []lineTemplate
}

// lineTemplate is a series whose names and ids can be replaced.
type lineTemplate struct {
	pieces  []piece
	scope   scope
	object  int // number of the recorded object, within its scope
	motion  *motion
	value   string // without motion
	stamped bool
}

// scope says of what a line is told.
type scope uint8

const (
	scopePage    scope = iota // of the target as a whole
	scopeNode                 // of one node, on a page about many
	scopePod                  // of a pod
	scopeVeth                 // of a pod, known by its network device only
	scopeSandbox              // of a pod, known by its sandbox only
	scopeVolume               // of a pod, known by its id in a path only
)

// podScopes are those of which a node has one object for each of its pods.
var podScopes = []scope{scopePod, scopeVeth, scopeSandbox, scopeVolume}

// piece is literal text or something to replace.
type piece struct {
	class class
	text  string
}

type class uint8

const (
	literal class = iota
	podName
	nodeName
	nodeIP
	podIP
	hexID
)

// hexPattern matches ids made of hexadecimal digits, the same that
// recording.Sanitizer replaces.
const hexPattern = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32,64}|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|veth[0-9a-f]{8}`

var (
	ipPattern  = regexp.MustCompile(`^10\.0\.\d+\.\d+$`)
	hexOnly    = regexp.MustCompile(`^(?:` + hexPattern + `)$`)
	podLabel   = regexp.MustCompile(`[{,]pod="([^"]+)"`)
	keyVeth    = regexp.MustCompile(`veth[0-9a-f]{8}`)
	keySandbox = regexp.MustCompile(`/sandboxes/([0-9a-f]{64})`)
	keyVolume  = regexp.MustCompile(`/pods?/?([0-9a-f]{8}-[0-9a-f-]{27})`)
)

// newTemplate prepares a recording. A page about many nodes, as
// kube-state-metrics has it, tells a node's lines apart.
func newTemplate(rec *recording.Recording, manyNodes bool) (*template, error) {
	keys := map[scope][]string{}
	pods := map[string]bool{}
	for _, f := range rec.Families {
		for _, s := range f.Series {
			sc, key := scopeOf(s.Text, manyNodes)
			keys[sc] = append(keys[sc], key)
			if sc == scopePod {
				pods[key] = true
			}
		}
	}
	t := &template{objects: map[scope]int{}}
	number := map[scope]map[string]int{}
	for sc, all := range keys {
		slices.Sort(all)
		number[sc] = map[string]int{}
		for i, key := range slices.Compact(all) {
			number[sc][key] = i
		}
		t.objects[sc] = len(number[sc])
	}
	sp := splitter{tokens: tokenPattern(pods), pods: pods, values: map[string][]piece{}}
	for _, f := range rec.Families {
		family := familyTemplate{header: f.Header}
		for _, s := range f.Series {
			sc, key := scopeOf(s.Text, manyNodes)
			line := lineTemplate{pieces: sp.line(s.Text), scope: sc, object: number[sc][key], stamped: s.Stamped}
			var err error
			if line.motion, line.value, err = newMotion(s, f.Type); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Text, err)
			}
			family.lines = append(family.lines, line)
		}
		t.families = append(t.families, family)
	}
	return t, nil
}

func scopeOf(text string, manyNodes bool) (scope, string) {
	if strings.Contains(text, `pod="`) {
		if m := podLabel.FindStringSubmatch(text); m != nil {
			return scopePod, m[1]
		}
	}
	if manyNodes {
		if strings.Contains(text, RecordedNode) {
			return scopeNode, ""
		}
		return scopePage, ""
	}
	if !strings.Contains(text, "veth") && !strings.Contains(text, "/") {
		return scopePage, ""
	}
	if m := keyVeth.FindString(text); m != "" {
		return scopeVeth, m
	}
	if m := keySandbox.FindStringSubmatch(text); m != nil {
		return scopeSandbox, m[1]
	}
	if m := keyVolume.FindStringSubmatch(text); m != nil {
		return scopeVolume, m[1]
	}
	return scopePage, ""
}

func tokenPattern(pods map[string]bool) *regexp.Regexp {
	var names []string
	for name := range pods {
		names = append(names, regexp.QuoteMeta(name))
	}
	// Longer names first: one may begin with another.
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return regexp.MustCompile(strings.Join(append(names, regexp.QuoteMeta(RecordedNode), hexPattern, `\b10\.0\.\d+\.\d+\b`), "|"))
}

// splitter cuts lines into pieces. Label values come again and again, so it
// remembers what it found in each.
type splitter struct {
	tokens *regexp.Regexp
	pods   map[string]bool
	values map[string][]piece
}

func (sp *splitter) line(text string) []piece {
	var pieces []piece
	for i, part := range strings.Split(text, `"`) {
		if i > 0 {
			pieces = appendLiteral(pieces, `"`)
		}
		if i%2 == 0 { // outside of quotes, unless a value has some of its own
			pieces = appendLiteral(pieces, part)
			continue
		}
		found, known := sp.values[part]
		if !known {
			found = sp.value(part)
			sp.values[part] = found
		}
		for _, p := range found {
			if p.class == literal {
				pieces = appendLiteral(pieces, p.text)
				continue
			}
			pieces = append(pieces, p)
		}
	}
	return pieces
}

func (sp *splitter) value(text string) []piece {
	var pieces []piece
	done := 0
	for _, at := range sp.tokens.FindAllStringIndex(text, -1) {
		token := text[at[0]:at[1]]
		pieces = appendLiteral(pieces, text[done:at[0]])
		pieces = append(pieces, piece{classOf(token, sp.pods), token})
		done = at[1]
	}
	return appendLiteral(pieces, text[done:])
}

// appendLiteral joins text with literal text before it.
func appendLiteral(pieces []piece, text string) []piece {
	if n := len(pieces); n > 0 && pieces[n-1].class == literal {
		pieces[n-1].text += text
		return pieces
	}
	return append(pieces, piece{literal, text})
}

func classOf(token string, pods map[string]bool) class {
	switch {
	case pods[token]:
		return podName
	case token == RecordedNode:
		return nodeName
	case token == RecordedNodeIP:
		return nodeIP
	case ipPattern.MatchString(token):
		return podIP
	case token == "00:00:00:00:00:00", token == "ff:ff:ff:ff:ff:ff":
		return literal
	case hexOnly.MatchString(token):
		return hexID
	}
	return literal
}

// identity is whose line it is to become.
type identity struct {
	node int
	// salt makes names and ids: a pod's own, or a node's for what is no pod's.
	salt uint64
}

// appendText says the line of an identity.
func (l *lineTemplate) appendText(dst []byte, id identity) []byte {
	for _, p := range l.pieces {
		switch {
		case p.class == literal:
			dst = append(dst, p.text...)
		case p.class == podName:
			dst = append(dst, podNameFor(p.text, id.salt)...)
		case p.class == nodeName:
			dst = append(dst, NodeName(id.node)...)
		case p.class == nodeIP:
			dst = append(dst, nodeIPFor(id.node)...)
		case p.class == podIP && l.scope == scopePod:
			h := hash(id.salt, p.text)
			dst = fmt.Appendf(dst, "10.%d.%d.%d", 64+h%64, h>>8%256, 1+h>>16%250)
		case p.class == podIP:
			dst = append(dst, p.text...)
		default:
			dst = appendHexID(dst, p.text, id.salt)
		}
	}
	return dst
}

func appendHexID(dst []byte, id string, salt uint64) []byte {
	if digits, veth := strings.CutPrefix(id, "veth"); veth {
		return append(append(dst, "veth"...), recording.Scramble(digits, salt)...)
	}
	return append(dst, recording.Scramble(id, salt)...)
}

// podNameFor replaces the random end of a pod's name.
func podNameFor(name string, salt uint64) string {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	cut := strings.LastIndexByte(name, '-') + 1
	h := hash(salt, name)
	var end [5]byte
	for i := range end {
		end[i] = alphabet[h%uint64(len(alphabet))]
		h /= uint64(len(alphabet))
	}
	return name[:cut] + string(end[:])
}

// NodeName is the name of the node with a number from 0 on.
func NodeName(node int) string {
	return fmt.Sprintf("ip-10-0-%d-%d.internal", 1+node/250, 1+node%250)
}

func nodeIPFor(node int) string { return fmt.Sprintf("10.0.%d.%d", 1+node/250, 1+node%250) }

func hash(salt uint64, text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // a hash never fails
	return mix(salt, h.Sum64())
}

// mix makes one number of several, in which every bit of each counts.
func mix(numbers ...uint64) uint64 {
	var x uint64
	for _, n := range numbers {
		x = (x ^ n) + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return x
}
