package sigv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"strings"
	"sync"
)

// signingKeys caches the keys derived from a secret; the derivation costs four
// HMACs and holds for a day. It keeps two generations: a full young one becomes
// the old one, and what is used from that moves over.
type signingKeys struct {
	mu         sync.Mutex
	young, old map[scope]derived
}

type scope struct{ accessKeyID, date, region, service string }

type derived struct {
	secret string
	key    [sha256.Size]byte
}

// maxSigningKeys bounds a generation.
const maxSigningKeys = 4096

// get returns the signing key. The caller has found the secret, so made-up ids
// cannot push real ones out; region and service are ones that we accept.
func (c *signingKeys) get(p *Parsed, secret string) [sha256.Size]byte {
	id := scope{p.AccessKeyID, p.Date, p.Region, p.Service}
	c.mu.Lock()
	d, young := c.young[id]
	if !young {
		d = c.old[id]
	}
	c.mu.Unlock()
	// The secret is compared, so that a replaced one never lives on here.
	fresh := d.secret != "" && subtle.ConstantTimeCompare([]byte(d.secret), []byte(secret)) == 1
	if fresh && young {
		return d.key
	}
	if !fresh {
		d = derived{secret: secret, key: deriveKey(secret, p.Date, p.Region, p.Service)}
	}
	// The strings are parts of the request's header, which shall not stay.
	id = scope{strings.Clone(p.AccessKeyID), strings.Clone(p.Date), strings.Clone(p.Region), strings.Clone(p.Service)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.young == nil || len(c.young) >= maxSigningKeys {
		c.young, c.old = make(map[scope]derived), c.young
	}
	c.young[id] = d
	return d.key
}
