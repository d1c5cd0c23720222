// Package v4 signs requests, as the package of this name in version 1 of the AWS
// SDK does: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
package v4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"time"

	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/aws/aws-sdk-go/aws/credentials"
)

// Signer signs requests. It is safe for concurrent use.
type Signer struct {
	key    *credentials.Credentials
	signer *signer.Signer
}

// NewSigner returns a Signer with an access key.
func NewSigner(key *credentials.Credentials) *Signer {
	return &Signer{key: key, signer: signer.NewSigner()}
}

// Sign adds the headers of a signature to r, and returns them. The body, which may
// be nil, is read to its end for its hash and then set back, and becomes that of r.
func (s *Signer) Sign(r *http.Request, body io.ReadSeeker, service, region string, at time.Time) (http.Header, error) {
	hash := sha256.New()
	if body != nil {
		start, err := body.Seek(0, io.SeekCurrent)
		if err == nil {
			_, err = io.Copy(hash, body)
		}
		if err == nil {
			_, err = body.Seek(start, io.SeekStart)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the body to sign it: %w", err)
		}
		r.Body = io.NopCloser(body)
	}
	before, length := r.Header.Clone(), r.ContentLength
	r.ContentLength = 0 // version 1 does not sign it
	defer func() { r.ContentLength = length }()
	err := s.signer.SignHTTP(context.Background(), s.key.Value(), r, hex.EncodeToString(hash.Sum(nil)), service, region, at)
	if err != nil {
		return nil, err
	}
	added := http.Header{}
	for name, values := range r.Header {
		if _, there := before[name]; !there {
			added[name] = values
		}
	}
	return added, nil
}
