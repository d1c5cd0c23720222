package api

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
)

// KeyStore is where long-lived access keys are.
type KeyStore interface {
	// LookupKey returns an active key, or iam.ErrNoSuchEntity.
	LookupKey(ctx context.Context, id string) (iam.AccessKey, error)
}

// changeCounter is a KeyStore whose count of changes grows when a key is made or
// switched on, so that it is good at once even if somebody asked for it before.
type changeCounter interface{ Changes() uint64 }

// Sessions opens temporary credentials.
type Sessions interface {
	// Open returns the secret and the caller that a session token holds, if it
	// belongs to the access key. The error about an expired token has a method
	// Expired, that of a service which cannot tell now a method Unavailable,
	// which return true; any other error means a token that is not ours.
	Open(ctx context.Context, accessKeyID, token string) (secret string, p iam.Principal, err error)
}

const (
	// sessionPrefix begins the ids of temporary access keys.
	sessionPrefix = "ASIA"
	// absentFor is how long an id that the store does not know is refused
	// without asking again.
	absentFor = 2 * time.Second
	// maxAbsent and maxKnown bound a generation of remembered ids.
	maxAbsent, maxKnown = 8192, 65536
	// strangersPerSecond is how often the store is asked about ids that have
	// never been good, and how many such questions may come at once.
	strangersPerSecond = 500
)

// Keyring is the sigv4.Keys of a KeyStore and Sessions. Made-up key ids cost
// next to nothing: the store is asked a bounded number of times a second about
// ids that have never been good, while ids that have been are always looked up.
type Keyring struct {
	store    KeyStore
	sessions Sessions
	now      func() time.Time

	strangers *rate.Limiter
	mu        sync.Mutex
	absent    generations[time.Time] // until when
	known     generations[struct{}]
	changes   uint64 // of the store when absent was begun
}

// Keys lets the signature verifier ask a KeyStore, and Sessions about temporary
// keys. Without sessions there are none.
func Keys(store KeyStore, sessions ...Sessions) *Keyring {
	k := &Keyring{store: store, now: time.Now, strangers: rate.NewLimiter(strangersPerSecond, strangersPerSecond),
		absent: generations[time.Time]{limit: maxAbsent}, known: generations[struct{}]{limit: maxKnown}}
	if len(sessions) > 0 {
		k.sessions = sessions[0]
	}
	return k
}

// LookupKey implements sigv4.Keys.
func (k *Keyring) LookupKey(ctx context.Context, id, sessionToken string) (sigv4.Key, error) {
	if strings.HasPrefix(id, sessionPrefix) {
		return k.session(ctx, id, sessionToken)
	}
	if sessionToken != "" {
		// Long-lived keys have no token; one that is sent along belongs to
		// another key.
		return sigv4.Key{}, sigv4.ErrUnknownKey
	}
	changes, err := k.admit(id)
	if err != nil {
		return sigv4.Key{}, err
	}
	key, err := k.store.LookupKey(ctx, id)
	if errors.Is(err, iam.ErrNoSuchEntity) {
		k.mu.Lock()
		k.known.remove(id)
		if changes == k.changes {
			k.absent.put(strings.Clone(id), k.now().Add(absentFor))
		}
		k.mu.Unlock()
		return sigv4.Key{}, sigv4.ErrUnknownKey
	}
	if err != nil {
		return sigv4.Key{}, err
	}
	k.mu.Lock()
	k.known.put(key.ID, struct{}{})
	k.mu.Unlock()
	return sigv4.Key{Secret: key.Secret, Identity: key.Principal}, nil
}

// admit says whether the store is to be asked about an id, and the store's count
// of changes before it is.
func (k *Keyring) admit(id string) (changes uint64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, ok := k.store.(changeCounter); ok {
		if n := c.Changes(); n != k.changes {
			k.changes = n
			k.absent.clear()
		}
	}
	if _, ok := k.known.get(id); ok {
		return k.changes, nil
	}
	if until, ok := k.absent.get(id); ok && k.now().Before(until) {
		return 0, sigv4.ErrUnknownKey
	}
	if !k.strangers.AllowN(k.now(), 1) {
		return 0, sigv4.ErrThrottled
	}
	return k.changes, nil
}

func (k *Keyring) session(ctx context.Context, id, token string) (sigv4.Key, error) {
	if token == "" || k.sessions == nil {
		return sigv4.Key{}, sigv4.ErrUnknownKey
	}
	secret, p, err := k.sessions.Open(ctx, id, token)
	var expired interface{ Expired() bool }
	var down interface{ Unavailable() bool }
	switch {
	case err == nil && secret != "":
		return sigv4.Key{Secret: secret, Identity: p}, nil
	case err == nil:
		return sigv4.Key{}, errors.New("session without a secret")
	case errors.As(err, &expired) && expired.Expired():
		return sigv4.Key{}, sigv4.ErrExpiredToken
	case errors.As(err, &down) && down.Unavailable(), ctx.Err() != nil:
		return sigv4.Key{}, err
	}
	return sigv4.Key{}, sigv4.ErrUnknownKey
}

// generations is a bounded map that forgets what has not been used for long: a
// full young generation becomes the old one, whose entries move up when used.
type generations[V any] struct {
	limit      int
	young, old map[string]V
}

func (g *generations[V]) get(id string) (V, bool) {
	v, ok := g.young[id]
	if !ok {
		if v, ok = g.old[id]; ok {
			g.put(strings.Clone(id), v)
		}
	}
	return v, ok
}

func (g *generations[V]) put(id string, v V) {
	if g.young == nil || len(g.young) >= g.limit {
		g.young, g.old = make(map[string]V), g.young
	}
	g.young[id] = v
}

func (g *generations[V]) remove(id string) {
	delete(g.young, id)
	delete(g.old, id)
}

func (g *generations[V]) clear() { g.young, g.old = nil, nil }
