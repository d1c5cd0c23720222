package webidentity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// signer is a private key of the test issuer.
type signer struct {
	id, alg string
	private crypto.Signer
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newSigner(t testing.TB, id, alg string) signer {
	t.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	require.NoError(t, err)
	return signer{id: id, alg: alg, private: private}
}

// jwk is the public key in the form of a key set.
func (s signer) jwk() map[string]any {
	m := map[string]any{"kid": s.id, "use": "sig", "alg": s.alg}
	switch k := s.private.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", b64(k.N.Bytes()), b64(big.NewInt(int64(k.E)).Bytes())
	case *ecdsa.PublicKey:
		point, _ := k.Bytes()
		half := len(point) / 2
		m["kty"], m["crv"], m["x"], m["y"] = "EC", k.Curve.Params().Name, b64(point[1:1+half]), b64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", b64(k)
	}
	return m
}

func (s signer) sign(t testing.TB, signed string) []byte {
	t.Helper()
	hash := map[string]crypto.Hash{"RS256": crypto.SHA256, "RS384": crypto.SHA384, "RS512": crypto.SHA512,
		"PS256": crypto.SHA256, "ES256": crypto.SHA256, "ES384": crypto.SHA384}[s.alg]
	switch k := s.private.(type) {
	case *rsa.PrivateKey:
		var out []byte
		var err error
		if s.alg == "PS256" {
			out, err = rsa.SignPSS(rand.Reader, k, hash, sum(hash, []byte(signed)), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			out, err = rsa.SignPKCS1v15(nil, k, hash, sum(hash, []byte(signed)))
		}
		require.NoError(t, err)
		return out
	case *ecdsa.PrivateKey:
		r, v, err := ecdsa.Sign(rand.Reader, k, sum(hash, []byte(signed)))
		require.NoError(t, err)
		half := (k.Curve.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, half)), v.FillBytes(make([]byte, half))...)
	case ed25519.PrivateKey:
		return ed25519.Sign(k, []byte(signed))
	}
	t.Fatalf("key %T", s.private)
	return nil
}

type members = map[string]any

func (s signer) header() members { return members{"alg": s.alg, "kid": s.id, "typ": "JWT"} }

func compact(t testing.TB, s signer, header, claims any) string {
	t.Helper()
	part := func(v any) string {
		if text, ok := v.(string); ok {
			return b64([]byte(text))
		}
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return b64(b)
	}
	signed := part(header) + "." + part(claims)
	return signed + "." + b64(s.sign(t, signed))
}

// issuer is a real HTTPS server with discovery and keys.
type issuer struct {
	*httptest.Server
	discoveries, keyFetches atomic.Int64

	mu       sync.Mutex
	keys     []signer
	down     bool
	document any    // instead of the discovery document
	keySet   string // instead of the keys
	bearer   string // that is asked for
	redirect string // of the keys
}

func newIssuer(t testing.TB, keys ...signer) *issuer {
	t.Helper()
	i := &issuer{keys: keys}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.discoveries.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.refuses(w, r) {
			return
		}
		var d any = members{"issuer": i.URL, "jwks_uri": i.URL + "/openid/v1/jwks"}
		if i.document != nil {
			d = i.document
		}
		_ = json.NewEncoder(w).Encode(d)
	})
	mux.HandleFunc("/openid/v1/jwks", func(w http.ResponseWriter, r *http.Request) {
		i.keyFetches.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		switch {
		case i.refuses(w, r):
		case i.redirect != "":
			http.Redirect(w, r, i.redirect, http.StatusFound)
		case i.keySet != "":
			_, _ = w.Write([]byte(i.keySet))
		default:
			_, _ = w.Write(keySetOf(i.keys...))
		}
	})
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	return i
}

func keySetOf(keys ...signer) []byte {
	list := make([]any, 0, len(keys))
	for _, k := range keys {
		list = append(list, k.jwk())
	}
	b, _ := json.Marshal(members{"keys": list})
	return b
}

func (i *issuer) refuses(w http.ResponseWriter, r *http.Request) bool {
	if i.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return true
	}
	if i.bearer != "" && r.Header.Get("Authorization") != "Bearer "+i.bearer {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return true
	}
	return false
}

func (i *issuer) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

// registered is the issuer as an account has it.
func (i *issuer) registered() Issuer {
	return Issuer{URL: i.URL, ClientIDs: []string{"sts.amazonaws.com"}, CAPEM: i.ca()}
}

func (i *issuer) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})
}

const subject = "system:serviceaccount:prometheus:amp-irsa-role"

// claims are what Kubernetes puts into a token.
func (i *issuer) claims(now time.Time) members {
	return members{"iss": i.URL, "sub": subject, "aud": []string{"sts.amazonaws.com"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(), "jti": "b1d6",
		"kubernetes.io": members{"namespace": "prometheus", "serviceaccount": members{"name": "amp-irsa-role", "uid": "u1"},
			"pod": members{"name": "collector-0", "uid": "u2"}, "node": members{"name": "n1", "uid": "u3"}}}
}

func (m clock) now() time.Time { return time.Unix(0, m.Load()) }

// clock is a time that only the test moves.
type clock struct{ *atomic.Int64 }

func newClock() clock {
	c := clock{new(atomic.Int64)}
	c.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (m clock) advance(d time.Duration) { m.Add(int64(d)) }

func with(m members, name string, value any) members {
	m = maps.Clone(m)
	if value == nil {
		delete(m, name)
	} else {
		m[name] = value
	}
	return m
}

func sha(b []byte) []byte { s := sha256.Sum256(b); return s[:] }
