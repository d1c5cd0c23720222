package policy

import (
	"encoding/base64"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// comparison is what an operator compares. The zero value is none, so an
// operator that is not known compares nothing: see condition.eval.
type comparison uint8

const (
	compareNothing comparison = iota
	compareString
	compareStringFold
	compareLike
	compareNumeric
	compareDate
	compareBool
	compareBinary
	compareIP
	compareARN
	compareNull
)

// relation is how a number or time has to stand to the policy's.
type relation uint8

const (
	relationEqual relation = iota
	relationLess
	relationLessEqual
	relationGreater
	relationGreaterEqual
)

// quantifier says how many values of the request's key have to match.
type quantifier uint8

const (
	quantifierNone quantifier = iota
	quantifierAny             // ForAnyValue:
	quantifierAll             // ForAllValues:
)

// operator is a compiled condition operator.
type operator struct {
	compare    comparison
	relation   relation
	negated    bool
	quantifier quantifier
	ifExists   bool
}

// operatorOf returns what a condition operator means. Names depend on case.
func operatorOf(name string) (operator, bool) {
	q := quantifierNone
	if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		q, name = quantifierAny, rest
	} else if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		q, name = quantifierAll, rest
	}
	base, ifExists := strings.CutSuffix(name, "IfExists")
	op, ok := baseOperator(base)
	if op.compare == compareNull && (ifExists || q != quantifierNone) {
		return operator{}, false // it asks for existence itself
	}
	op.quantifier, op.ifExists = q, ifExists
	return op, ok
}

func baseOperator(name string) (operator, bool) {
	switch name {
	case "StringEquals":
		return operator{compare: compareString}, true
	case "StringNotEquals":
		return operator{compare: compareString, negated: true}, true
	case "StringEqualsIgnoreCase":
		return operator{compare: compareStringFold}, true
	case "StringNotEqualsIgnoreCase":
		return operator{compare: compareStringFold, negated: true}, true
	case "StringLike":
		return operator{compare: compareLike}, true
	case "StringNotLike":
		return operator{compare: compareLike, negated: true}, true
	case "Bool":
		return operator{compare: compareBool}, true
	case "BinaryEquals":
		return operator{compare: compareBinary}, true
	case "IpAddress":
		return operator{compare: compareIP}, true
	case "NotIpAddress":
		return operator{compare: compareIP, negated: true}, true
	case "ArnEquals", "ArnLike":
		return operator{compare: compareARN}, true
	case "ArnNotEquals", "ArnNotLike":
		return operator{compare: compareARN, negated: true}, true
	case "Null":
		return operator{compare: compareNull}, true
	}
	if rest, ok := strings.CutPrefix(name, "Numeric"); ok {
		return relational(compareNumeric, rest)
	}
	if rest, ok := strings.CutPrefix(name, "Date"); ok {
		return relational(compareDate, rest)
	}
	return operator{}, false
}

func relational(c comparison, name string) (operator, bool) {
	op := operator{compare: c}
	switch name {
	case "Equals":
	case "NotEquals":
		op.negated = true
	case "LessThan":
		op.relation = relationLess
	case "LessThanEquals":
		op.relation = relationLessEqual
	case "GreaterThan":
		op.relation = relationGreater
	case "GreaterThanEquals":
		op.relation = relationGreaterEqual
	default:
		return operator{}, false
	}
	return op, true
}

// condition is one key below one operator, compiled.
type condition struct {
	operator
	key, name string // in lower case, as written
	values    []conditionValue
}

// conditionValue is one of the policy's values; which members count depends on
// the operator.
type conditionValue struct {
	pattern pattern
	arn     arnPattern
	number  number
	time    time.Time
	prefix  netip.Prefix
	bytes   string
	truth   bool
}

// compileCondition checks and compiles a condition. Variables are literal text
// in documents of the old version.
func compileCondition(raw *rawCondition, variables bool, where string) (condition, error) {
	op, ok := operatorOf(raw.operator)
	if !ok {
		return condition{}, malformed(msgSyntax, where, "unknown condition operator %q", raw.operator)
	}
	where += "." + raw.operator
	if err := checkKey(raw.key); err != nil {
		return condition{}, at(err, where)
	}
	c := condition{operator: op, key: strings.ToLower(raw.key), name: raw.key}
	for _, text := range raw.values {
		v, err := op.compile(text, variables)
		if err != nil {
			return condition{}, at(err, where+"."+raw.key)
		}
		c.values = append(c.values, v)
	}
	return c, nil
}

