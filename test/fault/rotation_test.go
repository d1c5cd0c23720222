package fault

import (
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
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/test/differential/sink"
)

// TestSecretsRotate replaces bearer tokens, certificates on both sides, and the
// token for which AWS credentials are given, several times while samples come. The
// former secret is refused from then on.
func TestSecretsRotate(t *testing.T) {
	t.Parallel()
	c := &collector{t: t, dir: t.TempDir()}
	file := func(name string) string { return filepath.Join(c.dir, name) }
	var now atomic.Int32 // the generation of secrets that is valid
	secret := func(kind string) string { return fmt.Sprintf("%s-%d", kind, now.Load()) }

	plant := newPlant(t)
	plant.check = func(r *http.Request) error { return bearer(r, secret("scrape")) }
	plain := newReceivers(t, []endpoint{{name: "good"}}).start()
	token := newReceivers(t, []endpoint{{name: "bearer"}})
	token.check = func(r *http.Request) error { return bearer(r, secret("write")) }
	token.start()
	signed := newReceivers(t, []endpoint{{name: "signed"}})
	signed.check = func(r *http.Request) error {
		if a := r.Header.Get("Authorization"); !strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential="+secret("AKIA")+"/") || r.Header.Get("X-Amz-Security-Token") != secret("session") {
			return errors.New("The security token included in the request is expired")
		}
		return nil
	}
	signed.start()
	sts := fakeSTS(t, secret)
	encrypted := newReceivers(t, []endpoint{{name: "tls"}})
	authorities := []*authority{newAuthority(t), newAuthority(t), newAuthority(t), newAuthority(t)}
	encrypted.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return authorities[now.Load()].server, nil
	}}
	encrypted.server.StartTLS()

	rotate := func(generation int) {
		c.write(file("scrape"), fmt.Sprintf("scrape-%d\n", generation))
		c.write(file("write"), fmt.Sprintf("write-%d\n", generation))
		c.write(file("web-identity"), fmt.Sprintf("web-%d", generation))
		authorities[generation].write(c)
		now.Store(int32(generation))
		encrypted.server.CloseClientConnections() // which would be good for ever
	}
	rotate(0)
	config := func(jobs string) string {
		return "global: {scrape_interval: 150ms, scrape_timeout: 150ms}\n" + jobs + fmt.Sprintf(`
remote_write:
- {name: good, url: "%s/good", queue_config: {batch_send_deadline: 20ms}}
- {name: bearer, url: "%s/bearer", authorization: {credentials_file: %q}, queue_config: {batch_send_deadline: 20ms, max_backoff: 200ms}}
- {name: signed, url: "%s/signed", sigv4: {region: us-east-1}, queue_config: {batch_send_deadline: 20ms, max_backoff: 200ms}}
- {name: tls, url: "%s/tls", tls_config: {ca_file: %q, cert_file: %q, key_file: %q}, queue_config: {batch_send_deadline: 20ms, max_backoff: 200ms}}
`, plain.server.URL, token.server.URL, file("write"), signed.server.URL, encrypted.server.URL, file("ca"), file("cert"), file("key"))
	}
	jobs := jobsOf(plant.addr(), []string{"well1", "well2"}, fmt.Sprintf("authorization: {credentials_file: %q}, ", file("scrape")))
	started := start(t, config(jobs), []string{
		"AWS_WEB_IDENTITY_TOKEN_FILE=" + file("web-identity"), "AWS_ROLE_ARN=arn:aws:iam::000000000000:role/writer",
		"AWS_ENDPOINT_URL_STS=" + sts, "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/nowhere", "AWS_SHARED_CREDENTIALS_FILE=/nowhere",
		"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=",
	})
	all := map[string]*receivers{"good": plain, "bearer": token, "signed": signed, "tls": encrypted}
	points := func() map[string]int {
		out := make(map[string]int)
		for name, x := range all {
			x.sink.With(name, func(s *sink.Stream) {
				if s != nil {
					out[name] = s.Points()
				}
			})
		}
		return out
	}
	for generation := range authorities {
		rotate(generation)
		before, visits := points(), len(plant.seen()["well1"])
		t.Cleanup(func() {
			if t.Failed() {
				t.Log("generation", generation, "had", before, "has", points(), "visits", len(plant.seen()["well1"]))
			}
		})
		started.await("samples with the new secrets", func() bool {
			for name, n := range points() {
				if n < before[name]+60 {
					return false
				}
			}
			return len(points()) == len(all) && len(plant.seen()["well1"]) > visits+3
		})
	}
	started.reload(config("scrape_configs: []\n"))
	seen := plant.seen()
	for name, x := range all {
		m := started.settled(&x.sink, []string{name})
		require.Zero(t, m.sum("mangru_collector_send_dropped_samples_total"), name)
		require.Zero(t, m.sum("mangru_collector_queue_dropped_samples_total"), name)
		x.sink.With(name, func(s *sink.Stream) { audit(t, s, seen) })
	}
	for _, text := range []string{"scrape-", "write-", "session-", "web-"} {
		for generation := range authorities {
			require.NotContains(t, started.Log(), fmt.Sprint(text, generation), "a secret is in the log")
		}
	}
}

func bearer(r *http.Request, want string) error {
	if r.Header.Get("Authorization") != "Bearer "+want {
		return errors.New("not this token")
	}
	return nil
}

// fakeSTS exchanges the web identity of now for credentials of now, which end
// soon.
func fakeSTS(t *testing.T, secret func(string) string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "AssumeRoleWithWebIdentity" || r.Form.Get("WebIdentityToken") != secret("web") {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>ExpiredTokenException</Code><Message>Token expired</Message></Error></ErrorResponse>`)
			return
		}
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>
<AccessKeyId>%s</AccessKeyId><SecretAccessKey>s3cr3t</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration>
</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, secret("AKIA"), secret("session"), time.Now().Add(2*time.Second).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// authority signs certificates for both sides.
type authority struct {
	server        *tls.Config
	ca, cert, key []byte // PEM, the client's
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	require.NoError(t, err)
	root, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	issue := func(usage x509.ExtKeyUsage) (cert, k []byte) {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{usage},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, &own.PublicKey, key)
		require.NoError(t, err)
		kder, err := x509.MarshalECPrivateKey(own)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kder})
	}
	a := &authority{ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	a.cert, a.key = issue(x509.ExtKeyUsageClientAuth)
	cert, k := issue(x509.ExtKeyUsageServerAuth)
	pair, err := tls.X509KeyPair(cert, k)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(root)
	a.server = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	return a
}

func (a *authority) write(c *collector) {
	c.write(filepath.Join(c.dir, "ca"), string(a.ca))
	c.write(filepath.Join(c.dir, "cert"), string(a.cert))
	c.write(filepath.Join(c.dir, "key"), string(a.key))
}
