package webidentity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the algorithms' hashes
	_ "crypto/sha512"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// algorithm is one of RFC 7518's signature algorithms, or EdDSA of RFC 8037.
type algorithm struct {
	keyType string // kty
	curve   string // crv
	hash    crypto.Hash
	check   func(key crypto.PublicKey, hash crypto.Hash, signed, signature []byte) bool
}

// algorithms is the whole list. There is nothing symmetric in it, and no none.
var algorithms = map[string]algorithm{
	"RS256": {keyType: "RSA", hash: crypto.SHA256, check: checkPKCS1},
	"RS384": {keyType: "RSA", hash: crypto.SHA384, check: checkPKCS1},
	"RS512": {keyType: "RSA", hash: crypto.SHA512, check: checkPKCS1},
	"PS256": {keyType: "RSA", hash: crypto.SHA256, check: checkPSS},
	"ES256": {keyType: "EC", curve: "P-256", hash: crypto.SHA256, check: checkECDSA},
	"ES384": {keyType: "EC", curve: "P-384", hash: crypto.SHA384, check: checkECDSA},
	"EdDSA": {keyType: "OKP", curve: "Ed25519", check: checkEd25519},
}

func sum(h crypto.Hash, b []byte) []byte {
	s := h.New()
	s.Write(b)
	return s.Sum(nil)
}

func checkPKCS1(key crypto.PublicKey, h crypto.Hash, signed, signature []byte) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && rsa.VerifyPKCS1v15(k, h, sum(h, signed), signature) == nil
}

