package policy

import (
	"bytes"
	"errors"
	"slices"
	"strings"
)

// Parse reads, checks and compiles a policy document of at most MaxBytes. Its
// errors are *MalformedError.
func Parse(doc []byte, kind Kind) (*Document, error) {
	if kind < Identity || kind > Resource {
		return nil, malformed(msgSyntax, "", "kind of document %d is not known", int(kind))
	}
	raw, err := read(doc, kind)
	if err != nil {
		return nil, err
	}
	d := &Document{kind: kind, text: string(doc), version: Version2008}
	if err := d.header(raw); err != nil {
		return nil, err
	}
	// AWS checks a document in passes, and the first fault of the first pass
	// that finds one is what the caller reads.
	for _, pass := range []func(*rawStatement, Kind) error{checkMembers, checkEffect, checkActionPresence, checkResourcePresence, checkResources, checkActions} {
		for i := range raw.statements {
			if err := pass(&raw.statements[i], kind); err != nil {
				return nil, at(err, raw.statements[i].where)
			}
		}
	}
	if err := checkSids(raw.statements, kind); err != nil {
		return nil, err
	}
	lines := newPositions(doc)
	for i := range raw.statements {
		s, err := compile(&raw.statements[i], kind, d.version == Version2012)
		if err != nil {
			return nil, err
		}
		s.Start, s.End = lines.at(raw.statements[i].start), lines.at(raw.statements[i].end)
		d.statements = append(d.statements, s)
	}
	d.keys = keysOf(d.statements)
	return d, nil
}

// at puts a place before that of an error that has been found inside it.
func at(err error, where string) error {
	var m *MalformedError
	if !errors.As(err, &m) {
		return err
	}
	c := *m
	switch {
	case c.Where == "":
		c.Where = where
	case !strings.HasPrefix(c.Where, where):
		c.Where = where + "." + c.Where
	}
	return &c
}

// header checks what stands above the statements.
func (d *Document) header(raw *rawDocument) error {
	if raw.version != nil {
		d.version = *raw.version
	}
	if d.version != Version2008 && d.version != Version2012 {
		return malformed(msgSyntax, "Version", "found %q, must be %s or %s", d.version, Version2012, Version2008)
	}
	if d.kind == CustomerManaged && d.version != Version2012 {
		return malformed("Policy document must be version 2012-10-17 or greater.", "Version", "")
	}
	if raw.id != nil {
		d.id = *raw.id
	}
	return nil
}

// checkMembers checks which members a statement has.
func checkMembers(s *rawStatement, kind Kind) error {
	switch {
	case s.action != nil && s.notAction != nil:
		return malformed(msgSyntax, "", "a statement has either Action or NotAction")
	case s.resource != nil && s.notRes != nil:
		return malformed(msgSyntax, "", "a statement has either Resource or NotResource")
	case kind == Trust && s.resource != nil:
		return malformed("Has prohibited field Resource", "", "")
	case kind == Trust && s.notRes != nil:
		return malformed("AssumeRole policy must not contain resources.", "", "")
	case s.principal != nil && kind != Trust && kind != Resource:
		return malformed("Policy document should not specify a principal.", "", "")
	case s.principal == nil && (kind == Trust || kind == Resource):
		return malformed("Missing required field Principal", "", "")
	case s.notPrincipal && s.effect != nil && *s.effect == "Allow":
		return malformed("Allow with NotPrincipal is not allowed.", "", "")
	case s.notPrincipal && kind == Trust:
		return malformed("AssumeRole policy must not contain NotPrincipal field.", "", "")
	}
	return nil
}

func checkEffect(s *rawStatement, kind Kind) error {
	switch {
	case s.effect == nil && kind == Trust:
		return malformed("Missing required field Effect", "", "")
	case s.effect == nil:
		return malformed(msgSyntax, "", "member Effect is missing")
	case *s.effect == "Allow" || *s.effect == "Deny":
		return nil
	case strings.EqualFold(*s.effect, "Allow") || strings.EqualFold(*s.effect, "Deny"):
		return malformed(msgLegacy, "Effect", "found %q, must be Allow or Deny, in this case", *s.effect)
	}
	return malformed(msgSyntax, "Effect", "found %q, must be Allow or Deny", *s.effect)
}

