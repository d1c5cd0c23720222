package policy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The callers of the tests, all of one account.
var (
	user    = Principal{ARN: "arn:aws:iam::111111111111:user/u", AccountID: "111111111111", Type: "User"}
	session = Principal{
		ARN: "arn:aws:sts::111111111111:assumed-role/r/s", AccountID: "111111111111", Type: "AssumedRole",
		RoleARN: "arn:aws:iam::111111111111:role/r",
	}
)

type values = map[string][]string

// holds evaluates a condition through Allow and through Deny: a condition holds
// when Allow allows, and is unknown when Deny denies and Allow does not allow.
func holds(t testing.TB, condition string, context values) verdict {
	t.Helper()
	applies := func(effect string) bool {
		d := mustParse(t, Identity, statement(`"Effect":"`+effect+`","Action":"a:b","Resource":"*","Condition":`+condition))
		decision := Evaluate(Request{Principal: user, Action: "a:b", Resource: "*", Context: context}, Set{Identity: []Source{{"p", d}}})
		return len(decision.Matched) > 0
	}
	allow, deny := applies("Allow"), applies("Deny")
	switch {
	case allow && deny:
		return verdictYes
	case deny:
		return verdictUnknown
	}
	require.False(t, allow, "%s %v: Allow applies where Deny does not", condition, context)
	return verdictNo
}

