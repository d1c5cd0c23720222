package send

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage/remote/azuread"
	"github.com/prometheus/prometheus/storage/remote/googleiam"

	"github.com/mangru/mangru/internal/auth/sigv4"
	"github.com/mangru/mangru/internal/model"
	"github.com/mangru/mangru/internal/otelconf"
	"github.com/mangru/mangru/internal/telemetry"
)

// Source hands out spans of frames, oldest first. It is for one goroutine.
type Source interface {
	// Next leases spans that carry at most maxSamples samples together. It
	// waits until there are that many, or until the oldest has waited for as
	// long as wait says. It returns io.EOF when nothing is left or will come.
	Next(ctx context.Context, maxSamples int, wait time.Duration) ([]model.Span, error)
	// Settle ends the lease: the first n spans are finished, the others go
	// back. The last finished one may have been shortened in place.
	Settle(n int)
}

// Queue is what waits for one endpoint. It is safe for use by many goroutines.
type Queue interface {
	// Reader returns a further reader. The spans of one target are leased by
	// one reader at a time.
	Reader() Source
	// Waiting returns how many samples no reader has leased.
	Waiting() int
}

// Config says where an endpoint is and how it is spoken to.
type Config struct {
	otelconf.Endpoint
	// BatchTimeout is the longest that a sample waits for company.
	BatchTimeout time.Duration
	// UserAgent names the program.
	UserAgent string
	// Transport, if not nil, is used in place of one made from Endpoint.HTTP.
	Transport http.RoundTripper
}

// defaultMaxShards is the most requests under way at once where the
// configuration does not say.
const defaultMaxShards = 16

// Sender delivers to one endpoint.
type Sender struct {
	endpoint
	client   *http.Client
	metrics  *endpointMetrics
	log      *slog.Logger
	throttle telemetry.Throttle
	protocol *negotiation
	limit    sampleLimit

	mu    sync.Mutex
	state State
}

// endpoint is what the encoders of an endpoint share.
type endpoint struct {
	cfg      Config
	external []model.Label
	targets  targets
	known    described
	drafts   drafts
}

// New returns a sender. It makes no connection yet.
func New(cfg Config, m *Metrics, log *slog.Logger) (*Sender, error) {
	if cfg.MaxRequestBytes < 1 || cfg.MaxSamplesPerRequest < 1 || cfg.Timeout <= 0 {
		return nil, fmt.Errorf("endpoint %q: request bytes, request samples and timeout must be positive", cfg.Name)
	}
	cfg.MaxShards = cmp.Or(cfg.MaxShards, defaultMaxShards)
	cfg.MinShards = max(1, cfg.MinShards)
	if cfg.MaxShards < cfg.MinShards {
		return nil, fmt.Errorf("endpoint %q: at most %d shards, but at least %d", cfg.Name, cfg.MaxShards, cfg.MinShards)
	}
	protocol, err := newNegotiation(cfg.Protocol)
	if err != nil {
		return nil, fmt.Errorf("endpoint %q: %w", cfg.Name, err)
	}
	client, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	s := &Sender{
		endpoint: endpoint{cfg: cfg, known: described{every: cmp.Or(cfg.MetadataInterval, time.Minute)}}, client: client, metrics: m.endpoint(cfg.Name),
		log:      log.With("endpoint", cfg.Name),
		throttle: telemetry.Throttle{Every: time.Minute},
		protocol: protocol,
		limit:    sampleLimit{most: cfg.MaxSamplesPerRequest, now: cfg.MaxSamplesPerRequest},
		state:    State{Name: cfg.Name, Status: StatusIdle, Protocol: protocol.current.String()},
	}
	cfg.ExternalLabels.Range(func(l labels.Label) {
		if l.Value != "" {
			s.external = append(s.external, model.Label{Name: l.Name, Value: l.Value})
		}
	})
	return s, nil
}

func newClient(cfg Config) (*http.Client, error) {
	client := &http.Client{Transport: cfg.Transport}
	if cfg.Transport == nil {
		var err error
		if client, err = commoncfg.NewClientFromConfig(cfg.HTTP, "remote_write"); err != nil {
			return nil, fmt.Errorf("endpoint %q: making the HTTP client: %w", cfg.Name, err)
		}
	}
	if sc := cfg.SigV4; sc != nil {
		signer, err := sigv4.NewSigner(sigv4.SignConfig{
			Region: sc.Region, Service: sc.Service, RoleARN: sc.RoleARN, ExternalID: sc.ExternalID,
			SessionName: sc.SessionName, STSRegion: sc.STSRegion, Profile: sc.Profile,
			AccessKey: sc.AccessKey, SecretKey: string(sc.SecretKey), WebIdentityTokenFile: sc.WebIdentityTokenFile,
		}, client.Transport)
		if err != nil {
			return nil, fmt.Errorf("endpoint %q: %w", cfg.Name, err)
		}
		client.Transport = signer
	}
	var err error
	if cfg.AzureAD != nil {
		if client.Transport, err = azuread.NewAzureADRoundTripper(cfg.AzureAD, client.Transport); err != nil {
			return nil, fmt.Errorf("endpoint %q: azuread: %w", cfg.Name, err)
		}
	}
	if cfg.GoogleIAM != nil {
		if client.Transport, err = googleiam.NewRoundTripper(cfg.GoogleIAM, client.Transport); err != nil {
			return nil, fmt.Errorf("endpoint %q: google_iam: %w", cfg.Name, err)
		}
	}
	return client, nil
}

// Run delivers what the queue has until that has ended or ctx has. What was left
// is the queue's to tell.
func (s *Sender) Run(ctx context.Context, q Queue) {
	p := &pool{Sender: s, queue: q}
	p.start(ctx)
	p.wait.Wait()
	s.client.CloseIdleConnections()
}

// sampleLimit is how many samples go into a request. It falls when a request
// was too large, and comes back slowly.
type sampleLimit struct {
	most int

	mu  sync.Mutex
	now int
}

func (l *sampleLimit) get() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *sampleLimit) lower(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = max(1, min(l.now, n))
}

func (l *sampleLimit) raise() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = min(l.most, l.now+l.now/8+1)
}
