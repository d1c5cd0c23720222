//go:build unix

package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// pki holds the cluster's certificates as files below dir: NAME.crt, NAME.key.
type pki struct {
	dir string
	ca  authority // signs everything but...
	// front signs only the API server's client certificate towards extension
	// servers, which trust whoever holds it to name users.
	front authority
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// identity is who a certificate says its holder is.
type identity struct {
	File   string // base name of its files
	User   string
	Groups []string
	Names  []string
	Addrs  []netip.Addr
}

const certLife = 365 * 24 * time.Hour

// newPKI makes the authorities, the control plane's certificates and the key
// of service account tokens.
func newPKI(dir string, p plan) (*pki, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	k := &pki{dir: dir}
	var err error
	if k.ca, err = newAuthority(dir, "ca", "mangru-cluster-ca"); err != nil {
		return nil, err
	}
	if k.front, err = newAuthority(dir, "front-ca", "mangru-cluster-front-ca"); err != nil {
		return nil, err
	}
	for _, id := range controlPlaneIdentities(p) {
		if err := k.issue(k.ca, id); err != nil {
			return nil, err
		}
	}
	if err := k.issue(k.front, identity{File: "front-client", User: "front-client"}); err != nil {
		return nil, err
	}
	return k, newTokenKey(dir)
}

func controlPlaneIdentities(p plan) []identity {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	service := "kubernetes.default.svc"
	return []identity{
		{File: "kube-apiserver", User: "kube-apiserver",
			Names: []string{"kubernetes", "kubernetes.default", service, service + "." + dnsDomain, "localhost"},
			Addrs: []netip.Addr{p.control(), p.serviceAPI(), loopback}},
		{File: "admin", User: "admin", Groups: []string{"system:masters"}},
		{File: "kubelet-client", User: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}},
		{File: "kube-controller-manager", User: "system:kube-controller-manager"},
		{File: "kube-scheduler", User: "system:kube-scheduler"},
		{File: "kube-proxy", User: "system:kube-proxy"},
		{File: "kwok", User: "kwok", Groups: []string{"system:masters"},
			Names: []string{"localhost"}, Addrs: []netip.Addr{p.control(), loopback}},
	}
}

// nodeIdentity is what the Node authorizer wants a kubelet to be.
func nodeIdentity(n node) identity {
	return identity{File: n.Name, User: "system:node:" + n.Name, Groups: []string{"system:nodes"},
		Names: []string{n.Name}, Addrs: []netip.Addr{n.Address}}
}

func newAuthority(dir, file, name string) (authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, fmt.Errorf("making the key of %s: %w", name, err)
	}
	cert, err := sign(dir, file, template, key, authority{cert: template, key: key})
	return authority{cert: cert, key: key}, err
}

// issue writes a key and a certificate for servers and clients alike.
func (k *pki) issue(by authority, id identity) error {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: id.User, Organization: id.Groups},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		DNSNames:              id.Names,
	}
	for _, a := range id.Addrs {
		template.IPAddresses = append(template.IPAddresses, net.IP(a.AsSlice()))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making the key of %s: %w", id.File, err)
	}
	_, err = sign(k.dir, id.File, template, key, by)
	return err
}

// sign completes a template, signs it and writes certificate and key.
func sign(dir, file string, template *x509.Certificate, key *ecdsa.PrivateKey, by authority) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("choosing a serial number: %w", err)
	}
	now := time.Now()
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(certLife)
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate %s: %w", file, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %s back: %w", file, err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key of %s: %w", file, err)
	}
	if err := writePEM(filepath.Join(dir, file+".crt"), "CERTIFICATE", der, 0o644); err != nil {
		return nil, err
	}
	return cert, writePEM(filepath.Join(dir, file+".key"), "EC PRIVATE KEY", keyDER, 0o600)
}

// newTokenKey makes the key that signs service account tokens: RSA, so that
// they are RS256, which identity services ask for.
func newTokenKey(dir string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("making the key of service account tokens: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encoding the key of service account tokens: %w", err)
	}
	if err := writePEM(filepath.Join(dir, "tokens.pub"), "PUBLIC KEY", public, 0o644); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "tokens.key"), "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), 0o600)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// kubeconfig writes a self-contained kubeconfig for the identity whose files
// are called name.
func (k *pki) kubeconfig(path, name, server string) error {
	var encoded [3]string
	for i, file := range []string{"ca.crt", name + ".crt", name + ".key"} {
		text, err := os.ReadFile(filepath.Join(k.dir, file))
		if err != nil {
			return err
		}
		encoded[i] = base64.StdEncoding.EncodeToString(text)
	}
	return os.WriteFile(path, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: mangru-cluster
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: %s
  user:
    client-certificate-data: %s
    client-key-data: %s
contexts:
- name: mangru-cluster
  context: {cluster: mangru-cluster, user: %[3]s}
current-context: mangru-cluster
`, server, encoded[0], name, encoded[1], encoded[2]), 0o600)
}
