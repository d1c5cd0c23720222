package sigv4

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// DefaultService is the service that a signature is for where none is named:
// Amazon Managed Service for Prometheus.
const DefaultService = "aps"

// SignConfig says how requests are signed and with whose credentials.
type SignConfig struct {
	// Region and Service are the scope of the signature. An empty Region is
	// taken from the environment or the profile.
	Region, Service string
	// RoleARN, where given, is assumed with the credentials found.
	RoleARN     string
	ExternalID  string
	SessionName string
	STSRegion   string
	// WebIdentityTokenFile, where given, is exchanged for RoleARN's credentials.
	WebIdentityTokenFile string
	// Profile picks a section of the shared credentials and config files.
	Profile string
	// AccessKey, SecretKey and SessionToken are static credentials. Without
	// them the SDK's chain is asked: environment, web identity, shared files,
	// container and instance endpoints.
	AccessKey, SecretKey, SessionToken string
}

// CredentialsError says that a request could not be signed for want of
// credentials. It is worth another try later.
type CredentialsError struct{ Err error }

// Error implements error.
func (e *CredentialsError) Error() string { return "no AWS credentials: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *CredentialsError) Unwrap() error { return e.Err }

// Signer is a round tripper that signs requests with AWS Signature Version 4.
type Signer struct {
	cfg  SignConfig
	base http.RoundTripper
	now  func() time.Time
	v4   *v4.Signer

	mu     sync.Mutex
	region string
	creds  aws.CredentialsProvider
}

// signEarly is how long before their end credentials are renewed.
const signEarly = 5 * time.Minute

// signSession names the session of an assumed role where the configuration
// does not.
const signSession = "mangru"

func signCacheOptions(o *aws.CredentialsCacheOptions) {
	o.ExpiryWindow, o.ExpiryWindowJitterFrac = signEarly, 0.2
}

// NewSigner returns a round tripper that signs and hands on to base. It looks
// for credentials at the first request, and again at each one for as long as
// there are none, so that a collector may start before its credentials do.
func NewSigner(cfg SignConfig, base http.RoundTripper) (*Signer, error) {
	if cfg.Service == "" {
		cfg.Service = DefaultService
	}
	if (cfg.AccessKey == "") != (cfg.SecretKey == "") {
		return nil, errors.New("sigv4: access_key and secret_key need each other; found only one")
	}
	if base == nil {
		base = http.DefaultTransport
	}
	return &Signer{cfg: cfg, base: base, now: time.Now, v4: v4.NewSigner()}, nil
}

// RoundTrip implements http.RoundTripper.
func (s *Signer) RoundTrip(req *http.Request) (*http.Response, error) {
	region, creds, err := s.credentials(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &CredentialsError{err}
	}
	body, err := signReadBody(req)
	if err != nil {
		return nil, fmt.Errorf("sigv4: reading the request body: %w", err)
	}
	sum := sha256.Sum256(body)
	signed := req.Clone(req.Context())
	signed.Body, signed.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if len(body) == 0 {
		signed.Body = http.NoBody
	}
	// A doubled slash would be signed as it is but cleaned on the way.
	if strings.Contains(signed.URL.Path, "//") {
		signed.URL.Path, signed.URL.RawPath = path.Clean(signed.URL.Path), ""
	}
	if err := s.v4.SignHTTP(req.Context(), creds, signed, hex.EncodeToString(sum[:]), s.cfg.Service, region, s.now()); err != nil {
		return nil, fmt.Errorf("sigv4: signing the request: %w", err)
	}
	return s.base.RoundTrip(signed)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections through.
func (s *Signer) CloseIdleConnections() {
	if c, ok := s.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func signReadBody(req *http.Request) ([]byte, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return nil, nil
	}
	defer func() { _ = req.Body.Close() }()
	return io.ReadAll(req.Body)
}

// credentials returns valid credentials and the region to sign for.
func (s *Signer) credentials(ctx context.Context) (string, aws.Credentials, error) {
	s.mu.Lock()
	if s.creds == nil {
		if err := s.resolve(ctx); err != nil {
			s.mu.Unlock()
			return "", aws.Credentials{}, err
		}
	}
	region, provider := s.region, s.creds
	s.mu.Unlock()
	creds, err := provider.Retrieve(ctx)
	if err != nil {
		// The chain decides once which source to use; with nothing found it
		// has to be asked anew, for a source may have appeared since.
		s.mu.Lock()
		s.creds = nil
		s.mu.Unlock()
		return "", aws.Credentials{}, err
	}
	return region, creds, nil
}

// resolve asks the SDK's chain for a source of credentials. The caller holds mu.
func (s *Signer) resolve(ctx context.Context) error {
	opts := []func(*awsconfig.LoadOptions) error{awsconfig.WithCredentialsCacheOptions(signCacheOptions)}
	if s.cfg.Region != "" {
		opts = append(opts, awsconfig.WithRegion(s.cfg.Region))
	}
	if s.cfg.Profile != "" {
		opts = append(opts, awsconfig.WithSharedConfigProfile(s.cfg.Profile))
	}
	if s.cfg.AccessKey != "" {
		opts = append(opts, awsconfig.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(s.cfg.AccessKey, s.cfg.SecretKey, s.cfg.SessionToken)))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return fmt.Errorf("loading AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return errors.New("no region: set it in sigv4 settings, in AWS_REGION or in the profile")
	}
	provider := cfg.Credentials
	if s.cfg.RoleARN != "" {
		client := sts.NewFromConfig(cfg, func(o *sts.Options) {
			if s.cfg.STSRegion != "" {
				o.Region = s.cfg.STSRegion
			}
		})
		var assume aws.CredentialsProvider = stscreds.NewAssumeRoleProvider(client, s.cfg.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			if s.cfg.ExternalID != "" {
				o.ExternalID = aws.String(s.cfg.ExternalID)
			}
			o.RoleSessionName = cmp.Or(s.cfg.SessionName, signSession)
		})
		if s.cfg.WebIdentityTokenFile != "" {
			assume = stscreds.NewWebIdentityRoleProvider(client, s.cfg.RoleARN, stscreds.IdentityTokenFile(s.cfg.WebIdentityTokenFile),
				func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = cmp.Or(s.cfg.SessionName, signSession) })
		}
		provider = aws.NewCredentialsCache(assume, signCacheOptions)
	}
	s.creds = provider
	s.region = cfg.Region
	return nil
}
