package policy

import (
	"strings"
)

// arnFields is how many fields an ARN has: arn, partition, service, region,
// account, resource. Only the last may contain colons.
const arnFields = 6

// arnPattern is a compiled pattern for ARNs. Each field is matched by itself; in
// the resource, colons are ordinary characters.
type arnPattern struct {
	any    bool // "*"
	fields [arnFields]pattern
	// count is how many fields there are. With fewer than all, the last ends in
	// a star that stands for the rest.
	count int
	// crossing says that a field before the last ends in a star, which then may
	// take colons too.
	crossing bool
}

// compileARN compiles a pattern that has at least two fields. With variables,
// the resource may contain some.
func compileARN(s string, variables bool) (arnPattern, error) {
	var p arnPattern
	if s == "*" {
		return arnPattern{any: true}, nil
	}
	for _, field := range strings.SplitN(s, ":", arnFields) {
		compiled, err := compilePattern(field, true, variables && p.count == arnFields-1)
		if err != nil {
			return arnPattern{}, err
		}
		p.fields[p.count] = compiled
		p.count++
	}
	for i := range p.fields[:p.count-1] {
		p.crossing = p.crossing || endsInStar(p.fields[i].tokens)
	}
	return p, nil
}

func endsInStar(tokens []token) bool {
	return len(tokens) > 0 && tokens[len(tokens)-1].kind == tokenStar
}

// matchResource reports whether the resource of a request matches, by the rules
// of the elements Resource and NotResource: a star that ends a field may take
// colons as well. The second result is false when a variable has no value;
// nothing matches then.
func (p *arnPattern) matchResource(e *evaluation, resource string) (matched, resolved bool) {
	if p.any {
		return true, true
	}
	var buf [16]token
	last, ok := p.fields[p.count-1].resolve(e, buf[:0])
	if !ok {
		return false, false
	}
	rest, aligned := resource, true
	for i := range p.count - 1 {
		colon := strings.IndexByte(rest, ':')
		if colon < 0 {
			return false, true // fewer colons than the pattern has
		}
		if aligned && !glob(p.fields[i].tokens, rest[:colon]) {
			if !p.crossing {
				return false, true
			}
			aligned = false
		}
		rest = rest[colon+1:]
	}
	if aligned && p.matchLast(last, rest) {
		return true, true
	}
	if !p.crossing || strings.IndexByte(rest, ':') < 0 {
		return false, true // each colon of the pattern has its place
	}
	c := crossing{p: p, last: last, s: resource}
	return c.match(0, 0), true
}

// matchLast matches what follows the colons of the pattern.
func (p *arnPattern) matchLast(last []token, rest string) bool {
	if p.count < arnFields {
		// The star at the end takes all fields that follow.
		rest, _, _ = strings.Cut(rest, ":")
	}
	return glob(last, rest)
}

// crossing matches a resource that has more colons than the pattern, of which
// stars may take some. What failed once is not tried again, so there are at
// most as many tries as fields times colons.
type crossing struct {
	p      *arnPattern
	last   []token
	s      string
	failed map[[2]int]struct{}
}

// match reports whether the fields from i on match s from pos on.
func (c *crossing) match(i, pos int) bool {
	rest := c.s[pos:]
	if i == c.p.count-1 {
		return c.p.matchLast(c.last, rest)
	}
	if _, ok := c.failed[[2]int{i, pos}]; ok {
		return false
	}
	colon := strings.IndexByte(rest, ':')
	if colon >= 0 && glob(c.p.fields[i].tokens, rest[:colon]) {
		for {
			if c.match(i+1, pos+colon+1) {
				return true
			}
			if !endsInStar(c.p.fields[i].tokens) {
				break
			}
			next := strings.IndexByte(rest[colon+1:], ':')
			if next < 0 {
				break
			}
			colon += 1 + next
		}
	}
	if c.failed == nil {
		c.failed = make(map[[2]int]struct{})
	}
	c.failed[[2]int{i, pos}] = struct{}{}
	return false
}

// matchARN reports whether the value of a condition key is an ARN that matches,
// by the rules of the Arn operators: all six fields are there and each matches
// by itself.
func (p *arnPattern) matchARN(value string) bool {
	if p.any {
		return true
	}
	if p.count != arnFields {
		return false
	}
	for i := range arnFields - 1 {
		field, rest, ok := strings.Cut(value, ":")
		if !ok || !glob(p.fields[i].tokens, field) {
			return false
		}
		value = rest
	}
	return glob(p.fields[arnFields-1].tokens, value)
}

// matchARNVariables is matchARN for a pattern with variables, which may stand
// for several fields.
func matchARNVariables(e *evaluation, p *pattern, value string) bool {
	var buf [16]token
	tokens, ok := p.resolve(e, buf[:0])
	if !ok {
		return false
	}
	var rest []token
	for range arnFields - 1 {
		field, remaining, ok := strings.Cut(value, ":")
		if !ok {
			return false
		}
		var head []token
		if head, rest, ok = cutTokens(tokens); !ok || !glob(head, field) {
			return false
		}
		value, tokens = remaining, rest
	}
	return glob(tokens, value)
}

// cutTokens cuts resolved tokens at the first colon.
func cutTokens(tokens []token) (head, rest []token, found bool) {
	for i, t := range tokens {
		if t.kind != tokenLiteral {
			continue
		}
		before, after, ok := strings.Cut(t.text, ":")
		if !ok {
			continue
		}
		head = append(head, tokens[:i]...)
		head = append(head, token{kind: tokenLiteral, text: before})
		rest = append(rest, token{kind: tokenLiteral, text: after})
		return head, append(rest, tokens[i+1:]...), true
	}
	return nil, nil, false
}