// compile compiles one of the policy's values.
func (op *operator) compile(text string, variables bool) (v conditionValue, err error) {
	wrong := func(want string) error {
		return malformed(msgLegacy, "", "found %q, must be %s", text, want)
	}
	var ok bool
	switch op.compare {
	case compareString, compareStringFold:
		v.pattern, err = compilePattern(text, false, variables)
	case compareLike:
		v.pattern, err = compilePattern(text, true, variables)
	case compareARN:
		if variables && strings.Contains(text, "${") {
			v.pattern, err = compilePattern(text, true, true)
			break
		}
		if text != "*" && (!strings.HasPrefix(text, "arn:") || strings.Count(text, ":") < arnFields-1) {
			return v, wrong("an ARN of six fields")
		}
		v.arn, err = compileARN(text, false)
	case compareBool:
		if variables && strings.Contains(text, "${") {
			v.pattern, err = compilePattern(text, false, true)
			break
		}
		if v.truth, ok = parseBool(text); !ok {
			err = wrong("true or false")
		}
	case compareNull:
		if v.truth, ok = parseBool(text); !ok {
			err = wrong("true or false")
		}
	case compareNumeric:
		if v.number, ok = parseNumber(text); !ok {
			err = wrong("a number")
		}
	case compareDate:
		if v.time, ok = parseDate(text); !ok {
			err = wrong("a time as in ISO 8601, or seconds since 1970")
		}
	case compareBinary:
		if v.bytes, ok = parseBinary(text); !ok {
			err = wrong("base64")
		}
	case compareIP:
		if v.prefix, ok = parsePrefix(text); !ok {
			err = wrong("an address or a range in CIDR notation")
		}
	default:
		err = wrong("of a known operator")
	}
	return v, err
}

// verdict is whether a condition holds.
type verdict uint8

const (
	// verdictUnknown: it cannot be told. Allow takes it for no, Deny for yes.
	verdictUnknown verdict = iota
	verdictNo
	verdictYes
)

func verdictOf(b bool) verdict {
	if b {
		return verdictYes
	}
	return verdictNo
}

// eval tells whether the condition holds for the request.
func (c *condition) eval(e *evaluation) verdict {
	values := e.context[c.key]
	switch {
	case c.compare == compareNothing:
		return verdictUnknown
	case c.compare == compareNull:
		for i := range c.values {
			if c.values[i].truth == (len(values) == 0) {
				return verdictYes
			}
		}
		return verdictNo
	case len(values) == 0:
		e.miss(c.key, c.name)
		return c.absent()
	case c.quantifier != quantifierNone && allEmpty(values):
		// Empty strings only are a set of nothing.
		return c.absent()
	}
	matched, unmatched := 0, 0
	for _, value := range values {
		m, ok := c.match(e, value)
		switch {
		case !ok:
			return verdictUnknown
		case m != c.negated:
			matched++
		default:
			unmatched++
		}
	}
	switch {
	case c.quantifier == quantifierAny:
		return verdictOf(matched > 0)
	case unmatched == 0:
		return verdictYes
	case c.quantifier == quantifierAll || matched == 0:
		return verdictNo
	}
	return verdictUnknown // several values where one was meant, and they differ
}

// absent is the verdict when the request does not have the key.
func (c *condition) absent() verdict {
	switch {
	case c.ifExists, c.quantifier == quantifierAll:
		return verdictYes
	case c.quantifier == quantifierAny:
		return verdictNo
	}
	return verdictOf(c.negated)
}

func allEmpty(values []string) bool {
	for _, v := range values {
		if v != "" {
			return false
		}
	}
	return true
}

