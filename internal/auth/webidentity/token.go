package webidentity

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// MaxToken is the length, in bytes, of the longest token that is looked at.
const MaxToken = 20000

const (
	maxHeader = 4096 // bytes, encoded
	maxKeyID  = 256
)

// Token is a token whose signature has not been checked: nothing in it may be
// believed.
type Token struct {
	issuer    string
	algorithm string
	keyID     string
	hasKeyID  bool
	signed    string // what the signature is over
	signature []byte
	claims    object
}

// Issuer is who the token says it is from.
func (t *Token) Issuer() string { return t.issuer }

// Claims are what a verified token says.
type Claims struct {
	Issuer, Subject string
	// Audience are all values of aud, AuthorizedParty is azp.
	Audience        []string
	AuthorizedParty string
	// Methods is amr, how the subject authenticated.
	Methods []string
	// Issued and NotBefore are zero where the token does not say.
	Issued, NotBefore, Expires time.Time
	KeyID, Algorithm           string
	all                        object
}

// Member returns a claim as it is in the token, nil if it is not there.
func (c *Claims) Member(name string) json.RawMessage { return c.all[name] }

// Kubernetes is what a service-account token of Kubernetes says about the pod
// that it is bound to.
type Kubernetes struct {
	Namespace, ServiceAccount, ServiceAccountUID string
	// Pod and PodUID are empty for a token that is bound to no pod, Node for
	// one from a cluster older than 1.30.
	Pod, PodUID, Node string
}

// Kubernetes reads the claim kubernetes.io. It is false where the token has
// none, or one that does not agree with the token's subject.
func (c *Claims) Kubernetes() (Kubernetes, bool) {
	raw, ok := c.all["kubernetes.io"]
	if !ok {
		return Kubernetes{}, false
	}
	o, err := parseObject(raw)
	if err != nil {
		return Kubernetes{}, false
	}
	var k Kubernetes
	k.Namespace, _, _ = o.str("namespace")
	k.ServiceAccount, k.ServiceAccountUID = named(o["serviceaccount"])
	k.Pod, k.PodUID = named(o["pod"])
	k.Node, _ = named(o["node"])
	ok = k.Namespace != "" && k.ServiceAccount != "" &&
		c.Subject == "system:serviceaccount:"+k.Namespace+":"+k.ServiceAccount
	return k, ok
}

func named(raw json.RawMessage) (name, uid string) {
	o, err := parseObject(raw)
	if err != nil {
		return "", ""
	}
	name, _, _ = o.str("name")
	uid, _, _ = o.str("uid")
	return name, uid
}

// segment is base64url without padding and with no unused bits set: one text
// for one value.
var segment = base64.RawURLEncoding.Strict()

func decodeSegment(s string) ([]byte, error) { return segment.DecodeString(s) }

// Parse reads a token in compact form (RFC 7515, 3.1). Errors are *Error.
func Parse(raw string) (*Token, error) {
	if len(raw) > MaxToken {
		return nil, refuse(ReasonMalformed, "longer than %d bytes", MaxToken)
	}
	if strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 { // the decoder would skip them
		return nil, refuse(ReasonMalformed, "holds line breaks")
	}
	dot := strings.LastIndexByte(raw, '.')
	header, payload, ok := strings.Cut(raw[:max(dot, 0)], ".")
	if !ok || strings.Contains(payload, ".") {
		return nil, refuse(ReasonMalformed, "not three parts")
	}
	t := &Token{signed: raw[:dot]}
	if err := t.readHeader(header); err != nil {
		return nil, err
	}
	var err error
	if t.signature, err = decodeSegment(raw[dot+1:]); err != nil || len(t.signature) == 0 {
		return nil, refuse(ReasonMalformed, "signature is not base64url")
	}
	b, err := decodeSegment(payload)
	if err != nil {
		return nil, refuse(ReasonMalformed, "payload is not base64url")
	}
	if t.claims, err = parseObject(b); err != nil {
		return nil, &Error{Reason: ReasonMalformed, text: "payload", err: err}
	}
	iss, there, err := t.claims.str("iss")
	if err != nil || !there || iss == "" {
		return nil, missing("iss")
	}
	t.issuer = iss
	return t, nil
}

func missing(claim string) *Error {
	e := refuse(ReasonClaim, "claim %s is missing or of the wrong type", claim)
	e.Claim = claim
	return e
}

func (t *Token) readHeader(encoded string) error {
	if len(encoded) > maxHeader {
		return refuse(ReasonMalformed, "header longer than %d bytes", maxHeader)
	}
	b, err := decodeSegment(encoded)
	if err != nil {
		return refuse(ReasonMalformed, "header is not base64url")
	}
	h, err := parseObject(b)
	if err != nil {
		return &Error{Reason: ReasonMalformed, text: "header", err: err}
	}
	if _, there := h["crit"]; there {
		// RFC 7515, 4.1.11: what is not understood must not be skipped, and no
		// extension is understood here.
		return refuse(ReasonAlgorithm, "header has critical extensions")
	}
	if t.algorithm, _, err = h.str("alg"); err != nil {
		return &Error{Reason: ReasonMalformed, text: "header", err: err}
	}
	if _, known := algorithms[t.algorithm]; !known {
		return refuse(ReasonAlgorithm, "algorithm %s is not accepted", shown(t.algorithm))
	}
	if t.keyID, t.hasKeyID, err = h.str("kid"); err != nil || len(t.keyID) > maxKeyID {
		return refuse(ReasonMalformed, "header member kid is not a string of at most %d bytes", maxKeyID)
	}
	return nil
}

// read takes the claims out of a token whose signature has been checked.
func (t *Token) read() (*Claims, error) {
	c := &Claims{Issuer: t.issuer, KeyID: t.keyID, Algorithm: t.algorithm, all: t.claims}
	var err error
	var there bool
	if c.Subject, there, err = t.claims.str("sub"); err != nil || !there || c.Subject == "" {
		return nil, missing("sub")
	}
	if c.Audience, err = t.claims.list("aud"); err != nil || len(c.Audience) == 0 {
		return nil, missing("aud")
	}
	if c.AuthorizedParty, _, err = t.claims.str("azp"); err != nil {
		return nil, missing("azp")
	}
	if c.Methods, err = t.claims.list("amr"); err != nil {
		return nil, missing("amr")
	}
	if c.Expires, there, err = t.claims.date("exp"); err != nil || !there {
		return nil, missing("exp")
	}
	if c.Issued, there, err = t.claims.date("iat"); err != nil || !there {
		return nil, missing("iat")
	}
	if c.NotBefore, _, err = t.claims.date("nbf"); err != nil {
		return nil, missing("nbf")
	}
	return c, nil
}
