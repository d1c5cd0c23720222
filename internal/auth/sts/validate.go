package sts

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// The bounds of the API, in seconds, characters or members.
const (
	minDuration     = 900
	maxRoleDuration = 43200
	maxUserDuration = 129600

	maxPolicy     = 2048
	maxPolicyARNs = 10
	maxTags       = 50
)

var (
	patternName     = constraint(`[\w+=,.@-]*`)
	patternExternal = constraint(`[\w+=,.@:\/-]*`)
	patternTag      = constraint(`[\p{L}\p{Z}\p{N}_.:/=+\-@]+`)
	patternTagValue = constraint(`[\p{L}\p{Z}\p{N}_.:/=+\-@]*`)
	patternKeyID    = constraint(`[\w]*`)
	patternPolicy   = constraint(`[\x{0009}\x{000A}\x{000D}\x{0020}-\x{00FF}]+`)
	patternARN      = constraint(`[\x{0009}\x{000A}\x{000D}\x{0020}-\x{007E}\x{0085}\x{00A0}-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]+`)

	roleARN   = whenUsed(`^arn:aws:iam::(\d{12}):role/(?:[\x21-\x7e]{1,510}/)?([\w+=,.@-]{1,64})$`)
	policyARN = whenUsed(`^arn:aws:iam::(aws|\d{12}):policy/(?:[\x21-\x7e]{1,510}/)?[\w+=,.@-]{1,128}$`)
)

// pattern is a constraint with the text that AWS shows for it.
type pattern struct {
	shown string
	re    func() *regexp.Regexp
}

func constraint(s string) pattern {
	shown := regexp.MustCompile(`\\x\{([0-9A-F]+)\}`).ReplaceAllString(s, `\u$1`)
	return pattern{shown: shown, re: whenUsed(`^(?:` + s + `)$`)}
}

// whenUsed compiles an expression when it is first used: those that count to
// hundreds take a lot of memory, and every process of the program has this package.
func whenUsed(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}

// violations collects what is wrong with a request, in AWS' words.
type violations []string

func (v *violations) add(value, member, format string, args ...any) {
	*v = append(*v, fmt.Sprintf("Value %s at '%s' failed to satisfy constraint: %s", value, member, fmt.Sprintf(format, args...)))
}

// quoted is a value as messages have it.
func quoted(s string) string {
	const most = 256
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return "'" + s + "'"
}

// text checks a member that is there. Lengths are in characters.
func (v *violations) text(member, value string, least, most int, p pattern) {
	v.textAs(quoted(value), member, value, least, most, p)
}

// secret is text whose value no message shows.
func (v *violations) secret(member, value string, least, most int, p pattern) {
	v.textAs("at this place", member, value, least, most, p)
}

func (v *violations) textAs(shown, member, value string, least, most int, p pattern) {
	n := utf8.RuneCountInString(value)
	if n > most {
		v.add(shown, member, "Member must have length less than or equal to %d", most)
	}
	if n < least {
		v.add(shown, member, "Member must have length greater than or equal to %d", least)
	}
	if p.re != nil && (!utf8.ValidString(value) || n <= most && !p.re().MatchString(value)) {
		v.add(shown, member, "Member must satisfy regular expression pattern: %s", p.shown)
	}
}

// required is text that has to be there.
func (v *violations) required(member, value string, least, most int, p pattern) {
	if value == "" {
		v.add("null", member, "Member must not be null")
		return
	}
	v.text(member, value, least, most, p)
}

// optional is text that may be absent.
func (v *violations) optional(member string, value *string, least, most int, p pattern) {
	if value != nil {
		v.text(member, *value, least, most, p)
	}
}

func (v *violations) number(member string, value *int32, least, most int32) {
	if value == nil {
		return
	}
	if *value > most {
		v.add(quoted(strconv.Itoa(int(*value))), member, "Member must have value less than or equal to %d", most)
	}
	if *value < least {
		v.add(quoted(strconv.Itoa(int(*value))), member, "Member must have value greater than or equal to %d", least)
	}
}

func (v *violations) size(member string, n, most int) {
	if n > most {
		v.add("list of "+strconv.Itoa(n), member, "Member must have length less than or equal to %d", most)
	}
}

// err is the refusal of all of them, nil for none.
func (v violations) err() error {
	switch len(v) {
	case 0:
		return nil
	case 1:
		return fail(CodeValidation, "1 validation error detected: %s", v[0])
	}
	const most = 10
	n := len(v)
	if n > most {
		v = v[:most]
	}
	return fail(CodeValidation, "%d validation errors detected: %s", n, strings.Join(v, "; "))
}

// Common are the members that several operations share.
type Common struct {
	DurationSeconds *int32
	// Policy is a session policy, PolicyARNs name managed policies used as
	// such.
	Policy     *string
	PolicyARNs []string
	// MinimumSessionTokenSize pads the token, in bytes.
	MinimumSessionTokenSize *int32
}

func (c *Common) check(v *violations) {
	v.number("durationSeconds", c.DurationSeconds, minDuration, maxRoleDuration)
	v.optional("policy", c.Policy, 1, maxPolicy, patternPolicy)
	v.size("policyArns", len(c.PolicyARNs), maxPolicyARNs)
	for i, arn := range c.PolicyARNs {
		v.required(fmt.Sprintf("policyArns.%d.member.arn", i+1), arn, 20, 2048, patternARN)
	}
	v.number("minimumSessionTokenSize", c.MinimumSessionTokenSize, 0, maxToken)
}

func (c *Common) minToken() int {
	if c.MinimumSessionTokenSize == nil {
		return 0
	}
	return int(*c.MinimumSessionTokenSize)
}

// Tag is a session tag.
type Tag struct{ Key, Value string }

func checkTags(v *violations, tags []Tag, transitive []string) {
	v.size("tags", len(tags), maxTags)
	for i, t := range tags {
		v.required(fmt.Sprintf("tags.%d.member.key", i+1), t.Key, 1, 128, patternTag)
		v.text(fmt.Sprintf("tags.%d.member.value", i+1), t.Value, 0, 256, patternTagValue)
	}
	v.size("transitiveTagKeys", len(transitive), maxTags)
	for i, k := range transitive {
		v.required(fmt.Sprintf("transitiveTagKeys.%d.member", i+1), k, 1, 128, patternTag)
	}
}

// checkTagNames checks what does not depend on one tag alone. Tag keys are
// compared without case.
func checkTagNames(tags []Tag, transitive []string) error {
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		k := strings.ToLower(t.Key)
		if seen[k] {
			return fail(CodeInvalidParameter, "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		if strings.HasPrefix(k, "aws:") {
			return fail(CodeInvalidParameter, "Tag keys beginning with 'aws:' are reserved for internal use.")
		}
		seen[k] = true
	}
	for _, k := range transitive {
		if !seen[strings.ToLower(k)] {
			return fail(CodeInvalidParameter, "The specified transitive tag key must be included in the requested tags.")
		}
	}
	return nil
}

// splitRole returns account and name of a role's ARN.
func splitRole(arn string) (account, name string, err error) {
	m := roleARN().FindStringSubmatch(arn)
	if m == nil {
		return "", "", fail(CodeValidation, "Request ARN is invalid")
	}
	return m[1], m[2], nil
}
