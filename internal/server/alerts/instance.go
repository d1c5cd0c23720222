package alerts

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/alertmanager/alert"
	apiv2 "github.com/prometheus/alertmanager/api/v2"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/marker"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
)

// instance is the Alertmanager of one workspace.
type instance struct {
	id       string
	cfg      *Config
	dir      string
	logger   *slog.Logger
	registry *prometheus.Registry
	revision int64 // guarded by the Manager's lock

	gatherers prometheus.Gatherers

	receivers  *receivers
	alerts     *mem.Alerts
	silences   *silence.Silences
	log        *nflog.Log
	silencer   *silence.Silencer
	groups     marker.GroupMarker
	pipeline   *notify.PipelineBuilder
	dispatched *dispatch.DispatcherMetrics
	start      time.Time

	dispatcher atomic.Pointer[dispatch.Dispatcher]
	inhibitor  atomic.Pointer[inhibit.Inhibitor]
	current    atomic.Pointer[definition]

	apiOnce sync.Once
	api     *apiv2.API
	apiErr  error
	apiMu   sync.Mutex // api.Update against its making

	stopping chan struct{}
	running  sync.WaitGroup
	files    sync.Mutex // writing snapshots

	life    sync.Mutex
	stopped bool // guarded by life
}

// errStopped says that an instance was stopped before something could be applied
// to it.
var errStopped = errors.New("the alert manager is stopped")

const (
	silencesFile = "silences"
	logFile      = "nflog"
)

// newInstance makes the parts that outlive changes of the definition, with what
// was kept of silences and notifications.
func newInstance(cfg *Config, id string, logger *slog.Logger, drop func(reason string, n int)) (i *instance, err error) {
	i = &instance{id: id, cfg: cfg, dir: cfg.Dir(id), logger: logger.With("workspace", id), registry: prometheus.NewRegistry(),
		stopping: make(chan struct{}), start: time.Now(), groups: marker.NewGroupMarker()}
	i.receivers = &receivers{egress: cfg.Egress, sns: cfg.SNS, dial: cfg.dial, logger: i.logger, mails: make(chan struct{}, maxMails)}
	// The directory above is the workspace's: if that is gone, so is all this.
	if err := os.Mkdir(i.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("alert manager of workspace %s: %w", id, err)
	}
	i.gatherers = prometheus.Gatherers{i.registry}
	if err := i.load(); err != nil {
		return nil, fmt.Errorf("alert manager of workspace %s: %w", id, err)
	}
	recorder := eventrecorder.NopRecorder()
	i.silencer = silence.NewSilencer(i.silences, i.logger, recorder)
	counted := &countedAlerts{AlertStoreCallback: i.silencer, limit: cfg.MaxAlerts, drop: drop}
	i.alerts, err = mem.NewAlerts(context.Background(), cfg.GCInterval, 0, counted, i.logger, recorder, i.registry, featurecontrol.NoopFlags{})
	if err != nil {
		return nil, fmt.Errorf("alert manager of workspace %s: %w", id, err)
	}
	i.pipeline = notify.NewPipelineBuilder(i.registry, featurecontrol.NoopFlags{}, recorder)
	i.dispatched = dispatch.NewDispatcherMetrics(false, i.registry, featurecontrol.NoopFlags{})
	i.running.Go(func() { i.log.Maintenance(cfg.MaintenanceInterval, i.path(logFile), i.stopping, i.keepLog) })
	i.running.Go(func() {
		i.silences.Maintenance(cfg.MaintenanceInterval, i.path(silencesFile), i.stopping, i.keepSilences)
	})
	return i, nil
}

func (i *instance) path(name string) string { return filepath.Join(i.dir, name) }

