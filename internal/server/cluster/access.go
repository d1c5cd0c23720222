package cluster

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Access is how a cluster's API server is reached on behalf of scrapers.
type Access struct {
	// Endpoint is the API server's URL, CA its certificates in PEM, "" for those
	// that this machine trusts anyway.
	Endpoint, CA string
	// Token is the bearer token of a service account. It is a secret.
	Token string
}

// ErrNoAccess says that a cluster was registered without a token for scrapers.
var ErrNoAccess = errors.New("the cluster was registered without credentials for scrapers: run mangru cluster register NAME --scraper")

// Access returns how scrapers reach a cluster: a *NotFoundError if there is no
// such cluster, ErrNoAccess if it has no token.
func (s *Service) Access(ctx context.Context, account, name string) (Access, error) {
	r, err := s.find(ctx, s.db, account, name)
	if err != nil {
		return Access{}, err
	}
	if r.ScraperToken == "" {
		return Access{}, ErrNoAccess
	}
	token, err := s.open(r.ScraperToken, r.ID)
	if err != nil {
		return Access{}, fmt.Errorf("token of cluster %s: %w", name, err)
	}
	ca, err := base64.StdEncoding.DecodeString(r.CA)
	if err != nil {
		return Access{}, fmt.Errorf("CA of cluster %s: %w", name, err)
	}
	return Access{Endpoint: r.Endpoint, CA: string(ca), Token: token}, nil
}

// maxScraperToken bounds a bearer token in bytes.
const maxScraperToken = 16 << 10

func (r *Registration) checkScraperToken() error {
	const field = "scraperToken"
	switch {
	case r.ScraperToken == nil || *r.ScraperToken == "":
		return nil
	case len(*r.ScraperToken) > maxScraperToken:
		return &InvalidError{field, fmt.Sprintf("at most %d bytes are allowed", maxScraperToken)}
	case strings.ContainsFunc(*r.ScraperToken, func(c rune) bool { return c <= ' ' || c > '~' }):
		return &InvalidError{field, "is not a bearer token: only printable ASCII characters without spaces are allowed"}
	case r.Endpoint == "":
		return &InvalidError{"endpoint", "is required with a scraperToken: it is where the token is shown"}
	}
	return nil
}

// setToken seals the token of a registration into its record. A registration
// that says nothing of one leaves it, unless the token would go to another
// server than it was given for.
func (s *Service) setToken(r *row, reg Registration, endpoint string) error {
	switch {
	case reg.ScraperToken == nil && r.ScraperToken != "" && reg.Endpoint != endpoint:
		r.ScraperToken = ""
	case reg.ScraperToken == nil:
	case *reg.ScraperToken == "":
		r.ScraperToken = ""
	case s.seal == nil:
		return &InvalidError{"scraperToken", "this server keeps no credentials of clusters"}
	default:
		nonce := make([]byte, s.seal.NonceSize())
		_, _ = rand.Read(nonce) // never fails
		r.ScraperToken = base64.StdEncoding.EncodeToString(s.seal.Seal(nonce, nonce, []byte(*reg.ScraperToken), []byte(r.ID)))
	}
	return nil
}

// open decrypts a sealed token. The cluster's id is bound in, so that a token
// cannot be moved to another record.
func (s *Service) open(sealed, id string) (string, error) {
	if s.seal == nil {
		return "", errors.New("there is no key to open it with")
	}
	b, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(b) < s.seal.NonceSize() {
		return "", errors.New("the sealed token is damaged")
	}
	plain, err := s.seal.Open(nil, b[:s.seal.NonceSize()], b[s.seal.NonceSize():], []byte(id))
	if err != nil {
		return "", errors.New("the sealed token does not open")
	}
	return string(plain), nil
}

func newSeal(key []byte) (cipher.AEAD, error) {
	if key == nil {
		return nil, nil
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("clusters: key: %w", err)
	}
	return cipher.NewGCM(block)
}