func TestConditions(t *testing.T) {
	const yes, no, unknown = verdictYes, verdictNo, verdictUnknown
	k := func(v ...string) values { return values{"aws:k": v} }
	for _, c := range []struct {
		rule      string
		condition string
		context   values
		want      verdict
	}{
		{"StringEquals: exact matching, case sensitive", `{"StringEquals":{"aws:k":"a"}}`, k("a"), yes},
		{"StringEquals: exact matching, case sensitive", `{"StringEquals":{"aws:k":"a"}}`, k("A"), no},
		{"StringEquals: no wildcards", `{"StringEquals":{"aws:k":"a*"}}`, k("ab"), no},
		{"StringEquals: no wildcards", `{"StringEquals":{"aws:k":"a*"}}`, k("a*"), yes},
		{"names of keys are not case-sensitive", `{"StringEquals":{"AWS:K":"a"}}`, k("a"), yes},
		{"several values of one key are a logical OR", `{"StringEquals":{"aws:k":["a","b"]}}`, k("b"), yes},
		{"several keys are a logical AND", `{"StringEquals":{"aws:k":"a","aws:l":"b"}}`, values{"aws:k": {"a"}, "aws:l": {"c"}}, no},
		{"several operators are a logical AND", `{"StringEquals":{"aws:k":"a"},"StringLike":{"aws:k":"b*"}}`, k("a"), no},
		{"a key that is not there does not match", `{"StringEquals":{"aws:k":"a"}}`, nil, no},
		{"a key that is not there does not match", `{"StringEquals":{"aws:k":""}}`, nil, no},
		{"a key without values is not there", `{"StringEquals":{"aws:k":""}}`, k(), no},
		{"an empty value is there", `{"StringEquals":{"aws:k":""}}`, k(""), yes},
		{"StringNotEquals: negated matching", `{"StringNotEquals":{"aws:k":"a"}}`, k("b"), yes},
		{"StringNotEquals: negated matching", `{"StringNotEquals":{"aws:k":"a"}}`, k("a"), no},
		{"several values of a negated operator are a NOR", `{"StringNotEquals":{"aws:k":["a","b"]}}`, k("b"), no},
		{"several values of a negated operator are a NOR", `{"StringNotEquals":{"aws:k":["a","b"]}}`, k("c"), yes},
		{"a negated operator is true without the key", `{"StringNotEquals":{"aws:k":"a"}}`, nil, yes},
		{"StringEqualsIgnoreCase", `{"StringEqualsIgnoreCase":{"aws:k":"aB"}}`, k("Ab"), yes},
		{"StringNotEqualsIgnoreCase", `{"StringNotEqualsIgnoreCase":{"aws:k":"aB"}}`, k("Ab"), no},
		{"StringLike: * and ?", `{"StringLike":{"aws:k":"a*c?"}}`, k("abccd"), yes},
		{"StringLike: case sensitive", `{"StringLike":{"aws:k":"a*"}}`, k("Ab"), no},
		{"StringLike: colons are nothing special", `{"StringLike":{"aws:k":"system:*:sa"}}`, k("system:serviceaccount:ns:sa"), yes},
		{"StringNotLike", `{"StringNotLike":{"aws:k":["a*","b*"]}}`, k("bc"), no},
		{"StringNotLike", `{"StringNotLike":{"aws:k":["a*","b*"]}}`, k("c"), yes},

		{"NumericEquals", `{"NumericEquals":{"aws:k":"10"}}`, k("10.0"), yes},
		{"NumericEquals: exact beyond a float's precision", `{"NumericEquals":{"aws:k":"9007199254740993"}}`, k("9007199254740992"), no},
		{"NumericNotEquals", `{"NumericNotEquals":{"aws:k":["1","2"]}}`, k("2"), no},
		{"NumericLessThan", `{"NumericLessThan":{"aws:k":"10"}}`, k("10"), no},
		{"NumericLessThan: not by letters", `{"NumericLessThan":{"aws:k":"10"}}`, k("9"), yes},
		{"NumericLessThanEquals", `{"NumericLessThanEquals":{"aws:k":10}}`, k("10"), yes},
		{"NumericGreaterThan", `{"NumericGreaterThan":{"aws:k":"-1.5"}}`, k("-1"), yes},
		{"NumericGreaterThanEquals", `{"NumericGreaterThanEquals":{"aws:k":"1.2"}}`, k("1.2"), yes},
		{"NumericGreaterThanEquals", `{"NumericGreaterThanEquals":{"aws:k":"1.2"}}`, k("1.1"), no},
		{"a value that is no number cannot be told", `{"NumericLessThan":{"aws:k":"10"}}`, k("many"), unknown},
		{"a value that is no number cannot be told", `{"NumericNotEquals":{"aws:k":"10"}}`, k("many"), unknown},

		{"DateEquals: the same moment in another zone", `{"DateEquals":{"aws:k":"2026-01-01T09:00:00+09:00"}}`, k("2026-01-01T00:00:00Z"), yes},
		{"DateNotEquals", `{"DateNotEquals":{"aws:k":"2026-01-01"}}`, k("2026-01-01T00:00:00Z"), no},
		{"DateLessThan", `{"DateLessThan":{"aws:k":"2026-01-01T00:00:00Z"}}`, k("2025-12-31T23:59:59.9Z"), yes},
		{"DateLessThanEquals: seconds since 1970", `{"DateLessThanEquals":{"aws:k":"1767225600"}}`, k("2026-01-01T00:00:00Z"), yes},
		{"DateGreaterThan: key in seconds", `{"DateGreaterThan":{"aws:k":"2026-01-01"}}`, k("1767225601"), yes},
		{"DateGreaterThanEquals", `{"DateGreaterThanEquals":{"aws:k":"2026-01"}}`, k("2025-12-31T23:59:59Z"), no},
		{"four digits are a year", `{"DateGreaterThan":{"aws:k":"2026"}}`, k("1767225601"), yes},
		{"a value that is no time cannot be told", `{"DateGreaterThan":{"aws:k":"2026"}}`, k("now"), unknown},

		{"Bool", `{"Bool":{"aws:k":"true"}}`, k("true"), yes},
		{"Bool", `{"Bool":{"aws:k":"false"}}`, k("true"), no},
		{"Bool: case does not count", `{"Bool":{"aws:k":"True"}}`, k("true"), yes},
		{"Bool: either", `{"Bool":{"aws:k":["true","false"]}}`, k("false"), yes},
		{"Bool: absent is not false", `{"Bool":{"aws:k":"false"}}`, nil, no},
		{"BoolIfExists: absent is true", `{"BoolIfExists":{"aws:k":"false"}}`, nil, yes},
		{"a value that is no boolean cannot be told", `{"Bool":{"aws:k":"false"}}`, k("no"), unknown},

		{"BinaryEquals: compares bytes", `{"BinaryEquals":{"aws:k":"QmluYXJ5"}}`, k("QmluYXJ5"), yes},
		{"BinaryEquals", `{"BinaryEquals":{"aws:k":"QmluYXJ5"}}`, k("QmluYXJ6"), no},
		{"BinaryEquals", `{"BinaryEquals":{"aws:k":"QmluYXJ5"}}`, k("%"), unknown},

		{"IpAddress: range", `{"IpAddress":{"aws:k":["203.0.113.0/24","2001:db8::/32"]}}`, k("203.0.113.9"), yes},
		{"IpAddress: range", `{"IpAddress":{"aws:k":["203.0.113.0/24","2001:db8::/32"]}}`, k("2001:db8::1"), yes},
		{"IpAddress: range", `{"IpAddress":{"aws:k":["203.0.113.0/24","2001:db8::/32"]}}`, k("203.0.114.1"), no},
		{"IpAddress: without a prefix, /32", `{"IpAddress":{"aws:k":"203.0.113.9"}}`, k("203.0.113.8"), no},
		{"IpAddress: bits beyond the prefix do not count", `{"IpAddress":{"aws:k":"203.0.113.77/24"}}`, k("203.0.113.9"), yes},
		{"IpAddress: IPv4 as IPv6", `{"IpAddress":{"aws:k":"203.0.113.0/24"}}`, k("::ffff:203.0.113.9"), yes},
		{"IpAddress: IPv4 as IPv6", `{"IpAddress":{"aws:k":"::ffff:203.0.113.0/120"}}`, k("203.0.113.9"), yes},
		{"IpAddress: the whole of IPv4 is not IPv6", `{"IpAddress":{"aws:k":"0.0.0.0/0"}}`, k("2001:db8::1"), no},
		{"NotIpAddress: outside of all", `{"NotIpAddress":{"aws:k":["10.0.0.0/8","192.168.0.0/16"]}}`, k("192.168.1.1"), no},
		{"NotIpAddress: outside of all", `{"NotIpAddress":{"aws:k":["10.0.0.0/8","192.168.0.0/16"]}}`, k("172.16.0.1"), yes},
		{"NotIpAddress: true without the key", `{"NotIpAddress":{"aws:k":"10.0.0.0/8"}}`, nil, yes},
		{"a value that is no address cannot be told", `{"NotIpAddress":{"aws:k":"10.0.0.0/8"}}`, k("unix"), unknown},

		{"ArnEquals is ArnLike", `{"ArnEquals":{"aws:k":"arn:aws:iam::*:role/a?"}}`, k("arn:aws:iam::111111111111:role/ab"), yes},
		{"ArnLike: each of the six components by itself", `{"ArnLike":{"aws:k":"arn:aws:iam::1*:role/x"}}`, k("arn:aws:iam::1:2:role/x"), no},
		{"ArnLike: the last has colons and slashes", `{"ArnLike":{"aws:k":"arn:aws:logs:*:*:*:x"}}`, k("arn:aws:logs:r:1:group:g/h:x"), yes},
		{"ArnLike: case sensitive", `{"ArnLike":{"aws:k":"arn:aws:iam::*:role/a"}}`, k("arn:aws:iam::1:role/A"), no},
		{"ArnLike: not an ARN", `{"ArnLike":{"aws:k":"arn:*:*:*:*:*"}}`, k("arn:aws:iam"), no},
		{"ArnNotEquals", `{"ArnNotEquals":{"aws:k":"arn:aws:iam::*:role/a"}}`, k("arn:aws:iam::1:role/a"), no},
		{"ArnNotLike", `{"ArnNotLike":{"aws:k":["arn:aws:iam::*:role/a","arn:aws:iam::*:role/b"]}}`, k("arn:aws:iam::1:role/c"), yes},

		{"Null true: the key is not there", `{"Null":{"aws:k":"true"}}`, nil, yes},
		{"Null true: the key is not there", `{"Null":{"aws:k":"true"}}`, k("a"), no},
		{"Null false: the key is there", `{"Null":{"aws:k":"false"}}`, k("a"), yes},
		{"Null false: the key is there", `{"Null":{"aws:k":false}}`, nil, no},
		{"Null false: a key without values is not there", `{"Null":{"aws:k":"False"}}`, k(), no},

		{"IfExists: true without the key", `{"StringEqualsIfExists":{"aws:k":"a"}}`, nil, yes},
		{"IfExists: as without it, with the key", `{"StringEqualsIfExists":{"aws:k":"a"}}`, k("b"), no},
		{"IfExists, negated", `{"StringNotLikeIfExists":{"aws:k":"a*"}}`, nil, yes},
		{"IfExists, negated", `{"StringNotLikeIfExists":{"aws:k":"a*"}}`, k("ab"), no},

		{"ForAllValues: each of the request's is one of the policy's", `{"ForAllValues:StringEquals":{"aws:k":["a","b"]}}`, k("b", "a"), yes},
		{"ForAllValues: each of the request's is one of the policy's", `{"ForAllValues:StringEquals":{"aws:k":["a","b"]}}`, k("a", "c"), no},
		{"ForAllValues: true without the key", `{"ForAllValues:StringEquals":{"aws:k":["a","b"]}}`, nil, yes},
		{"ForAllValues: true for an empty string", `{"ForAllValues:StringEquals":{"aws:k":["a","b"]}}`, k(""), yes},
		{"ForAllValues and a Null check", `{"ForAllValues:StringEquals":{"aws:k":"a"},"Null":{"aws:k":"false"}}`, nil, no},
		{"ForAllValues, negated: none of the request's is one of the policy's", `{"ForAllValues:StringNotEquals":{"aws:k":["a","b"]}}`, k("c", "d"), yes},
		{"ForAllValues, negated: none of the request's is one of the policy's", `{"ForAllValues:StringNotEquals":{"aws:k":["a","b"]}}`, k("c", "a"), no},
		{"ForAllValues, negated: true without the key", `{"ForAllValues:StringNotEquals":{"aws:k":"a"}}`, nil, yes},
		{"ForAnyValue: one of the request's is one of the policy's", `{"ForAnyValue:StringEquals":{"aws:k":["a","b"]}}`, k("c", "b"), yes},
		{"ForAnyValue: one of the request's is one of the policy's", `{"ForAnyValue:StringEquals":{"aws:k":["a","b"]}}`, k("c"), no},
		{"ForAnyValue: false without the key", `{"ForAnyValue:StringEquals":{"aws:k":"a"}}`, nil, no},
		{"ForAnyValue: false without the key, negated too", `{"ForAnyValue:StringNotEquals":{"aws:k":"a"}}`, nil, no},
		{"ForAnyValue: false for an empty string", `{"ForAnyValue:StringLike":{"aws:k":"*"}}`, k(""), no},
		{"ForAnyValue, negated: one of the request's is none of the policy's", `{"ForAnyValue:StringNotEquals":{"aws:k":["a","b"]}}`, k("a", "c"), yes},
		{"ForAnyValue, negated: one of the request's is none of the policy's", `{"ForAnyValue:StringNotEquals":{"aws:k":["a","b"]}}`, k("a", "b"), no},
		{"ForAnyValue and IfExists", `{"ForAnyValue:StringEqualsIfExists":{"aws:k":"a"}}`, nil, yes},
		{"ForAnyValue of other types", `{"ForAnyValue:IpAddress":{"aws:k":"10.0.0.0/8"}}`, k("192.168.0.1", "10.1.1.1"), yes},

		{"several values without a quantifier that agree", `{"StringLike":{"aws:k":"a*"}}`, k("a", "ab"), yes},
		{"several values without a quantifier that agree", `{"StringNotLike":{"aws:k":"a*"}}`, k("a", "ab"), no},
		{"several values without a quantifier that do not", `{"StringLike":{"aws:k":"a*"}}`, k("a", "b"), unknown},
		{"several values without a quantifier that do not", `{"StringNotLike":{"aws:k":"a*"}}`, k("a", "b"), unknown},
		{"unknown and no is no", `{"StringLike":{"aws:k":"a*"},"Null":{"aws:k":"true"}}`, k("a", "b"), no},
	} {
		require.Equal(t, c.want, holds(t, c.condition, c.context), "%s: %s %v", c.rule, c.condition, c.context)
	}
}