// load reads what was kept. A file that can't be read is put aside: telling twice
// is better than not at all.
func (i *instance) load() error {
	open := func(name string, try func(file string) error) error {
		err := try(i.path(name))
		if err == nil {
			return nil
		}
		aside := i.path(name) + ".unreadable"
		if renameErr := os.Rename(i.path(name), aside); renameErr != nil {
			return errors.Join(err, renameErr)
		}
		i.logger.Error("what was kept can't be read, beginning without it", "file", aside, "err", err)
		return try("")
	}
	// A failed try must not leave metrics behind, so they are registered after it.
	err := open(logFile, func(file string) (err error) {
		reg := prometheus.NewRegistry()
		i.log, err = nflog.New(nflog.Options{SnapshotFile: file, Retention: i.cfg.Retention, Logger: i.logger, Metrics: reg})
		if err == nil {
			i.gatherers = append(i.gatherers, reg)
		}
		return err
	})
	if err != nil {
		return err
	}
	return open(silencesFile, func(file string) (err error) {
		reg := prometheus.NewRegistry()
		i.silences, err = silence.New(silence.Options{SnapshotFile: file, Retention: i.cfg.Retention, Logger: i.logger, Metrics: reg,
			Limits: silence.Limits{
				MaxSilences:         func() int { return i.cfg.MaxSilences },
				MaxSilenceSizeBytes: func() int { return i.cfg.MaxSilenceBytes },
			}, EventRecorder: eventrecorder.NopRecorder()})
		if err == nil {
			i.gatherers = append(i.gatherers, reg)
		}
		return err
	})
}

// keepLog writes the log of notifications to disk.
func (i *instance) keepLog() (int64, error) {
	if _, err := i.log.GC(); err != nil {
		return 0, err
	}
	return i.keep(logFile, i.log.MarshalBinary)
}

// keepSilences writes the silences to disk.
func (i *instance) keepSilences() (int64, error) {
	if _, err := i.silences.GC(); err != nil {
		return 0, err
	}
	return i.keep(silencesFile, i.silences.MarshalBinary)
}

// keep replaces a file by what there is now. Nothing needs no file.
func (i *instance) keep(name string, marshal func() ([]byte, error)) (n int64, err error) {
	i.files.Lock()
	defer i.files.Unlock()
	b, err := marshal()
	if err != nil {
		return 0, err
	}
	if len(b) == 0 {
		if err := os.Remove(i.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		return 0, nil
	}
	f, err := os.CreateTemp(i.dir, name+".*.tmp")
	if err != nil {
		return 0, err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), i.path(name))
	}
	if err != nil {
		return 0, errors.Join(err, os.Remove(f.Name()))
	}
	return int64(len(b)), nil
}

// groupLimit bounds a dispatcher.
type groupLimit int

// MaxNumberOfAggregationGroups implements dispatch.Limits.
func (l groupLimit) MaxNumberOfAggregationGroups() int { return int(l) }

// apply makes a definition the one that counts. What can fail is done first, so
// that after an error all is as it was.
func (i *instance) apply(d *definition) error {
	i.life.Lock()
	defer i.life.Unlock()
	if i.stopped {
		return errStopped
	}
	tmpl, err := d.newTemplate()
	if err != nil {
		return fmt.Errorf("template_files: %w", err)
	}
	external, err := url.Parse(i.cfg.ExternalURL(i.id))
	if err != nil {
		return fmt.Errorf("external URL: %w", err)
	}
	tmpl.ExternalURL = external
	integrations, err := i.receivers.build(d.config, tmpl)
	if err != nil {
		return err
	}
	intervals := make(map[string][]timeinterval.TimeInterval)
	for _, t := range d.config.MuteTimeIntervals {
		intervals[t.Name] = t.TimeIntervals
	}
	for _, t := range d.config.TimeIntervals {
		intervals[t.Name] = t.TimeIntervals
	}

	i.inhibitor.Load().Stop()
	i.dispatcher.Load().Stop()
	recorder := eventrecorder.NopRecorder()
	inhibitor := inhibit.NewInhibitor(i.alerts, d.config.InhibitRules, i.logger, recorder)
	pipeline := i.pipeline.New(integrations, func() time.Duration { return 0 }, inhibitor, i.silencer,
		timeinterval.NewIntervener(intervals), i.groups, i.log, nil)
	dispatcher := dispatch.NewDispatcher(i.alerts, dispatch.NewRoute(d.config.Route, nil), pipeline, i.groups,
		func(d time.Duration) time.Duration { return max(d, notify.MinTimeout) },
		i.cfg.DispatchMaintenance, groupLimit(i.cfg.MaxGroups), i.logger, recorder, i.dispatched, tmpl)
	// Who inhibits is known before anybody is told.
	i.running.Go(inhibitor.Run)
	inhibitor.WaitForLoading()
	i.inhibitor.Store(inhibitor)
	i.running.Go(func() { dispatcher.Run(i.start) })
	dispatcher.WaitForLoading()
	i.dispatcher.Store(dispatcher)

	i.current.Store(d)
	i.apiMu.Lock()
	defer i.apiMu.Unlock()
	if i.api != nil {
		i.api.Update(d.config, i.mark)
	}
	return nil
}

