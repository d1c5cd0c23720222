package program

import (
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	_ "github.com/prometheus/prometheus/discovery/dns"
	_ "github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/agent"
)

// agentParts are what Prometheus in agent mode is made of, wired as its program
// does.
type agentParts struct {
	log     *slog.Logger
	finder  *discovery.Manager
	scraper *scrape.Manager
	remote  *remote.Storage
	storage storage.Storage
	stop    context.CancelFunc
}

// readyScraper gives the remote storage the scrape manager, which is made later.
type readyScraper struct{ m *scrape.Manager }

func (r *readyScraper) Get() (*scrape.Manager, error) {
	if r.m == nil {
		return nil, errors.New("not ready yet")
	}
	return r.m, nil
}

// runAgent takes the flags of Prometheus that the tests use.
func runAgent(args []string, stderr io.Writer) error {
	fs := flag.NewFlagSet("prometheus", flag.ContinueOnError)
	file := fs.String("config.file", "", "")
	dir := fs.String("storage.agent.path", "", "")
	fs.Bool("agent", true, "")
	fs.String("web.listen-address", "", "serves nothing here")
	features := fs.String("enable-feature", "", "metadata-wal-records or nothing")
	reload := fs.Duration("scrape.discovery-reload-interval", 5*time.Second, "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	p, err := newAgent(*dir, *features == "metadata-wal-records", *reload, log)
	if err != nil {
		return err
	}
	if err := p.load(*file); err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() { _ = p.finder.Run() }()                   // ends with its context
	go func() { _ = p.scraper.Run(p.finder.SyncCh()) }() // ends with Stop
	for {
		select {
		case <-hup:
			if err := p.load(*file); err != nil {
				log.Error("reload failed", "err", err)
			}
		case <-term:
			p.stop()
			p.scraper.Stop()
			return p.storage.Close()
		}
	}
}

func newAgent(dir string, metadata bool, reload time.Duration, log *slog.Logger) (*agentParts, error) {
	reg := prometheus.NewRegistry()
	ready := &readyScraper{}
	p := &agentParts{log: log}
	started := func() (int64, error) { return 0, nil } // as an agent's storage says
	p.remote = remote.NewStorage(log, reg, started, dir, time.Minute, ready, false)
	opts := agent.DefaultOptions()
	db, err := agent.Open(log, reg, p.remote, dir, opts)
	if err != nil {
		return nil, err
	}
	db.SetWriteNotified(p.remote)
	p.storage = storage.NewFanout(log, db, p.remote)
	sd, err := discovery.CreateAndRegisterSDMetrics(reg)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.finder = discovery.NewManager(ctx, log, reg, sd, discovery.Name("scrape"))
	if p.finder == nil {
		stop()
		return nil, errors.New("no service discovery")
	}
	// As the program's flags are by default.
	o := &scrape.Options{
		AppendMetadata: metadata, DiscoveryReloadInterval: model.Duration(reload),
	}
	p.scraper, err = scrape.NewManager(o, log, nil, nil, p.storage, reg)
	ready.m = p.scraper
	return p, err
}

// load reads the configuration, and puts it in place.
func (p *agentParts) load(file string) error {
	cfg, err := config.LoadFile(file, true, p.log)
	if err != nil {
		return err
	}
	jobs, err := cfg.GetScrapeConfigs()
	if err != nil {
		return err
	}
	sds := make(map[string]discovery.Configs)
	for _, j := range jobs {
		sds[j.JobName] = j.ServiceDiscoveryConfigs
	}
	return errors.Join(p.remote.ApplyConfig(cfg), p.scraper.ApplyConfig(cfg), p.finder.ApplyConfig(sds))
}
