package sts

import (
	"crypto/subtle"
	"strings"
	"sync"

	"github.com/mangru/mangru/internal/auth/iam"
)

// opened keeps what was in session tokens, as a client sends the same one with
// every request. The zero value is ready.
//
// It is bounded and forgets what has not been used for long: a full young
// generation becomes the old one, whose entries move up when used. Only tokens
// that we sealed get in.
type opened struct {
	mu         sync.Mutex
	young, old map[string]*content // by the end of the token
}

// content is what a token holds. Requests share it: it is not to be changed.
type content struct {
	token, accessKeyID string
	// key sealed the token. When it goes, the token is worth nothing.
	keyID byte
	key   [32]byte

	secret    string
	principal iam.Principal
}

const (
	// maxOpened bounds a generation. With the longest tokens it takes some
	// 32 MiB, with usual ones 6.
	maxOpened = 4096
	// tokenEnd is as much of a token as tells it from others: the tag of its
	// seal.
	tokenEnd = 22
)

// get returns what a token holds, nil if that is not at hand.
func (o *opened) get(accessKeyID, token string) *content {
	if len(token) < tokenEnd {
		return nil
	}
	end := token[len(token)-tokenEnd:]
	o.mu.Lock()
	c := o.young[end]
	if c == nil {
		if c = o.old[end]; c != nil {
			o.keep(c)
		}
	}
	o.mu.Unlock()
	if c == nil || subtle.ConstantTimeCompare([]byte(c.token), []byte(token)) != 1 || c.accessKeyID != accessKeyID {
		return nil
	}
	return c
}

// put keeps what a token holds. The strings are parts of a request's header,
// which shall not stay.
func (o *opened) put(c *content) {
	c.token, c.accessKeyID = strings.Clone(c.token), strings.Clone(c.accessKeyID)
	c.principal.AccessKeyID = c.accessKeyID
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep(c)
}

func (o *opened) keep(c *content) {
	if o.young == nil || len(o.young) >= maxOpened {
		o.young, o.old = make(map[string]*content), o.young
	}
	o.young[c.token[len(c.token)-tokenEnd:]] = c
}
