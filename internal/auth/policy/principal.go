package policy

import (
	"strings"
)

// Principal is who asks. Exactly one of ARN, Federated, Service and Anonymous
// is there; a principal with none of them is refused everything.
type Principal struct {
	// ARN of a user, or of the session of a role
	// (arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION); AccountID is its
	// account's. RoleARN is the role of a session. Type is the value of
	// aws:PrincipalType, for the reader only.
	ARN, AccountID string
	Type           string
	RoleARN        string
	// Federated is the ARN of the identity provider that vouches for somebody
	// who is about to assume a role.
	Federated string
	// Service is the name of a service, such as pods.eks.amazonaws.com.
	Service string
	// Anonymous callers have not been asked who they are.
	Anonymous bool
}

func (p *Principal) known() bool {
	n := 0
	for _, is := range []bool{p.ARN != "", p.Federated != "", p.Service != "", p.Anonymous} {
		if is {
			n++
		}
	}
	return n == 1 && (p.ARN == "" || p.AccountID != "")
}

// isAWS reports whether the principal has policies of its own.
func (p *Principal) isAWS() bool { return p.ARN != "" }

// isSession reports whether the principal's ARN is that of a session.
func (p *Principal) isSession() bool { return strings.HasPrefix(p.ARN, "arn:aws:sts:") }

// grant is what a resource policy that names a principal gives it. A higher one
// includes the lower ones.
type grant uint8

const (
	grantNone grant = iota
	// grantAccount: the account may be named instead of the principal; then its
	// identity policies decide.
	grantAccount
	// grantLimited: no identity policy is needed, but the permissions boundary
	// and the session policy have to allow it too.
	grantLimited
	// grantDirect: nothing else is needed.
	grantDirect
)

// principals is a compiled Principal or NotPrincipal.
type principals struct {
	any       bool
	accounts  []string
	arns      []string
	federated []string
	services  []string
	canonical bool
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return s != ""
		}
	}
	return false
}

// grant tells how the set names a principal, for an Allow. session says that
// the principal's session has policies of its own.
func (s *principals) grant(p *Principal, session bool) grant {
	switch {
	case p.Federated != "":
		// A star does not stand for web identities: see the package comment.
		if contains(s.federated, p.Federated) {
			return grantDirect
		}
		return grantNone
	case p.Service != "":
		if s.any || contains(s.services, p.Service) {
			return grantDirect
		}
		return grantNone
	case p.Anonymous:
		if s.any {
			return grantDirect
		}
		return grantNone
	}
	switch {
	case s.any:
		return grantDirect
	case contains(s.arns, p.ARN):
		if session && !p.isSession() {
			return grantLimited // a user's federated session, by the user's ARN
		}
		return grantDirect
	case contains(s.arns, p.RoleARN):
		return grantLimited
	case contains(s.accounts, p.AccountID):
		if p.ARN == "arn:aws:iam::"+p.AccountID+":root" {
			return grantDirect
		}
		return grantAccount
	}
	return grantNone
}

// denies reports whether the set names a principal, for a Deny.
func (s *principals) denies(p *Principal) bool {
	if s.any || s.canonical {
		return true
	}
	switch {
	case p.Federated != "":
		return contains(s.federated, p.Federated)
	case p.Service != "":
		return contains(s.services, p.Service)
	case p.Anonymous:
		return false
	}
	return contains(s.arns, p.ARN) || contains(s.arns, p.RoleARN) || contains(s.accounts, p.AccountID)
}

// exempts reports whether a NotPrincipal spares a principal. All that a caller
// is has to be listed: for a session the session, its role and their account,
// for a user the user and the account.
func (s *principals) exempts(p *Principal) bool {
	switch {
	case p.Federated != "":
		return contains(s.federated, p.Federated)
	case p.Service != "":
		return contains(s.services, p.Service)
	case p.Anonymous:
		return false
	}
	if !contains(s.accounts, p.AccountID) {
		return false
	}
	if p.ARN == "arn:aws:iam::"+p.AccountID+":root" {
		return true
	}
	return contains(s.arns, p.ARN) && (p.RoleARN == "" || contains(s.arns, p.RoleARN))
}

