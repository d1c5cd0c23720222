package operator

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// How long certificates live, and how long before their end they are replaced.
const (
	authorityLife  = 2 * 365 * 24 * time.Hour
	authorityRenew = 180 * 24 * time.Hour
	servingLife    = 90 * 24 * time.Hour
	servingRenew   = 30 * 24 * time.Hour
	// settleTime is how long a new authority is known to everyone before a
	// certificate of it is served.
	settleTime = time.Hour
)

// keyring is what the Secret holds: the authorities that are trusted, newest
// first, the key of the newest, and the certificate that is served.
type keyring struct {
	bundle  []byte // PEM
	key     []byte // PEM, of the newest authority
	serving []byte // PEM
	private []byte // PEM
}

// The keys of the Secret.
const (
	secretBundle  = "ca.crt"
	secretKey     = "ca.key"
	secretServing = "tls.crt"
	secretPrivate = "tls.key"
)

func keyringFrom(data map[string][]byte) keyring {
	return keyring{bundle: data[secretBundle], key: data[secretKey], serving: data[secretServing], private: data[secretPrivate]}
}

func (k keyring) data() map[string][]byte {
	return map[string][]byte{secretBundle: k.bundle, secretKey: k.key, secretServing: k.serving, secretPrivate: k.private}
}

// pair is the certificate to serve.
func (k keyring) pair() (*tls.Certificate, error) {
	p, err := tls.X509KeyPair(k.serving, k.private)
	return &p, err
}

// renew returns a keyring that is good at the time, and whether it is another.
// An authority that nears its end gets a successor, which is trusted for a while
// before anything is signed with it: API servers that have not heard of it yet
// go on trusting what they see.
func (k keyring) renew(names []string, now time.Time) (keyring, bool, error) {
	authorities := certificates(k.bundle)
	changed := false
	if len(authorities) == 0 || !k.signs(authorities[0]) || now.After(authorities[0].NotAfter) {
		k = keyring{}
		authorities, changed = nil, true
	}
	if len(authorities) == 0 || now.After(authorities[0].NotAfter.Add(-authorityRenew)) {
		cert, key, err := newAuthority(now)
		if err != nil {
			return k, false, err
		}
		k.bundle, k.key, changed = append(cert, k.bundle...), key, true
		authorities = certificates(k.bundle)
	}
	newest := authorities[0]
	served := certificates(k.serving)
	_, err := k.pair()
	usable := err == nil && len(served) == 1 && now.Before(served[0].NotAfter) && covers(served[0], names) && signedByAny(served[0], authorities)
	due := !usable || now.After(served[0].NotAfter.Add(-servingRenew)) ||
		served[0].CheckSignatureFrom(newest) != nil && now.After(newest.NotBefore.Add(clockSkew+settleTime))
	// Until the newest authority has settled its predecessor's certificate goes on.
	if usable && due && served[0].CheckSignatureFrom(newest) != nil && now.Before(newest.NotBefore.Add(clockSkew+settleTime)) {
		due = false
	}
	if due {
		if k.serving, k.private, err = newServing(newest, k.key, names, now); err != nil {
			return k, false, err
		}
		changed = true
	}
	if kept := trusted(k.bundle, now); len(kept) != len(k.bundle) {
		k.bundle, changed = kept, true
	}
	return k, changed, nil
}

// clockSkew is by how much a certificate is valid before now.
const clockSkew = 5 * time.Minute

func (k keyring) signs(ca *x509.Certificate) bool {
	key, err := parseKey(k.key)
	return err == nil && key.PublicKey.Equal(ca.PublicKey)
}

func covers(c *x509.Certificate, names []string) bool {
	for _, n := range names {
		if c.VerifyHostname(n) != nil {
			return false
		}
	}
	return true
}

func signedByAny(c *x509.Certificate, authorities []*x509.Certificate) bool {
	for _, a := range authorities {
		if c.CheckSignatureFrom(a) == nil {
			return true
		}
	}
	return false
}

// certificates reads all that are in PEM; what is none is left out.
func certificates(text []byte) (out []*x509.Certificate) {
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return out
		}
		if c, err := x509.ParseCertificate(b.Bytes); err == nil {
			out = append(out, c)
		}
	}
}

// trusted leaves out of a bundle what has expired.
func trusted(bundle []byte, now time.Time) []byte {
	var out bytes.Buffer
	for _, c := range certificates(bundle) {
		if now.Before(c.NotAfter) {
			out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		}
	}
	return out.Bytes()
}

func newAuthority(now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t, err := template("mangru webhooks", now, authorityLife)
	if err != nil {
		return nil, nil, err
	}
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, t, t, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, err
}

func newServing(ca *x509.Certificate, caKey []byte, names []string, now time.Time) (cert, key []byte, err error) {
	signer, err := parseKey(caKey)
	if err != nil {
		return nil, nil, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t, err := template(names[0], now, servingLife)
	if err != nil {
		return nil, nil, err
	}
	t.DNSNames, t.KeyUsage, t.ExtKeyUsage = names, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, private.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(private)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, err
}

func template(name string, now time.Time, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"mangru"}},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life),
	}, nil
}

func encodeKey(k *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, fmt.Errorf("write a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	b, _ := pem.Decode(text)
	if b == nil {
		return nil, errors.New("the key is not PEM")
	}
	return x509.ParseECPrivateKey(b.Bytes)
}