// checkSids checks the form of statement ids, and that each is there once.
func checkSids(statements []rawStatement, kind Kind) error {
	seen := make(map[string]struct{}, len(statements))
	for i := range statements {
		s := &statements[i]
		if s.sid == nil || *s.sid == "" {
			continue
		}
		for _, c := range *s.sid {
			ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
				// Services take more than IAM does.
				kind == Resource && strings.ContainsRune(" _-.:/", c)
			if !ok {
				return malformed("Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
					s.where+".Sid", "found %q", *s.sid)
			}
		}
		if _, dup := seen[*s.sid]; dup {
			return malformed("Statement IDs (SID) in a single policy must be unique.", s.where+".Sid", "%q is there twice", *s.sid)
		}
		seen[*s.sid] = struct{}{}
	}
	return nil
}

func checkActionPresence(s *rawStatement, kind Kind) error {
	if len(slices.Concat(deref(s.action), deref(s.notAction))) > 0 {
		return nil
	}
	if kind == Trust {
		return malformed("Missing required field Action", "", "")
	}
	return malformed("Policy statement must contain actions.", "", "")
}

func checkResourcePresence(s *rawStatement, kind Kind) error {
	if kind == Trust || len(slices.Concat(deref(s.resource), deref(s.notRes))) > 0 {
		return nil
	}
	return malformed("Policy statement must contain resources.", "", "")
}

func deref(p *[]string) []string {
	if p == nil {
		return nil
	}
	return *p
}

func checkActions(s *rawStatement, kind Kind) error {
	if kind == Trust && s.notAction != nil {
		return malformed(msgTrustAction, "NotAction", "")
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"Action", deref(s.action)}, {"NotAction", deref(s.notAction)}} {
		for _, a := range list.values {
			if err := checkAction(a, kind); err != nil {
				return at(err, list.name)
			}
		}
	}
	return nil
}