func TestVariablesInConditions(t *testing.T) {
	const yes, no = verdictYes, verdictNo
	ctx := values{"aws:username": {"u*"}, "aws:principaltag/team": {"blue"}, "aws:tagkeys": {"a", "b"}, "aws:on": {"true"}, "aws:empty": {""}, "aws:arn": {"arn:aws:iam::1:user/u"}}
	with := func(v ...string) values {
		all := values{"aws:k": v}
		for k, v := range ctx {
			all[k] = v
		}
		return all
	}
	for _, c := range []struct {
		rule      string
		condition string
		context   values
		want      verdict
	}{
		{"variable", `{"StringEquals":{"aws:k":"${aws:PrincipalTag/team}-x"}}`, with("blue-x"), yes},
		{"names of variables are not case-sensitive", `{"StringEquals":{"aws:k":"${AWS:principaltag/TEAM}-x"}}`, with("blue-x"), yes},
		{"a value's wildcards are no wildcards", `{"StringLike":{"aws:k":"${aws:username}/*"}}`, with("ux/y"), no},
		{"a value's wildcards are no wildcards", `{"StringLike":{"aws:k":"${aws:username}/*"}}`, with("u*/y"), yes},
		{"ignoring case", `{"StringEqualsIgnoreCase":{"aws:k":"${aws:PrincipalTag/team}"}}`, with("BLUE"), yes},
		{"${*}, ${?} and ${$} are the characters", `{"StringLike":{"aws:k":"${*}?${$}{x}"}}`, with("*?${x}"), yes},
		{"${*} is not a wildcard", `{"StringLike":{"aws:k":"${*}"}}`, with("x"), no},
		{"without a value, nothing is equal", `{"StringEquals":{"aws:k":"${aws:PrincipalTag/none}"}}`, with(""), no},
		{"without a value, nothing is alike", `{"StringLike":{"aws:k":"*${aws:PrincipalTag/none}"}}`, with("x"), no},
		{"without a value, negated operators match", `{"StringNotEquals":{"aws:k":"${aws:PrincipalTag/none}"}}`, with("x"), yes},
		{"default value", `{"StringEquals":{"aws:k":"${aws:PrincipalTag/none, 'no team'}"}}`, with("no team"), yes},
		{"default value is not taken when there is one", `{"StringEquals":{"aws:k":"${aws:PrincipalTag/team, 'no team'}"}}`, with("no team"), no},
		{"default value with a brace", `{"StringEquals":{"aws:k":"${aws:PrincipalTag/none, 'a b'}}"}}`, with("a b}"), yes},
		{"a key with several values is no variable", `{"StringEquals":{"aws:k":"${aws:TagKeys}"}}`, with("a"), no},
		{"a key with several values is no variable", `{"StringEquals":{"aws:k":"${aws:TagKeys, 'a'}"}}`, with("a"), no},
		{"many empty values", `{"StringLike":{"aws:k":"x*` + strings.Repeat("${aws:empty}", 40) + `*y"}}`, with("xy"), yes},
		{"values longer than the request's", `{"StringEquals":{"aws:k":"` + strings.Repeat("${aws:PrincipalTag/team}", 40) + `"}}`, with("blue"), no},
		{"values longer than the request's", `{"StringLike":{"aws:k":"*` + strings.Repeat("${aws:PrincipalTag/team}", 40) + `*"}}`, with("blue"), no},
		{"long values", `{"StringLike":{"aws:k":"*` + strings.Repeat("${aws:PrincipalTag/team}?", 20) + `*"}}`, with("x" + strings.Repeat("bluey", 20)), yes},
		{"ignoring case, letters of other lengths", `{"StringEqualsIgnoreCase":{"aws:k":"\u212a"}}`, with("k"), yes},
		{"Bool", `{"Bool":{"aws:k":"${aws:on}"}}`, with("true"), yes},
		{"Bool without a value", `{"Bool":{"aws:k":"${aws:off}"}}`, with("false"), no},
		{"Arn: in the resource", `{"ArnLike":{"aws:k":"arn:aws:iam::*:user/${aws:PrincipalTag/team}"}}`, with("arn:aws:iam::1:user/blue"), yes},
		{"Arn: the whole", `{"ArnEquals":{"aws:k":"${aws:arn}"}}`, with("arn:aws:iam::1:user/u"), yes},
		{"Arn: each component by itself", `{"ArnEquals":{"aws:k":"arn:*:${aws:PrincipalTag/team}:*:*:x"}}`, with("arn:aws:blue:a:b:c:x"), no},
		{"Arn: not an ARN", `{"ArnEquals":{"aws:k":"${aws:PrincipalTag/team}"}}`, with("blue"), no},
		{"Arn without a value", `{"ArnEquals":{"aws:k":"${aws:PrincipalTag/none}"}}`, with("blue"), no},
	} {
		require.Equal(t, c.want, holds(t, c.condition, c.context), "%s: %s %v", c.rule, c.condition, c.context)
	}

	// "Variables were introduced in version 2012-10-17": before, they are text.
	d := mustParse(t, Identity, `{"Statement":{"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"StringLike":{"aws:k":"${aws:username}"}}}}`)
	r := Request{Principal: user, Action: "a:b", Resource: "*", Context: with("u*")}
	require.False(t, Evaluate(r, Set{Identity: []Source{{"p", d}}}).Allowed)
	r.Context = with("${aws:username}")
	require.True(t, Evaluate(r, Set{Identity: []Source{{"p", d}}}).Allowed)
}

