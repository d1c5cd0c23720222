package sigv4

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// held is a body that says when some of it was read, and gives the rest when it
// is let go.
type held struct {
	first io.Reader
	read  chan struct{}
	letGo chan struct{}
	half  bool
}

func (h *held) Read(p []byte) (int, error) {
	if h.half {
		close(h.read)
		<-h.letGo
		return 0, io.EOF
	}
	n, err := h.first.Read(p)
	h.half = err == io.EOF
	return n, nil
}

func (*held) Close() error { return nil }

// TestStrangersShareTheMemoryOfBodies: whoever knows the id of a key but not its
// secret can send bodies, but not so much that there is no room for those whose
// signatures were good.
func TestStrangersShareTheMemoryOfBodies(t *testing.T) {
	v := newVerifier(t)
	v.cfg.MaxUnverified = 50_000
	body := strings.Repeat("x", 40_000)
	from := func(addr string, wrong bool) *http.Request {
		r := sdkRequest(t, "POST", "http://h.example/w", body, nil)
		r.RemoteAddr = addr
		if wrong {
			r.Host = "other.example"
		}
		return r
	}
	send := func(r *http.Request) error {
		_, err := verify(t, v, r)
		return err
	}
	require.NoError(t, send(from("192.0.2.1:1", false)))
	require.Zero(t, v.unverified.Load())

	// One stranger stays in the middle of a body.
	slow := from("192.0.2.66:1", true)
	h := &held{first: slow.Body, read: make(chan struct{}), letGo: make(chan struct{})}
	slow.Body = h
	done := make(chan error)
	go func() { done <- send(slow) }()
	<-h.read
	require.EqualValues(t, len(body), v.unverified.Load())

	err := send(from("192.0.2.67:1", true))
	requireReason(t, err, ReasonThrottled)
	require.ErrorContains(t, err, "signatures.max_unverified")
	requireReason(t, send(from("192.0.2.68:1", false)), ReasonThrottled)
	require.NoError(t, send(from("192.0.2.1:2", false)), "it was good before, from there")
	small := sdkRequest(t, "POST", "http://h.example/w", "little", nil)
	small.RemoteAddr = "192.0.2.69:1"
	require.NoError(t, send(small), "and what is little finds room")
	early := sdkRequest(t, "POST", "http://h.example/w", "abc", func(r *http.Request) {
		r.Header.Set("X-Amz-Content-Sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
	})
	require.NoError(t, send(early), "a hash under the signature needs none")

	close(h.letGo)
	requireReason(t, <-done, ReasonMismatch)
	require.Zero(t, v.unverified.Load())
	require.NoError(t, send(from("192.0.2.68:1", false)))
}

func TestCallersAreForgotten(t *testing.T) {
	var s callers
	now := time.Unix(1e9, 0)
	a := caller{netip.MustParseAddr("192.0.2.1"), "AKIDEXAMPLE"}
	s.know(a, now)
	require.True(t, s.knows(a, now))
	require.False(t, s.knows(caller{a.addr, "AKIDOTHER"}, now))
	require.False(t, s.knows(caller{netip.MustParseAddr("192.0.2.2"), a.accessKeyID}, now))
	require.True(t, s.knows(a, now.Add(callersFor)))
	require.False(t, s.knows(a, now.Add(2*callersFor)))
	s.know(a, now.Add(3*callersFor))
	require.False(t, s.knows(a, now.Add(30*callersFor)))

	for i := range 5 * maxCallers {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		s.know(caller{addr, "AKIDEXAMPLE"}, now.Add(30*callersFor))
	}
	require.LessOrEqual(t, len(s.young)+len(s.old), 2*maxCallers)
}
