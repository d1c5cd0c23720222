package discover

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	commoncfg "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"

	"github.com/mangru/mangru/internal/otelconf"
)

// maxJobList bounds what an allocator may answer, in bytes.
const maxJobList = 64 << 20

// allocatorClient asks a target allocator for its jobs, again and again. While
// it gets no answer, or none that makes sense, the jobs stay as they are. The
// targets of each job come by a service discovery of the job's own.
type allocatorClient struct {
	cfg      otelconf.TargetAllocator
	shard    string
	http     *http.Client
	log      *slog.Logger
	problems *problems
	ctx      context.Context
	stop     context.CancelFunc // does not wait: run may be waiting for who calls it

	mu     sync.Mutex
	jobs   []*config.ScrapeConfig
	failed string // the last request's error
	flaws  string // what is wrong with the list
	twice  string // which of its jobs are left out
}

// allocatorClients returns a client for each allocator: the one that runs where
// nothing has changed, else one that is to be run.
func (m *Manager) allocatorClients(cfg Config) ([]*allocatorClient, error) {
	shard := cmp.Or(cfg.Shard, "0")
	out := make([]*allocatorClient, 0, len(cfg.Allocators))
	for _, a := range cfg.Allocators {
		i := slices.IndexFunc(m.allocators, func(c *allocatorClient) bool { return c.shard == shard && reflect.DeepEqual(c.cfg, a) })
		if i >= 0 {
			out = append(out, m.allocators[i])
			continue
		}
		client, err := commoncfg.NewClientFromConfig(a.HTTP, "target_allocator")
		if err != nil {
			return nil, fmt.Errorf("target allocator of receiver %s: %w", a.Receiver, err)
		}
		client.Timeout = cmp.Or(a.Timeout, a.Interval)
		c := &allocatorClient{cfg: a, shard: shard, http: client, log: m.log.With("receiver", a.Receiver), problems: m.problems}
		c.ctx, c.stop = context.WithCancel(m.ctx)
		out = append(out, c)
	}
	return out, nil
}

// current returns the jobs as of the last good answer.
func (c *allocatorClient) current() []*config.ScrapeConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jobs
}

// refused notes which jobs are left out because there are others of that name.
func (c *allocatorClient) refused(jobs []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.twice = ""
	if len(jobs) > 0 {
		c.twice = "jobs that are configured here too are not taken: " + strings.Join(jobs, ", ")
	}
	c.report()
}

// report shows what is wrong. The caller holds mu.
func (c *allocatorClient) report() {
	if c.ctx.Err() != nil {
		return
	}
	var parts []string
	for _, s := range []string{c.failed, c.flaws, c.twice} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	text := strings.Join(parts, "; ")
	if !c.problems.set(c.name(), text) {
		return
	}
	if text != "" {
		c.log.Warn("the target allocator does not do as it should; jobs stay as they are", "err", text)
	} else {
		c.log.Info("the target allocator is all right again")
	}
}

func (c *allocatorClient) name() string { return "target allocator of receiver " + c.cfg.Receiver }

// run asks until the client is stopped, and calls changed when the jobs have.
func (c *allocatorClient) run(changed func()) {
	defer c.problems.set(c.name(), "")
	defer c.http.CloseIdleConnections()
	var last []byte
	wait := retryFirst
	for {
		body, err := c.fetch()
		if c.ctx.Err() != nil {
			return
		}
		news := err == nil && !bytes.Equal(body, last)
		if news {
			if err = c.take(body); err == nil {
				last = body
			}
		}
		c.mu.Lock()
		c.failed = ""
		if err != nil {
			c.failed = err.Error()
		}
		c.report()
		c.mu.Unlock()
		if news && err == nil {
			changed()
		}
		// Until there is something to do, it is asked more often.
		pause := c.cfg.Interval
		if last == nil {
			pause = min(wait, pause)
			wait *= 2
		}
		t := time.NewTimer(pause)
		select {
		case <-c.ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// fetch returns the list of jobs as the allocator has written it.
func (c *allocatorClient) fetch() ([]byte, error) {
	req, err := http.NewRequestWithContext(c.ctx, http.MethodGet, c.cfg.ScrapeConfigsURL(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	for k, v := range c.cfg.Headers {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxJobList)) // for the connection's sake
		return nil, fmt.Errorf("%s: answered %s", c.cfg.ScrapeConfigsURL(), resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJobList+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxJobList:
		return nil, fmt.Errorf("%s: answered with more than %d bytes", c.cfg.ScrapeConfigsURL(), maxJobList)
	case len(bytes.TrimSpace(body)) == 0:
		return nil, errors.New(c.cfg.ScrapeConfigsURL() + ": answered nothing")
	}
	return body, nil
}

// take replaces the jobs by those of a list.
func (c *allocatorClient) take(body []byte) error {
	jobs, err := c.cfg.ScrapeConfigs(body, c.shard)
	if err != nil {
		return err
	}
	var masked []string
	for _, sc := range jobs {
		if hidesSecrets(&sc.HTTPClientConfig) {
			masked = append(masked, sc.JobName)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jobs, c.flaws = jobs, ""
	if len(masked) > 0 {
		c.flaws = "the allocator hides the credentials of jobs " + strings.Join(masked, ", ") +
			"; it tells them over TLS with client certificates, and http_scrape_config takes their place"
	}
	return nil
}

// mask is what Prometheus' types write in place of a secret.
const mask = commoncfg.Secret("<secret>")

func hidesSecrets(c *commoncfg.HTTPClientConfig) bool {
	return c.BearerToken == mask || c.TLSConfig.Key == mask ||
		c.BasicAuth != nil && c.BasicAuth.Password == mask ||
		c.Authorization != nil && c.Authorization.Credentials == mask ||
		c.OAuth2 != nil && c.OAuth2.ClientSecret == mask
}