func TestVariablesInResources(t *testing.T) {
	const home = `"Resource":"arn:aws:s3:::home/${aws:username}/*"`
	const others = `"NotResource":"arn:aws:s3:::home/${aws:username}/*"`
	applies := func(effect, resources, resource string, context values) bool {
		d := mustParse(t, Identity, statement(`"Effect":"`+effect+`","Action":"a:b",`+resources))
		return len(Evaluate(Request{Principal: user, Action: "a:b", Resource: resource, Context: context}, Set{Identity: []Source{{"p", d}}}).Matched) > 0
	}
	u := values{"aws:username": {"u"}}
	require.True(t, applies("Allow", home, "arn:aws:s3:::home/u/x", u))
	require.False(t, applies("Allow", home, "arn:aws:s3:::home/v/x", u))
	require.False(t, applies("Allow", home, "arn:aws:s3:::home/v/x", values{"aws:username": {"*"}}), "no wildcard")
	require.False(t, applies("Allow", home, "arn:aws:s3:::home/${aws:username}/x", nil), "no value")
	require.False(t, applies("Allow", home, "arn:aws:s3:::home//x", nil), "no value is not the empty string")
	require.False(t, applies("Deny", others, "arn:aws:s3:::home/u/x", u))
	require.True(t, applies("Allow", others, "arn:aws:s3:::home/v/x", u))
	// It cannot be told what the statement spares.
	require.False(t, applies("Allow", others, "arn:aws:s3:::home/v/x", nil))
	require.True(t, applies("Deny", others, "arn:aws:s3:::home/v/x", nil))
}