// match reports whether one of the policy's values stands to the request's as
// the operator says, before negation. It reports !ok when the request's value
// is not of the type that the operator compares.
func (c *condition) match(e *evaluation, value string) (matched, ok bool) {
	switch c.compare {
	case compareString, compareStringFold, compareLike, compareARN:
		for i := range c.values {
			if c.matchText(e, &c.values[i], value) {
				return true, true
			}
		}
		return false, true
	case compareBool:
		truth, ok := parseBool(value)
		if !ok {
			return false, false
		}
		for i := range c.values {
			if is, ok := c.values[i].isTruth(e); ok && is == truth {
				return true, true
			}
		}
		return false, true
	case compareBinary:
		bytes, ok := parseBinary(value)
		for i := range c.values {
			matched = matched || c.values[i].bytes == bytes
		}
		return matched, ok
	case compareIP:
		addr, err := netip.ParseAddr(value)
		addr = addr.Unmap().WithZone("")
		for i := range c.values {
			matched = matched || c.values[i].prefix.Contains(addr)
		}
		return matched, err == nil
	case compareNumeric:
		n, ok := parseNumber(value)
		for i := range c.values {
			matched = matched || c.relation.holds(n.compare(c.values[i].number))
		}
		return matched, ok
	case compareDate:
		t, ok := parseDate(value)
		for i := range c.values {
			matched = matched || c.relation.holds(t.Compare(c.values[i].time))
		}
		return matched, ok
	}
	return false, false
}

func (c *condition) matchText(e *evaluation, v *conditionValue, value string) bool {
	switch c.compare {
	case compareLike:
		var buf [16]token
		tokens, ok := v.pattern.resolve(e, buf[:0])
		return ok && glob(tokens, value)
	case compareARN:
		if v.pattern.tokens != nil {
			return matchARNVariables(e, &v.pattern, value)
		}
		return v.arn.matchARN(value)
	}
	if c.compare == compareStringFold {
		// Letters that differ only in case take from one to three bytes.
		want, ok := v.pattern.literal(e, 3*len(value))
		return ok && strings.EqualFold(want, value)
	}
	want, ok := v.pattern.literal(e, len(value))
	return ok && want == value
}

func (v *conditionValue) isTruth(e *evaluation) (truth, ok bool) {
	if v.pattern.tokens == nil {
		return v.truth, true
	}
	text, ok := v.pattern.literal(e, len("false"))
	if !ok {
		return false, false
	}
	return parseBool(text)
}

// holds tells whether a relation holds for the result of a comparison.
func (r relation) holds(order int) bool {
	switch r {
	case relationEqual:
		return order == 0
	case relationLess:
		return order < 0
	case relationLessEqual:
		return order <= 0
	case relationGreater:
		return order > 0
	case relationGreaterEqual:
		return order >= 0
	}
	return false
}

func parseBool(s string) (truth, ok bool) {
	switch {
	case strings.EqualFold(s, "true"):
		return true, true
	case strings.EqualFold(s, "false"):
		return false, true
	}
	return false, false
}

// number is a decimal number; integers up to 63 bits are exact.
type number struct {
	integer int64
	float   float64
	exact   bool
}

// parseNumber parses an integer or a decimal number, with an exponent or
// without: no infinities, no other bases.
func parseNumber(s string) (number, bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return number{integer: i, float: float64(i), exact: true}, true
	}
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return number{}, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return number{float: f}, err == nil
}

func (n number) compare(m number) int {
	switch {
	case n.exact && m.exact && n.integer < m.integer, !(n.exact && m.exact) && n.float < m.float:
		return -1
	case n.exact && m.exact && n.integer > m.integer, !(n.exact && m.exact) && n.float > m.float:
		return 1
	}
	return 0
}

// maxEpoch bounds seconds since 1970, either way; far beyond it, time.Time
// overflows.
const maxEpoch = 1 << 42

// parseDate parses the forms of the W3C's profile of ISO 8601, from a year to
// fractions of a second, and whole seconds since 1970. Four digits are a year;
// a time without a zone is UTC.
func parseDate(s string) (time.Time, bool) {
	if len(s) > 64 || s == "" {
		return time.Time{}, false
	}
	if len(s) != 4 {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return time.Unix(n, 0), -maxEpoch < n && n < maxEpoch
		}
	}
	if len(s) > 10 && s[10] == 't' {
		s = s[:10] + "T" + s[11:]
	}
	if s[len(s)-1] == 'z' {
		s = s[:len(s)-1] + "Z"
	}
	for _, layout := range []string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15:04Z0700",
		"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01", "2006",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func parseBinary(s string) (string, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	return string(b), err == nil
}

// parsePrefix parses a range of addresses, or one. An IPv4 range that is written
// as IPv6 is the IPv4 one.
func parsePrefix(s string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), addr.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return netip.Prefix{}, false
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, true
}
