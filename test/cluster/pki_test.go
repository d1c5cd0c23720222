//go:build unix

package cluster

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

func readCert(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestPKI(t *testing.T) {
	p := newPlan(testOptions(t))
	dir := filepath.Join(t.TempDir(), "pki")
	k, err := newPKI(dir, p)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.issue(k.ca, nodeIdentity(p.node(3))); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(readCert(t, filepath.Join(dir, "ca.crt")))

	server := readCert(t, filepath.Join(dir, "kube-apiserver.crt"))
	for _, name := range []string{"kubernetes.default.svc", "kubernetes.default.svc.cluster.local", p.control().String(), p.serviceAPI().String(), "127.0.0.1"} {
		if _, err := server.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("API server as %s: %v", name, err)
		}
	}
	node := readCert(t, filepath.Join(dir, "node-3.crt"))
	if node.Subject.CommonName != "system:node:node-3" || !slices.Equal(node.Subject.Organization, []string{"system:nodes"}) {
		t.Errorf("node is %s", node.Subject)
	}
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := node.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
			t.Errorf("node certificate, use %d: %v", use, err)
		}
	}
	// The front client must not be a client of the cluster itself.
	front := readCert(t, filepath.Join(dir, "front-client.crt"))
	if _, err := front.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("the front client's certificate is signed by the cluster's CA")
	}
	if server.IsCA || node.IsCA {
		t.Error("a leaf certificate can sign")
	}
	for _, key := range []string{"ca.key", "admin.key", "tokens.key"} {
		if info, err := os.Stat(filepath.Join(dir, key)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", key, err, info.Mode())
		}
	}
}

func TestTokenKeyIsRSAAndAPair(t *testing.T) {
	dir := t.TempDir()
	if err := newTokenKey(dir); err != nil {
		t.Fatal(err)
	}
	decode := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		return block.Bytes
	}
	private, err := x509.ParsePKCS1PrivateKey(decode("tokens.key"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(decode("tokens.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if rsaKey, ok := public.(*rsa.PublicKey); !ok || !rsaKey.Equal(private.Public()) {
		t.Errorf("tokens.pub is a %T that does not belong to tokens.key", public)
	}
}

func TestKubeconfig(t *testing.T) {
	p := newPlan(testOptions(t))
	dir := t.TempDir()
	k, err := newPKI(filepath.Join(dir, "pki"), p)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kubeconfig")
	if err := k.kubeconfig(path, "admin", p.apiURL()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     string `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct {
			User struct {
				Cert string `json:"client-certificate-data"`
				Key  string `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	if err := yaml.UnmarshalStrict(text, &c); err == nil {
		t.Fatal("strict reading took a partial type; the test's type is not what it seems")
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Clusters) != 1 || len(c.Users) != 1 || c.Clusters[0].Cluster.Server != "https://10.9.0.1:6443" {
		t.Fatalf("kubeconfig: %+v", c)
	}
	var parts [3][]byte
	for i, data := range []string{c.Clusters[0].Cluster.CA, c.Users[0].User.Cert, c.Users[0].User.Key} {
		if parts[i], err = base64.StdEncoding.DecodeString(data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := tls.X509KeyPair(parts[1], parts[2]); err != nil {
		t.Errorf("client certificate and key: %v", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(parts[0]) {
		t.Error("no CA in the kubeconfig")
	}
}