// A condition that was compiled without an operator, which Parse does not do,
// never lets a Deny pass.
func TestUnknownOperatorDenies(t *testing.T) {
	for _, effect := range []Effect{Allow, Deny, 0} {
		d := mustParse(t, Identity, statement(`"Effect":"Allow","Action":"a:b","Resource":"*","Condition":{"StringEquals":{"aws:k":"a"}}`))
		d.statements[0].Effect = effect
		d.statements[0].conditions[0].operator = operator{}
		admin := mustParse(t, Identity, statement(`"Effect":"Allow","Action":"*","Resource":"*"`))
		r := Request{Principal: user, Action: "a:b", Resource: "*", Context: values{"aws:k": {"a"}}}
		require.Equal(t, effect == Allow, Evaluate(r, Set{Identity: []Source{{"p", d}, {"admin", admin}}}).Allowed)
		require.False(t, Evaluate(r, Set{Identity: []Source{{"p", d}}}).Allowed)
	}
}

// Operators are exactly the combinations that AWS documents.
func TestOperators(t *testing.T) {
	names := strings.Fields("StringEquals StringNotEquals StringEqualsIgnoreCase StringNotEqualsIgnoreCase StringLike StringNotLike " +
		"NumericEquals NumericNotEquals NumericLessThan NumericLessThanEquals NumericGreaterThan NumericGreaterThanEquals " +
		"DateEquals DateNotEquals DateLessThan DateLessThanEquals DateGreaterThan DateGreaterThanEquals " +
		"Bool BinaryEquals IpAddress NotIpAddress ArnEquals ArnLike ArnNotEquals ArnNotLike")
	seen := map[operator]string{}
	for _, base := range names {
		for _, prefix := range []string{"", "ForAnyValue:", "ForAllValues:"} {
			for _, suffix := range []string{"", "IfExists"} {
				op, ok := operatorOf(prefix + base + suffix)
				require.True(t, ok, prefix+base+suffix)
				other, dup := seen[op]
				require.Equal(t, strings.HasPrefix(base, "Arn") && strings.Contains(base, "Like"), dup && strings.Contains(other, "Arn"), "%s is %s", base, other)
				seen[op] = prefix + base + suffix
				require.Equal(t, strings.Contains(base, "Not"), op.negated)
			}
		}
	}
	for _, bad := range []string{"", "IfExists", "ForAnyValue:", "Numeric", "NumericLike", "DateLike", "NotBool", "BoolEquals", "StringEqualsIfexists", "forAnyValue:Bool", "IpAddressNot"} {
		_, ok := operatorOf(bad)
		require.False(t, ok, bad)
	}
}
