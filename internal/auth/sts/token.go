package sts

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mangru/mangru/internal/auth/iam"
)

// Keyring holds the keys that seal session tokens. A key has to stay in the
// ring for as long as tokens that it sealed may live, MaxUserSession.
type Keyring interface {
	// Current is the key that new tokens are sealed with.
	Current() (id byte, key [32]byte)
	// Key returns the key of an id, false if there is none (any more).
	Key(id byte) ([32]byte, bool)
}

// unknownError is ErrUnknown, expiredError is ErrExpired.
type (
	unknownError struct{}
	expiredError struct{}
)

func (unknownError) Error() string { return "the security token is not one of ours" }
func (expiredError) Error() string { return "the security token has expired" }

// Expired tells the error from others without naming its type.
func (expiredError) Expired() bool { return true }

// The errors of Open.
var (
	// ErrUnknown: made up, altered, sealed with a key that is gone, or of
	// another access key.
	ErrUnknown error = unknownError{}
	// ErrExpired: a good token whose time is over.
	ErrExpired error = expiredError{}
)

const (
	tokenVersion = 1
	// maxToken is the length of the longest session token in bytes, as it is
	// on the wire. Proxies and clients have 8 KiB for all headers.
	maxToken = 4096
	nonceLen = 12
	tagLen   = 16
	// clearLen is what stands before the sealed part: version, key id, nonce.
	clearLen = 2 + nonceLen
	// maxPlain is what fits into a token.
	maxPlain = maxToken*3/4 - clearLen - tagLen
	// maxPacked bounds session policies and tags in their packed form, in
	// bytes. It is what PackedPolicySize is a percentage of.
	maxPacked = 1800
	// packFrom is the size from which policies and tags are compressed.
	// Opening a token must stay cheap: most are below.
	packFrom = 900
	// maxUnpacked bounds what a compressed part may unpack to. It is ours and
	// sealed; the bound is a second line.
	maxUnpacked = 64 << 10
)

// The bits of a token's flags.
const (
	flagUser = 1 << iota // a user's own session, not one of a role
	flagChained
	flagPacked
)

var tokenText = base64.RawURLEncoding.Strict()

// sealer makes and opens session tokens. Their layout:
//
//	version, key id, nonce (12), AES-256-GCM of the content, base64url
//
// Version, key id and the access key id are authenticated with it, so that a
// token is worth nothing with another access key.
type sealer struct {
	ring    Keyring
	ciphers [256]atomic.Pointer[sealKey]
	dummy   cipher.AEAD
}

type sealKey struct {
	key  [32]byte
	aead cipher.AEAD
}

func newSealer(ring Keyring) (*sealer, error) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	dummy, err := newAEAD(random)
	return &sealer{ring: ring, dummy: dummy}, err
}

func newAEAD(key [32]byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("session token key: %w", err)
	}
	return cipher.NewGCM(block)
}

// cipher returns the cipher of a key, made once.
func (s *sealer) cipher(id byte, key [32]byte) (cipher.AEAD, error) {
	if k := s.ciphers[id].Load(); k != nil && k.key == key {
		return k.aead, nil
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	s.ciphers[id].Store(&sealKey{key: key, aead: aead})
	return aead, nil
}

// associated is what is authenticated beside the content.
func associated(version, keyID byte, accessKeyID string) []byte {
	b := make([]byte, 0, 64)
	return append(append(b, version, keyID), accessKeyID...)
}

// seal returns the token of content.
func (s *sealer) seal(accessKeyID string, plain []byte) (string, error) {
	if len(plain) > maxPlain {
		return "", errTooLarge
	}
	id, key := s.ring.Current()
	aead, err := s.cipher(id, key)
	if err != nil {
		return "", err
	}
	b := make([]byte, clearLen, clearLen+len(plain)+tagLen)
	b[0], b[1] = tokenVersion, id
	_, _ = rand.Read(b[2:clearLen]) // never fails
	b = aead.Seal(b, b[2:clearLen], plain, associated(tokenVersion, id, accessKeyID))
	return tokenText.EncodeToString(b), nil
}

var errTooLarge = errors.New("session does not fit into a token")

// open returns the plain content of c's token and sets c's key. What has the form
// of a token costs the same whether or not there is a key of its id.
func (s *sealer) open(c *content) (string, error) {
	accessKeyID, token := c.accessKeyID, c.token
	if len(token) > maxToken || len(accessKeyID) > 128 || strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return "", ErrUnknown // the decoder would skip line breaks
	}
	b, err := tokenText.DecodeString(token)
	if err != nil || len(b) < clearLen+tagLen {
		return "", ErrUnknown
	}
	version, id := b[0], b[1]
	aead := s.dummy
	key, known := s.ring.Key(id)
	if known = known && version == tokenVersion; known {
		if aead, err = s.cipher(id, key); err != nil {
			return "", err
		}
	}
	plain, err := aead.Open(b[clearLen:clearLen], b[2:clearLen], b[clearLen:], associated(version, id, accessKeyID))
	if err != nil || !known {
		return "", ErrUnknown
	}
	c.keyID, c.key = id, key
	return string(plain), nil
}

