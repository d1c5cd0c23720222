package signin

import (
	"sync"
	"time"
)

// The bounds of tries. A person's own browsers, known by their device cookie,
// have a count of their own: whoever tries passwords from elsewhere uses up the
// count of strangers and cannot keep the person out.
const (
	throttleWindow = 15 * time.Minute
	addressTries   = 60  // sign-ins from an address
	strangerTries  = 20  // sign-ins of a person from unknown browsers
	deviceTries    = 10  // sign-ins from a known browser
	passwordTries  = 10  // of a change of password
	mailTries      = 5   // mails to an address
	linkTries      = 120 // one-time links from an address
	// codeTries are for one sign-in; then the password is asked for again.
	codeTries = 5
	// maxThrottled bounds memory. Beyond it, strangers wait.
	maxThrottled = 100_000
)

// throttle counts tries in windows of time.
type throttle struct {
	now func() time.Time

	mu    sync.Mutex
	tries map[string]*tries
}

type tries struct {
	until time.Time
	count int
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, tries: make(map[string]*tries)}
}

// take counts a try under key and refuses it where there were too many.
func (t *throttle) take(key string, most int, window time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	w := t.tries[key]
	if w == nil || !now.Before(w.until) {
		if w == nil && len(t.tries) >= maxThrottled {
			t.sweep(now)
			if len(t.tries) >= maxThrottled {
				return &ThrottledError{window}
			}
		}
		t.tries[key] = &tries{until: now.Add(window), count: 1}
		return nil
	}
	if w.count >= most {
		return &ThrottledError{w.until.Sub(now)}
	}
	w.count++
	return nil
}

// forget gives a key its tries back, after a success.
func (t *throttle) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.tries, key)
}

func (t *throttle) sweep(now time.Time) {
	for k, w := range t.tries {
		if !now.Before(w.until) {
			delete(t.tries, k)
		}
	}
}
