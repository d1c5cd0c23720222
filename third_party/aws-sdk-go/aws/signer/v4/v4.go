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

// Sign adds the headers of a signature to r, and returns all that r has then. The
// body, which may be nil, is read to its end for its hash and then set back, and
// becomes that of r.
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
	length := r.ContentLength
	r.ContentLength = 0 // version 1 does not sign it
	err := s.signer.SignHTTP(context.Background(), s.key.Value(), r, hex.EncodeToString(hash.Sum(nil)), service, region, at)
	r.ContentLength = length
	return r.Header, err
}