func checkPSS(key crypto.PublicKey, h crypto.Hash, signed, signature []byte) bool {
	k, ok := key.(*rsa.PublicKey)
	return ok && rsa.VerifyPSS(k, h, sum(h, signed), signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
}

// checkECDSA takes r and s side by side, each as long as the curve's order
// (RFC 7518, 3.4), not their ASN.1 form.
func checkECDSA(key crypto.PublicKey, h crypto.Hash, signed, signature []byte) bool {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok {
		return false
	}
	half := (k.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*half {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
	return ecdsa.Verify(k, sum(h, signed), r, s)
}

func checkEd25519(key crypto.PublicKey, _ crypto.Hash, signed, signature []byte) bool {
	k, ok := key.(ed25519.PublicKey)
	return ok && len(signature) == ed25519.SignatureSize && ed25519.Verify(k, signed, signature)
}

// key is a public key of an issuer.
type key struct {
	id        string
	hasID     bool
	algorithm string // the only one it is for; "" for any of its type
	keyType   string
	curve     string
	public    crypto.PublicKey
}

func (k *key) fits(name string, a algorithm) bool {
	return k.keyType == a.keyType && k.curve == a.curve && (k.algorithm == "" || k.algorithm == name)
}

// keySet is an issuer's public keys.
type keySet struct {
	keys []key
	// unusable are those that were skipped: other types, too short, damaged.
	unusable int
}

// maxPerToken bounds the keys that one token is tried with: ids need not be
// unique.
const maxPerToken = 4

// find returns the keys that may have signed a token. A token that names no key
// needs a set in which only one fits.
func (s *keySet) find(t *Token) []key {
	a := algorithms[t.algorithm]
	var out []key
	for i := range s.keys {
		if k := &s.keys[i]; k.fits(t.algorithm, a) && (!t.hasKeyID || k.hasID && k.id == t.keyID) {
			out = append(out, *k)
		}
	}
	if !t.hasKeyID && len(out) > 1 || len(out) > maxPerToken {
		return nil
	}
	return out
}

func (t *Token) signedBy(k *key) bool {
	a := algorithms[t.algorithm]
	return a.check(k.public, a.hash, []byte(t.signed), t.signature)
}

const (
	maxKeys    = 200 // in a set
	minRSABits = 2048
	maxRSABits = 8192
)

// parseKeySet reads a JWK Set (RFC 7517, 5). Keys that cannot be used are
// skipped and counted; a set without any that can is an error.
func parseKeySet(b []byte) (*keySet, error) {
	top, err := parseObject(b)
	if err != nil {
		return nil, err
	}
	members, err := parseList(top["keys"])
	if err != nil {
		return nil, fmt.Errorf("member keys: %w", err)
	}
	if len(members) > maxKeys {
		return nil, fmt.Errorf("%d keys, allowed are %d", len(members), maxKeys)
	}
	s := &keySet{}
	var last error
	for _, o := range members {
		k, err := parseKey(o)
		if err != nil {
			s.unusable++
			last = err
			continue
		}
		s.keys = append(s.keys, k)
	}
	if len(s.keys) == 0 {
		if last == nil {
			return nil, errors.New("no keys")
		}
		return nil, fmt.Errorf("no usable key among %d: %w", s.unusable, last)
	}
	return s, nil
}

// CheckKeySet reports whether a document can be used as an issuer's static key
// set, and how many of its keys can.
func CheckKeySet(document []byte) (usable int, err error) {
	s, err := parseKeySet(document)
	if err != nil {
		return 0, fmt.Errorf("key set: %w", err)
	}
	return len(s.keys), nil
}

func parseKey(o object) (key, error) {
	var k key
	var err error
	if k.id, k.hasID, err = o.str("kid"); err != nil {
		return key{}, err
	}
	if k.algorithm, _, err = o.str("alg"); err != nil {
		return key{}, err
	}
	if _, known := algorithms[k.algorithm]; k.algorithm != "" && !known {
		return key{}, fmt.Errorf("algorithm %s is not accepted", shown(k.algorithm))
	}
	if use, there, err := o.str("use"); err != nil || there && use != "sig" {
		return key{}, errors.New("not for signatures")
	}
	if ops, err := o.list("key_ops"); err != nil || ops != nil && !slices.Contains(ops, "verify") {
		return key{}, errors.New("not for verification")
	}
	if k.keyType, _, err = o.str("kty"); err != nil {
		return key{}, err
	}
	switch k.keyType {
	case "RSA":
		k.public, err = parseRSA(o)
	case "EC":
		k.curve, k.public, err = parseEC(o)
	case "OKP":
		k.curve, k.public, err = parseOKP(o)
	default:
		err = fmt.Errorf("key type %s is not accepted", shown(k.keyType))
	}
	return k, err
}

// bytes returns a member that has to be base64url.
func (o object) bytes(name string) ([]byte, error) {
	s, there, err := o.str(name)
	if err != nil || !there {
		return nil, fmt.Errorf("member %s is missing or not a string", name)
	}
	b, err := decodeSegment(s)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("member %s is not base64url", name)
	}
	return b, nil
}

func parseRSA(o object) (crypto.PublicKey, error) {
	n, err := o.bytes("n")
	if err != nil {
		return nil, err
	}
	e, err := o.bytes("e")
	if err != nil {
		return nil, err
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if bits := modulus.BitLen(); bits < minRSABits || bits > maxRSABits || modulus.Bit(0) == 0 {
		return nil, fmt.Errorf("RSA key of %d bits: allowed are %d to %d", bits, minRSABits, maxRSABits)
	}
	if exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 {
		return nil, errors.New("RSA exponent out of range")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

func parseEC(o object) (string, crypto.PublicKey, error) {
	name, _, err := o.str("crv")
	if err != nil {
		return "", nil, err
	}
	curve := elliptic.P256()
	switch name {
	case "P-256":
	case "P-384":
		curve = elliptic.P384()
	default:
		return "", nil, fmt.Errorf("curve %s is not accepted", shown(name))
	}
	x, err := o.bytes("x")
	if err != nil {
		return "", nil, err
	}
	y, err := o.bytes("y")
	if err != nil {
		return "", nil, err
	}
	size := (curve.Params().BitSize + 7) / 8
	if len(x) != size || len(y) != size { // RFC 7518, 6.2.1.2: leading zeros are kept
		return "", nil, fmt.Errorf("coordinates of curve %s have %d bytes", name, size)
	}
	point := append(append([]byte{4}, x...), y...)
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point) // fails for a point not on the curve
	if err != nil {
		return "", nil, fmt.Errorf("curve %s: %w", name, err)
	}
	return name, public, nil
}

func parseOKP(o object) (string, crypto.PublicKey, error) {
	name, _, err := o.str("crv")
	if err != nil || name != "Ed25519" {
		return "", nil, fmt.Errorf("curve %s is not accepted", shown(name))
	}
	x, err := o.bytes("x")
	if err != nil || len(x) != ed25519.PublicKeySize {
		return "", nil, fmt.Errorf("coordinate of curve %s has %d bytes", name, ed25519.PublicKeySize)
	}
	return name, ed25519.PublicKey(x), nil
}