// packed is the part of a session that the caller chose: policies and tags.
func encodeSession(b []byte, s *iam.Session) []byte {
	b = appendList(b, s.Policies)
	b = appendList(b, s.PolicyARNs)
	b = binary.AppendUvarint(b, uint64(len(s.Tags)))
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		b = appendString(appendString(b, k), s.Tags[k])
	}
	return appendList(b, s.Transitive)
}

// pack encodes what the caller chose, compressed if that is worth it.
func pack(s *iam.Session) (b []byte, compressed bool, err error) {
	b = encodeSession(nil, s)
	if len(b) < packFrom {
		return b, false, nil
	}
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestCompression)
	if err != nil {
		return nil, false, err
	}
	if _, err = w.Write(b); err == nil {
		err = w.Close()
	}
	if err != nil || out.Len() >= len(b) {
		return b, false, err
	}
	return out.Bytes(), true, nil
}

// empty reports whether a session has none of what pack encodes.
func emptyPack(s *iam.Session) bool {
	return len(s.Policies)+len(s.PolicyARNs)+len(s.Tags)+len(s.Transitive) == 0
}

// encode writes what a token holds, packed being the result of pack. The
// token is padded to at least minToken bytes.
func encode(p *iam.Principal, secret string, packed []byte, compressed bool, minToken int) []byte {
	s := p.Session
	var flags byte
	if s.RoleARN == "" {
		flags |= flagUser
	}
	if s.Chained {
		flags |= flagChained
	}
	if compressed {
		flags |= flagPacked
	}
	b := make([]byte, 0, 512+len(packed))
	b = append(b, flags)
	b = appendString(b, p.AccountID)
	b = appendString(b, secret)
	b = binary.AppendUvarint(b, uint64(s.Issued.Unix()))
	b = binary.AppendUvarint(b, uint64(s.Expires.Unix()))
	if s.RoleARN == "" {
		b = appendString(appendString(appendString(b, p.ARN), p.ID), p.Name)
	} else {
		b = appendString(appendString(appendString(b, s.RoleARN), s.RoleID), s.Name)
	}
	b = appendString(b, s.SourceIdentity)
	b = appendString(b, s.Provider)
	b = binary.AppendUvarint(b, uint64(len(s.Claims)))
	for _, k := range slices.Sorted(maps.Keys(s.Claims)) {
		b = appendList(appendString(b, k), s.Claims[k])
	}
	b = append(binary.AppendUvarint(b, uint64(len(packed))), packed...)
	if want := (minToken*3 + 3) / 4; want > clearLen+len(b)+tagLen {
		b = append(b, make([]byte, min(want-clearLen-tagLen, maxPlain)-len(b))...)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendList(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// reader walks over a token's content. Its strings are views of it.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) number() uint64 {
	var n uint64
	for i := 0; i < len(r.rest) && i < binary.MaxVarintLen64; i++ {
		c := r.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			return n
		}
	}
	r.bad, r.rest = true, ""
	return 0
}

func (r *reader) string() string {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, ""
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// count is the length of a list, each of whose members takes a byte or more.
func (r *reader) count() int {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, ""
		return 0
	}
	return int(n)
}

func (r *reader) list() []string {
	n := r.count()
	if n == 0 {
		return nil
	}
	out := make([]string, n)
	for i := range out {
		out[i] = r.string()
	}
	return out
}

func (r *reader) time() time.Time { return time.Unix(int64(r.number()&(1<<40-1)), 0).UTC() }

var errContent = errors.New("session token: content cannot be read")

// decode reads a token's content.
func decode(accessKeyID, content string) (secret string, p iam.Principal, err error) {
	if content == "" {
		return "", p, errContent
	}
	flags := content[0]
	r := &reader{rest: content[1:]}
	s := &iam.Session{Chained: flags&flagChained != 0}
	p = iam.Principal{AccountID: r.string(), AccessKeyID: accessKeyID, Session: s}
	secret = r.string()
	s.Issued, s.Expires = r.time(), r.time()
	if flags&flagUser != 0 {
		p.Type, p.ARN, p.ID, p.Name = iam.TypeUser, r.string(), r.string(), r.string()
	} else {
		s.RoleARN, s.RoleID, s.Name = r.string(), r.string(), r.string()
		setAssumed(&p)
	}
	s.SourceIdentity, s.Provider = r.string(), r.string()
	if n := r.count(); n > 0 {
		s.Claims = make(map[string][]string, n)
		for range n {
			k := r.string()
			s.Claims[k] = r.list()
		}
	}
	packed := r.string()
	if flags&flagPacked != 0 {
		if packed, err = unpack(packed); err != nil {
			return "", iam.Principal{}, err
		}
	}
	if r.bad || !decodePacked(packed, s) || secret == "" || p.ARN == "" {
		return "", iam.Principal{}, errContent
	}
	return secret, p, nil
}

func unpack(packed string) (string, error) {
	b, err := io.ReadAll(io.LimitReader(flate.NewReader(strings.NewReader(packed)), maxUnpacked+1))
	if err != nil || len(b) > maxUnpacked {
		return "", errContent
	}
	return string(b), nil
}

func decodePacked(packed string, s *iam.Session) bool {
	if packed == "" {
		return true
	}
	r := &reader{rest: packed}
	s.Policies, s.PolicyARNs = r.list(), r.list()
	if n := r.count(); n > 0 {
		s.Tags = make(map[string]string, n)
		for range n {
			k := r.string()
			s.Tags[k] = r.string()
		}
	}
	s.Transitive = r.list()
	return !r.bad && r.rest == ""
}

// setAssumed gives a role's session its names.
func setAssumed(p *iam.Principal) {
	s := p.Session
	p.Type = iam.TypeAssumedRole
	p.Name = s.RoleARN[strings.LastIndexByte(s.RoleARN, '/')+1:]
	p.ARN = "arn:aws:sts::" + p.AccountID + ":assumed-role/" + p.Name + "/" + s.Name
	p.ID = s.RoleID + ":" + s.Name
}

// Open returns the secret and the caller that a session token holds, if it
// belongs to the access key and the role or user that it is of is still there.
// The caller's Session is shared and not to be changed. Errors are ErrUnknown
// and ErrExpired, or tell of a fault of ours.
func (s *Service) Open(ctx context.Context, accessKeyID, token string) (secret string, p iam.Principal, err error) {
	c := s.opened.get(accessKeyID, token)
	if c != nil {
		if key, ok := s.sealer.ring.Key(c.keyID); !ok || key != c.key {
			return "", p, ErrUnknown
		}
	} else if c, err = s.open(accessKeyID, token); err != nil {
		return "", p, err
	}
	if !s.cfg.Now().Before(c.principal.Session.Expires) {
		return "", p, ErrExpired
	}
	switch err := s.cfg.Store.Exists(ctx, c.principal); {
	case errors.Is(err, iam.ErrNoSuchEntity):
		return "", p, ErrUnknown
	case err != nil:
		return "", p, fmt.Errorf("look up whose session it is: %w", err)
	}
	return c.secret, c.principal, nil
}

// open reads a token and keeps what it holds.
func (s *Service) open(accessKeyID, token string) (*content, error) {
	c := &content{token: token, accessKeyID: accessKeyID}
	plain, err := s.sealer.open(c)
	if err != nil {
		return nil, err
	}
	if c.secret, c.principal, err = decode(accessKeyID, plain); err != nil {
		return nil, err
	}
	s.opened.put(c)
	return c, nil
}