// mark tells the API of an alert's state.
func (i *instance) mark(ctx context.Context, l model.LabelSet) {
	i.inhibitor.Load().Mutes(ctx, l)
	i.silencer.Mutes(ctx, l)
}

// handler returns the API, which is made when it is first asked for.
func (i *instance) handler() (http.Handler, error) {
	i.apiOnce.Do(func() {
		api, err := apiv2.NewAPI(i.alerts,
			func(ctx context.Context, rf func(*dispatch.Route) bool, af func(*alert.Alert, time.Time) bool) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
				return i.dispatcher.Load().Groups(ctx, rf, af)
			}, i.groups.Muted, i.silences, nil, i.logger, i.registry)
		i.apiMu.Lock()
		defer i.apiMu.Unlock()
		if i.api, i.apiErr = api, err; err == nil {
			api.Update(i.current.Load().config, i.mark)
		}
	})
	if i.apiErr != nil {
		return nil, fmt.Errorf("alert manager of workspace %s: %w", i.id, i.apiErr)
	}
	return i.api.Handler, nil
}

// put takes alerts in and returns how many were not valid.
func (i *instance) put(ctx context.Context, alerts []*notifier.Alert) (invalid int, err error) {
	now := time.Now()
	resolve := time.Duration(i.current.Load().config.Global.ResolveTimeout)
	good := make([]*alert.Alert, 0, len(alerts))
	for _, a := range alerts {
		converted := &alert.Alert{Alert: model.Alert{Labels: labelSet(a.Labels), Annotations: labelSet(a.Annotations),
			StartsAt: a.StartsAt, EndsAt: a.EndsAt, GeneratorURL: a.GeneratorURL}, UpdatedAt: now}
		if converted.StartsAt.IsZero() {
			converted.StartsAt = now
		}
		if converted.EndsAt.IsZero() {
			converted.EndsAt, converted.Timeout = now.Add(resolve), true
		}
		if err := converted.Validate(); err != nil {
			i.logger.Warn("alert is not valid", "err", err)
			invalid++
			continue
		}
		good = append(good, converted)
	}
	return invalid, i.alerts.Put(ctx, good...)
}

// labelSet copies labels that have a value.
func labelSet(l labels.Labels) model.LabelSet {
	out := make(model.LabelSet, l.Len())
	l.Range(func(l labels.Label) {
		if l.Value != "" {
			out[model.LabelName(l.Name)] = model.LabelValue(l.Value)
		}
	})
	return out
}

// stop ends telling, and keeps on disk what is to be known afterwards.
func (i *instance) stop() {
	i.life.Lock()
	defer i.life.Unlock()
	if i.stopped {
		return
	}
	i.stopped = true
	i.dispatcher.Load().Stop()
	i.inhibitor.Load().Stop()
	i.alerts.Close()
	close(i.stopping)
	i.running.Wait()
}

// countedAlerts bounds how many alerts there are.
type countedAlerts struct {
	mem.AlertStoreCallback
	limit int
	drop  func(reason string, n int)
	have  atomic.Int64
}

// errTooMany says why an alert was not taken.
var errTooMany = errors.New("too many alerts (setting alerts.max_alerts)")

// PreStore implements mem.AlertStoreCallback.
func (c *countedAlerts) PreStore(a *alert.Alert, existing bool) error {
	if !existing && c.limit > 0 && c.have.Load() >= int64(c.limit) {
		c.drop("limit", 1)
		return errTooMany
	}
	return c.AlertStoreCallback.PreStore(a, existing)
}

// PostStore implements mem.AlertStoreCallback.
func (c *countedAlerts) PostStore(a *alert.Alert, existing bool) {
	if !existing {
		c.have.Add(1)
	}
	c.AlertStoreCallback.PostStore(a, existing)
}

// PostDelete implements mem.AlertStoreCallback.
func (c *countedAlerts) PostDelete(a *alert.Alert) {
	c.have.Add(-1)
	c.AlertStoreCallback.PostDelete(a)
}