func checkAction(action string, kind Kind) error {
	vendor, name, ok := strings.Cut(action, ":")
	switch {
	case action == "*" && kind != Trust:
		return nil
	case !ok && kind != Trust:
		return malformed(msgVendor, "", "found %q", action)
	case strings.Contains(name, ":"):
		return malformed("Actions/Condition can contain only one colon.", "", "found %q", action)
	case kind == Trust:
		lower := strings.ToLower(action)
		if !strings.HasPrefix(lower, "sts:") || !slices.ContainsFunc(trustActions(), func(known string) bool { return matchAction(lower, known) }) {
			return malformed(msgTrustAction, "", "found %q", action)
		}
		return nil
	case vendor == "" || strings.Trim(strings.ToLower(vendor), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "":
		return malformed("Vendor "+vendor+" is not valid", "", "found %q", action)
	case name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-_.*?") != "":
		return malformed(msgSyntax, "", "found action %q, must have the form service:Name, with * and ? as wildcards", action)
	}
	return nil
}

// trustActions lists what a trust policy can be about, in lower case.
func trustActions() []string {
	return []string{"sts:assumerole", "sts:assumerolewithwebidentity", "sts:assumerolewithsaml", "sts:tagsession", "sts:setsourceidentity", "sts:setcontext"}
}

func checkResources(s *rawStatement, _ Kind) error {
	for _, list := range []struct {
		name   string
		values []string
	}{{"Resource", deref(s.resource)}, {"NotResource", deref(s.notRes)}} {
		for _, r := range list.values {
			if err := checkResource(r); err != nil {
				return at(err, list.name)
			}
		}
	}
	return nil
}

func checkResource(resource string) error {
	if resource == "*" {
		return nil
	}
	f := strings.SplitN(resource, ":", arnFields)
	if len(f) < 2 || f[0] != "arn" || hasControl(resource) {
		return malformed(`Resource `+resource+` must be in ARN format or "*".`, "", "")
	}
	if !isPartition(f[1]) {
		full := slices.Concat(f, []string{"*", "*", "*", "*"})[:max(len(f), arnFields)]
		return malformed(`Partition "`+f[1]+`" is not valid for resource "`+strings.Join(full, ":")+`".`, "", "")
	}
	if len(f) < 3 || f[2] == "" || strings.ContainsAny(f[2], "*?$") {
		return malformed("Resource vendor must be fully qualified and cannot contain regexes.", "", "found %q", resource)
	}
	if len(f) < arnFields && !strings.HasSuffix(resource, "*") {
		return malformed(msgLegacy, "", "found %q, must have six fields or end in a star", resource)
	}
	if strings.Contains(strings.Join(f[:min(len(f), arnFields-1)], ""), "${") {
		return malformed(msgLegacy, "", "found %q, policy variables may be in the last of the six fields", resource)
	}
	if f[2] == "iam" {
		return checkIAMResource(resource, f)
	}
	return nil
}

// isPartition reports whether s is a partition or a pattern for some.
func isPartition(s string) bool {
	return s == "*" || s == "aws" || s == "aws*" || strings.HasPrefix(s, "aws-") && strings.Trim(s[4:], "abcdefghijklmnopqrstuvwxyz-*") == ""
}

// checkIAMResource checks the ARN of one of IAM's own resources. They have no
// region.
func checkIAMResource(resource string, f []string) error {
	if len(f) > 3 && f[3] != "" && f[3] != "*" {
		return malformed("IAM resource "+resource+" cannot contain region information.", "", "")
	}
	if len(f) < arnFields || f[5] == "*" || f[5] == "root" {
		return nil
	}
	paths := []string{"user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/", "server-certificate/", "policy/",
		"sms-mfa/", "saml-provider/", "oidc-provider/", "report/", "access-report/"}
	for _, p := range paths {
		if strings.HasPrefix(f[5], p) {
			return nil
		}
	}
	return malformed(`IAM resource path must either be "*" or start with `+strings.Join(paths, ", ")+".", "", "found %q", resource)
}

// compile compiles a checked statement.
func compile(raw *rawStatement, kind Kind, variables bool) (Statement, error) {
	s := Statement{
		Effect:  Allow,
		Actions: deref(raw.action), NotActions: deref(raw.notAction), Resources: deref(raw.resource), NotResources: deref(raw.notRes),
		notPrincipal: raw.notPrincipal, notAction: raw.notAction != nil, notResource: raw.notRes != nil,
	}
	if *raw.effect == "Deny" {
		s.Effect = Deny
	}
	if raw.sid != nil {
		s.Sid = *raw.sid
	}
	var err error
	if raw.principal != nil {
		name := "Principal"
		if raw.notPrincipal {
			name = "NotPrincipal"
		}
		if s.principals, err = compilePrincipals(raw.principal, kind, raw.where+"."+name); err != nil {
			return s, err
		}
		if s.notPrincipal && s.principals.any {
			return s, malformed(`Invalid principal in policy: "STAR":"*"`, raw.where+"."+name, "a Deny for nobody")
		}
	}
	for _, a := range slices.Concat(s.Actions, s.NotActions) {
		s.actions = append(s.actions, strings.ToLower(a))
	}
	for _, r := range slices.Concat(s.Resources, s.NotResources) {
		p, err := compileARN(r, variables)
		if err != nil {
			return s, at(err, raw.where)
		}
		s.resources = append(s.resources, p)
	}
	for i := range raw.conditions {
		c, err := compileCondition(&raw.conditions[i], variables, raw.where+".Condition")
		if err != nil {
			return s, err
		}
		s.conditions = append(s.conditions, c)
	}
	return s, nil
}

// keysOf lists the context keys that statements ask for, each once.
func keysOf(statements []Statement) []string {
	var all, keys []string
	for i := range statements {
		for j := range statements[i].resources {
			p := &statements[i].resources[j]
			for k := range p.fields {
				all = p.fields[k].appendNames(all)
			}
		}
		for j := range statements[i].conditions {
			c := &statements[i].conditions[j]
			all = append(all, c.name)
			for k := range c.values {
				all = c.values[k].pattern.appendNames(all)
			}
		}
	}
	seen := make(map[string]struct{}, len(all))
	for _, k := range all {
		lower := strings.ToLower(k)
		if _, dup := seen[lower]; !dup {
			seen[lower] = struct{}{}
			keys = append(keys, k)
		}
	}
	return keys
}

// positions turns byte offsets into lines and columns.
type positions struct{ starts []int }

func newPositions(doc []byte) positions {
	p := positions{starts: []int{0}}
	for i := 0; ; {
		n := bytes.IndexByte(doc[i:], '\n')
		if n < 0 {
			return p
		}
		i += n + 1
		p.starts = append(p.starts, i)
	}
}

func (p positions) at(offset int64) Position {
	line, found := slices.BinarySearch(p.starts, int(offset))
	if !found {
		line--
	}
	return Position{Line: line + 1, Column: int(offset) - p.starts[line] + 1}
}