// compilePrincipals checks and compiles a Principal or NotPrincipal.
func compilePrincipals(raw *rawPrincipal, kind Kind, where string) (*principals, error) {
	if raw.star {
		return &principals{any: true}, nil
	}
	if len(raw.kinds) == 0 {
		return nil, malformed("Missing required field Principal cannot be empty!", where, "")
	}
	s := &principals{}
	for _, k := range raw.kinds {
		if len(k.values) == 0 {
			return nil, malformed("Missing required field Principal cannot be empty!", where+"."+k.name, "")
		}
		for _, v := range k.values {
			if !s.add(k.name, v, kind) {
				name := strings.ToUpper(k.name)
				if v == "*" {
					name, v = "STAR", "*"
				}
				return nil, malformed(`Invalid principal in policy: "`+name+`":"`+v+`"`, where+"."+k.name, "")
			}
		}
	}
	return s, nil
}

// federatedServices are the identity providers that need no ARN.
func isFederatedService(v string) bool {
	switch v {
	case "cognito-identity.amazonaws.com", "www.amazon.com", "graph.facebook.com", "accounts.google.com":
		return true
	}
	return false
}

// add adds one value and reports whether it is one.
func (s *principals) add(kind, v string, document Kind) bool {
	switch kind {
	case "AWS":
		return s.addAWS(v)
	case "Federated":
		f := strings.SplitN(v, ":", arnFields)
		isARN := len(f) == arnFields && f[0] == "arn" && f[1] == "aws" && f[2] == "iam" && f[3] == "" && isAccount(f[4]) &&
			(longer(f[5], "oidc-provider/") || longer(f[5], "saml-provider/")) && isName(f[5])
		s.federated = append(s.federated, v)
		return isARN || isFederatedService(v)
	case "Service":
		s.services = append(s.services, v)
		return isServiceName(v)
	case "CanonicalUser":
		s.canonical = true
		return document != Trust && len(v) == 64 && strings.Trim(v, "0123456789abcdef") == ""
	}
	return false
}

func (s *principals) addAWS(v string) bool {
	if v == "*" {
		s.any = true
		return true
	}
	if isAccount(v) {
		s.accounts = append(s.accounts, v)
		return true
	}
	f := strings.SplitN(v, ":", arnFields)
	if len(f) != arnFields || f[0] != "arn" || f[1] != "aws" || f[3] != "" || !isAccount(f[4]) || !isName(f[5]) {
		return false
	}
	switch f[2] {
	case "iam":
		if f[5] == "root" {
			s.accounts = append(s.accounts, f[4])
			return true
		}
		if !longer(f[5], "user/") && !longer(f[5], "role/") {
			return false
		}
	case "sts":
		role, isRole := strings.CutPrefix(f[5], "assumed-role/")
		if name, session, ok := strings.Cut(role, "/"); isRole && (!ok || name == "" || session == "") {
			return false
		}
		if !isRole && !longer(f[5], "federated-user/") {
			return false
		}
	default:
		return false
	}
	s.arns = append(s.arns, v)
	return true
}

func longer(s, prefix string) bool { return len(s) > len(prefix) && strings.HasPrefix(s, prefix) }

// isAccount reports whether s has the form of an account id.
func isAccount(s string) bool {
	return len(s) == 12 && strings.Trim(s, "0123456789") == ""
}

// isName reports whether s may be the last part of a principal's ARN: there are
// no wildcards or variables in principals.
func isName(s string) bool {
	return !strings.ContainsAny(s, "*?${} ") && !hasControl(s)
}

func isServiceName(s string) bool {
	return len(s) <= 255 && strings.Contains(s, ".") && !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") &&
		!strings.Contains(s, "..") && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}
