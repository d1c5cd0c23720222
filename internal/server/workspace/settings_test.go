package workspace

import (
	"context"
	"errors"
	"maps"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/db"
)

const otherAccount = "111111111111"

// queries counts what is asked of the database.
type queries struct {
	mu sync.Mutex
	n  int
}

func (q *queries) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n++
	return ctx
}

func (*queries) AfterQuery(context.Context, *bun.QueryEvent) {}

// reset returns how many there were.
func (q *queries) reset() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.n
	q.n = 0
	return n
}

func number(n int64) *int64 { return &n }

// active makes a workspace that is ready.
func (f *fixture) active(t *testing.T) string {
	t.Helper()
	w, err := f.Create(t.Context(), account, CreateInput{})
	require.NoError(t, err)
	require.NoError(t, f.Reconcile(t.Context()))
	return w.ID
}

func TestConfiguration(t *testing.T) {
	f, ctx := open(t), t.Context()
	id := f.active(t)
	c, err := f.Configuration(ctx, account, id)
	require.NoError(t, err)
	require.Equal(t, &Configuration{Settings: &Settings{Retention: 150 * day, OutOfOrderWindow: time.Hour, RuleQueryOffset: time.Minute}, Status: StatusActive}, c)
	require.Equal(t, c.Settings, f.Settings(id))

	sets := []LabelSetLimit{{Labels: map[string]string{"team": "a"}, MaxSeries: 10}, {Labels: map[string]string{}, MaxSeries: 0}}
	c, err = f.UpdateConfiguration(ctx, account, id, ConfigurationChange{RetentionDays: number(7), LabelSets: &sets}, "")
	require.NoError(t, err)
	require.Equal(t, StatusActive, c.Status)
	require.Equal(t, &Settings{Retention: 7 * day, OutOfOrderWindow: time.Hour, RuleQueryOffset: time.Minute, LabelSets: sets}, f.Settings(id), "at once")
	_, err = f.UpdateConfiguration(ctx, account, id, ConfigurationChange{OutOfOrderSeconds: number(0), RuleOffsetSeconds: number(30), LabelSets: &[]LabelSetLimit{}}, "")
	require.NoError(t, err)
	require.Equal(t, &Settings{Retention: 7 * day, RuleQueryOffset: 30 * time.Second}, f.Settings(id), "what is not named stays")

	_, err = f.Configuration(ctx, otherAccount, id)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = f.UpdateConfiguration(ctx, otherAccount, id, ConfigurationChange{RetentionDays: number(7)}, "")
	require.ErrorIs(t, err, ErrNotFound)
	require.NoError(t, f.Delete(ctx, account, id, ""))
	var conflict *ConflictError
	_, err = f.UpdateConfiguration(ctx, account, id, ConfigurationChange{RetentionDays: number(7)}, "")
	require.ErrorAs(t, err, &conflict)
	require.NoError(t, f.Reconcile(ctx))
	require.Nil(t, f.Settings(id))
	n, err := f.db.NewSelect().Model((*configurationRow)(nil)).Count(ctx)
	require.NoError(t, err)
	require.Zero(t, n, "goes with the workspace")
}

func TestConfigurationRefuses(t *testing.T) {
	f, ctx := open(t), t.Context()
	id := f.active(t)
	same := LabelSetLimit{Labels: map[string]string{"a": "b"}, MaxSeries: 1}
	many := map[string]string{}
	for i := range maxLabels + 1 {
		many["l"+strings.Repeat("x", i)] = "v"
	}
	for field, in := range map[string]ConfigurationChange{
		"retentionPeriodInDays":                {RetentionDays: number(0)},
		"retentionPeriodInDays:":               {RetentionDays: number(1096)},
		"outOfOrderTimeWindowInSeconds":        {OutOfOrderSeconds: number(-1)},
		"outOfOrderTimeWindowInSeconds:":       {OutOfOrderSeconds: number(86401)},
		"ruleQueryOffsetInSeconds":             {RuleOffsetSeconds: number(86401)},
		"limitsPerLabelSet[0].limits":          {LabelSets: &[]LabelSetLimit{{Labels: same.Labels, MaxSeries: -1}}},
		"limitsPerLabelSet[0].labelSet":        {LabelSets: &[]LabelSetLimit{{Labels: map[string]string{"0": "b"}}}},
		"limitsPerLabelSet[0].labelSet: value": {LabelSets: &[]LabelSetLimit{{Labels: map[string]string{"a": ""}}}},
		"limitsPerLabelSet[0].labelSet: 151":   {LabelSets: &[]LabelSetLimit{{Labels: many}}},
		"limitsPerLabelSet[1].labelSet: is":    {LabelSets: &[]LabelSetLimit{same, same}},
	} {
		_, err := f.UpdateConfiguration(ctx, account, id, in, "")
		var bad *InvalidError
		require.ErrorAs(t, err, &bad, field)
		require.ErrorContains(t, err, field)
	}
	var refused *RefusedError
	_, err := f.UpdateConfiguration(ctx, account, id, ConfigurationChange{}, "")
	require.ErrorAs(t, err, &refused)
	sets := make([]LabelSetLimit, 101)
	var quota *QuotaError
	_, err = f.UpdateConfiguration(ctx, account, id, ConfigurationChange{LabelSets: &sets}, "")
	require.ErrorAs(t, err, &quota)
}

func TestConfigurationIsApplied(t *testing.T) {
	f, ctx := open(t), t.Context()
	var told []time.Duration
	fail := errors.New("disk")
	f.cfg.Apply = func(_ context.Context, _ string, s *Settings) error {
		told = append(told, s.Retention)
		return fail
	}
	id := f.active(t)
	require.Empty(t, told)
	state := func() string {
		c, err := f.Configuration(ctx, account, id)
		require.NoError(t, err)
		return string(c.Status) + " " + c.StatusReason
	}
	c, err := f.UpdateConfiguration(ctx, account, id, ConfigurationChange{RetentionDays: number(7)}, "")
	require.NoError(t, err)
	require.Equal(t, StatusUpdating, c.Status)
	require.NoError(t, f.Reconcile(ctx))
	require.Equal(t, "UPDATE_FAILED disk", state())
	fail = nil
	require.NoError(t, f.Reconcile(ctx))
	require.Len(t, told, 1, "what failed waits for the next change or start")
	started := false
	require.NoError(t, f.start(ctx, &started))
	require.Equal(t, "ACTIVE ", state())
	require.Equal(t, []time.Duration{7 * day, 7 * day}, told)

	// A change during another one's work is not lost.
	f.cfg.Apply = func(ctx context.Context, _ string, s *Settings) error {
		if s.Retention == 8*day {
			_, err := f.UpdateConfiguration(ctx, account, id, ConfigurationChange{RetentionDays: number(9)}, "")
			return err
		}
		return nil
	}
	_, err = f.UpdateConfiguration(ctx, account, id, ConfigurationChange{RetentionDays: number(8)}, "")
	require.NoError(t, err)
	require.NoError(t, f.Reconcile(ctx))
	require.Equal(t, "UPDATING ", state())
	require.NoError(t, f.Reconcile(ctx))
	require.Equal(t, "ACTIVE ", state())
}

func TestLookupReadsNoSQL(t *testing.T) {
	f, ctx := open(t), t.Context()
	asked := &queries{}
	f.db = f.db.WithQueryHook(asked)
	id := f.active(t)
	e, err := f.Lookup(ctx, id)
	require.NoError(t, err)
	require.Equal(t, StatusActive, e.Status)
	asked.reset()
	for range 100 {
		again, err := f.Lookup(ctx, id)
		require.NoError(t, err)
		require.Same(t, e, again)
		require.Same(t, e.Settings, f.Settings(id))
	}
	require.Zero(t, asked.reset())
	// Every change shows at once.
	for name, change := range map[string]func() error{
		"alias": func() error { return f.UpdateAlias(ctx, account, id, "new", "") },
		"tags":  func() error { return f.Tag(ctx, account, id, map[string]string{"a": "b"}) },
		"configuration": func() error {
			_, err := f.UpdateConfiguration(ctx, account, id, ConfigurationChange{RetentionDays: number(3)}, "")
			return err
		},
		"policy": func() error { _, err := f.PutPolicy(ctx, account, id, allowAll, "", ""); return err },
	} {
		before, err := f.Lookup(ctx, id)
		require.NoError(t, err)
		require.NoError(t, change(), name)
		after, err := f.Lookup(ctx, id)
		require.NoError(t, err)
		require.NotEqual(t, before, after, name)
	}
	e, err = f.Lookup(ctx, id)
	require.NoError(t, err)
	require.Equal(t, []any{"new", allowAll, 3 * day, map[string]string{"a": "b"}}, []any{e.Alias, e.Policy, e.Settings.Retention, e.Tags})
	// So does, after a while, what another process does.
	_, err = f.db.NewUpdate().Model((*row)(nil)).Set("alias = ?", "elsewhere").Where("id = ?", id).Exec(ctx)
	require.NoError(t, err)
	e, err = f.Lookup(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "new", e.Alias)
	f.now = f.now.Add(f.cfg.CacheFor)
	e, err = f.Lookup(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "elsewhere", e.Alias)
	_, err = f.db.NewDelete().Model((*row)(nil)).Where("id = ?", id).Exec(ctx)
	require.NoError(t, err)
	f.now = f.now.Add(f.cfg.CacheFor)
	_, err = f.Lookup(ctx, id)
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, f.entries.byID)
	asked.reset()
	_, err = f.Lookup(ctx, "ws-../../etc")
	require.ErrorIs(t, err, ErrNotFound)
	require.Zero(t, asked.reset(), "what has not the form of an id is not looked for")
}

func TestDelete(t *testing.T) {
	f, ctx := open(t), t.Context()
	id := f.active(t)
	_, err := f.Lookup(ctx, id)
	require.NoError(t, err)
	require.NoError(t, f.Delete(ctx, account, id, ""))
	e, err := f.Lookup(ctx, id)
	require.NoError(t, err)
	require.Equal(t, StatusDeleting, e.Status)
	require.NoError(t, f.Reconcile(ctx))
	_, err = f.Lookup(ctx, id)
	require.ErrorIs(t, err, ErrNotFound)
}

// TestLookupDuringChanges looks for an older entry that is kept after a newer
// one was there to be read.
func TestLookupDuringChanges(t *testing.T) {
	f, ctx := open(t), t.Context()
	id := f.active(t)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = f.Lookup(ctx, id)
				}
			}
		})
	}
	for i := range 50 {
		alias := strings.Repeat("x", i+1)
		require.NoError(t, f.UpdateAlias(ctx, account, id, alias, ""))
		e, err := f.Lookup(ctx, id)
		require.NoError(t, err)
		require.Equal(t, alias, e.Alias)
	}
	close(stop)
	readers.Wait()
}

func TestDerive(t *testing.T) {
	settings := map[string]*Settings{"a": {Retention: day}}
	made := 0
	limits := Derive(func(id string) *Settings { return settings[id] }, func(s *Settings) *time.Duration {
		made++
		d := 2 * s.Retention
		return &d
	})
	first := limits("a")
	require.Equal(t, 2*day, *first)
	require.Same(t, first, limits("a"))
	require.Nil(t, limits("b"))
	require.Equal(t, 1, made)
	settings["a"] = &Settings{Retention: 3 * day}
	require.Equal(t, 6*day, *limits("a"))
	delete(settings, "a")
	require.Nil(t, limits("a"))
}

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111111111111"},"Action":"aps:QueryMetrics","Resource":"*"}]}`

func TestPolicy(t *testing.T) {
	f, ctx := open(t), t.Context()
	id := f.active(t)
	var missing *NotFoundError
	var conflict *ConflictError
	_, err := f.Policy(ctx, account, id)
	require.ErrorAs(t, err, &missing)
	require.Equal(t, &NotFoundError{TypePolicy, id}, missing)
	require.ErrorAs(t, f.DeletePolicy(ctx, account, id, "", ""), &missing)
	require.ErrorAs(t, f.DeletePolicy(ctx, account, id, "r", ""), &conflict)
	_, err = f.PutPolicy(ctx, account, id, allowAll, "r", "")
	require.ErrorAs(t, err, &conflict)
	first, err := f.PutPolicy(ctx, account, id, allowAll, NoPolicy, "token")
	require.NoError(t, err)
	again, err := f.PutPolicy(ctx, account, id, allowAll, NoPolicy, "token")
	require.NoError(t, err)
	require.Equal(t, first, again, "the same token has the same answer")
	_, err = f.PutPolicy(ctx, account, id, allowAll, "", "token")
	require.ErrorAs(t, err, &conflict)
	_, err = f.PutPolicy(ctx, account, id, allowAll, NoPolicy, "")
	require.ErrorAs(t, err, &conflict)
	second, err := f.PutPolicy(ctx, account, id, allowAll, first.RevisionID, "")
	require.NoError(t, err)
	require.NotEqual(t, first.RevisionID, second.RevisionID)
	got, err := f.Policy(ctx, account, id)
	require.NoError(t, err)
	require.Equal(t, second, got)
	_, err = f.Policy(ctx, otherAccount, id)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = f.PutPolicy(ctx, otherAccount, id, allowAll, "", "")
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorIs(t, f.DeletePolicy(ctx, otherAccount, id, "", ""), ErrNotFound)
	require.ErrorAs(t, f.DeletePolicy(ctx, account, id, first.RevisionID, ""), &conflict)
	require.NoError(t, f.DeletePolicy(ctx, account, id, second.RevisionID, "d"))
	require.NoError(t, f.DeletePolicy(ctx, account, id, second.RevisionID, "d"))
	var bad *InvalidError
	for _, document := range []string{"", "x", "{}", strings.Replace(allowAll, `"Principal":{"AWS":"111111111111"},`, "", 1), strings.Replace(allowAll, "{", "{"+strings.Repeat(" ", maxPolicy), 1)} {
		_, err = f.PutPolicy(ctx, account, id, document, "", "")
		require.ErrorAs(t, err, &bad, document)
		require.Equal(t, "policyDocument", bad.Field)
	}
}

func TestTokensExpire(t *testing.T) {
	f, ctx := open(t), t.Context()
	id := f.active(t)
	first, err := f.PutPolicy(ctx, account, id, allowAll, "", "token")
	require.NoError(t, err)
	f.now = f.now.Add(tokenLife + time.Second)
	second, err := f.PutPolicy(ctx, account, id, allowAll, "", "token")
	require.NoError(t, err)
	require.NotEqual(t, first.RevisionID, second.RevisionID)
	n, err := f.db.NewSelect().Model((*tokenRow)(nil)).Count(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// sinks are LogSinks that deliver to all but one.
type sinks struct{ bad string }

func (s sinks) Check(_ context.Context, _ LogKind, d LogDestination) error {
	if d.Target == s.bad {
		return errors.New("no route to it")
	}
	return nil
}

const logGroup = "arn:aws:logs:us-east-1:" + account + ":log-group:/aws/vendedlogs/a:*"

func TestLogs(t *testing.T) {
	f, ctx := open(t), t.Context()
	id := f.active(t)
	to := []LogDestination{{Target: logGroup, QSPThreshold: 100}}
	c, err := f.CreateLogConfiguration(ctx, account, id, LogQueries, to, "")
	require.NoError(t, err)
	require.Equal(t, []any{StatusCreationFailed, "This server does not deliver logs."}, []any{c.Status, c.StatusReason})
	require.Empty(t, f.Settings(id).QueryLogs)

	f.cfg.Logs, f.cfg.LogURLs = sinks{bad: "https://logs.example/down"}, []string{"https://logs.example"}
	f.now = f.now.Add(time.Second)
	c, err = f.UpdateLogConfiguration(ctx, account, id, LogQueries, to, "")
	require.NoError(t, err)
	require.Equal(t, &LogConfiguration{Destinations: to, Status: StatusActive, CreatedAt: f.now.Add(-time.Second), ModifiedAt: f.now}, c)
	require.Equal(t, to, f.Settings(id).QueryLogs)
	require.Nil(t, f.Settings(id).Log)
	var refused *RefusedError
	_, err = f.CreateLogConfiguration(ctx, account, id, LogQueries, to, "")
	require.ErrorAs(t, err, &refused)
	var missing *NotFoundError
	_, err = f.UpdateLogConfiguration(ctx, account, id, LogMessages, to, "")
	require.ErrorAs(t, err, &missing)
	require.ErrorAs(t, f.DeleteLogConfiguration(ctx, account, id, LogMessages, ""), &missing)
	url := []LogDestination{{Target: "https://logs.example/in?x=1"}}
	_, err = f.CreateLogConfiguration(ctx, account, id, LogMessages, url, "token")
	require.NoError(t, err)
	_, err = f.CreateLogConfiguration(ctx, account, id, LogMessages, url, "token")
	require.NoError(t, err)
	require.Equal(t, &url[0], f.Settings(id).Log)
	c, err = f.UpdateLogConfiguration(ctx, account, id, LogMessages, []LogDestination{{Target: "https://logs.example/down"}}, "")
	require.NoError(t, err)
	require.Equal(t, []any{StatusUpdateFailed, "no route to it"}, []any{c.Status, c.StatusReason})
	require.Nil(t, f.Settings(id).Log)
	require.NoError(t, f.DeleteLogConfiguration(ctx, account, id, LogMessages, "d"))
	require.NoError(t, f.DeleteLogConfiguration(ctx, account, id, LogMessages, "d"))
	_, err = f.LogConfiguration(ctx, account, id, LogMessages)
	require.ErrorAs(t, err, &missing)
	_, err = f.LogConfiguration(ctx, otherAccount, id, LogQueries)
	require.ErrorIs(t, err, ErrNotFound)
	var bad *InvalidError
	for _, target := range []string{"", "x", strings.TrimSuffix(logGroup, ":*"), strings.Replace(logGroup, account, otherAccount, 1), strings.Replace(logGroup, "us-east-1", "eu-west-1", 1),
		"https://elsewhere.example/", "http://logs.example/", "https://logs.example:8443/", "https://a@logs.example/", "https://logs.example/#x", "file:///etc/passwd", "http://169.254.169.254/latest"} {
		_, err = f.UpdateLogConfiguration(ctx, account, id, LogQueries, []LogDestination{{Target: target}}, "")
		require.ErrorAs(t, err, &bad, target)
	}
	_, err = f.UpdateLogConfiguration(ctx, account, id, LogQueries, []LogDestination{{Target: logGroup, QSPThreshold: -1}}, "")
	require.ErrorAs(t, err, &bad)
}

func TestLogFile(t *testing.T) {
	for name, want := range map[string]string{"a": "a.log", "/aws/x": "%2Faws%2Fx.log", "..": "...log", "../../etc/passwd": "..%2F..%2Fetc%2Fpasswd.log", "a#b": "a%23b.log"} {
		file, ok := LogDestination{Target: "arn:aws:logs:us-east-1:" + account + ":log-group:" + name + ":*"}.File()
		require.True(t, ok)
		require.Equal(t, account+"/"+want, file)
	}
	seen := map[string]bool{}
	for _, end := range []string{"a", "b"} {
		file, _ := LogDestination{Target: "arn:aws:logs:us-east-1:" + account + ":log-group:" + strings.Repeat("/", 511) + end + ":*"}.File()
		require.Less(t, len(file), 255)
		seen[file] = true
	}
	require.Len(t, seen, 2)
	_, ok := LogDestination{Target: "https://logs.example/"}.File()
	require.False(t, ok)
}

func TestKMSKey(t *testing.T) {
	f, ctx := open(t), t.Context()
	const key = "arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	var bad *InvalidError
	_, err := f.Create(ctx, account, CreateInput{KMSKeyARN: key})
	require.ErrorAs(t, err, &bad)
	require.ErrorContains(t, err, "not supported")
	f.cfg.CheckKMSKey = func(_ context.Context, account, _ string) error {
		if account == otherAccount {
			return errors.New("not yours")
		}
		return nil
	}
	w, err := f.Create(ctx, account, CreateInput{KMSKeyARN: key})
	require.NoError(t, err)
	require.Equal(t, key, w.KMSKeyARN)
	_, err = f.Create(ctx, otherAccount, CreateInput{KMSKeyARN: key})
	require.ErrorContains(t, err, "not yours")
	_, err = f.Create(ctx, account, CreateInput{KMSKeyARN: "arn:aws:kms:us-east-1:000000000000:alias/x"})
	require.ErrorAs(t, err, &bad)
}

// runner notes what it is told to run.
type runner struct {
	running map[string]string // configuration by id
	check   error
	err     error
}

func (r *runner) Check(context.Context, *Scraper) error { return r.check }

func (r *runner) Run(_ context.Context, s *Scraper) error {
	if r.err == nil {
		r.running[s.ID] = string(s.Configuration)
	}
	return r.err
}

func (r *runner) Stop(_ context.Context, id string) error {
	delete(r.running, id)
	return r.err
}

func scraperOf(ws string) Scraper {
	return Scraper{Configuration: []byte("a: 1"), WorkspaceARN: ARN("us-east-1", account, ws), Tags: map[string]string{"k": "v"},
		Source: ScraperSource{ClusterARN: "arn:aws:eks:us-east-1:000000000000:cluster/c", SubnetIDs: []string{"subnet-1"}}}
}

func TestScrapers(t *testing.T) {
	f, ctx := open(t), t.Context()
	id := f.active(t)
	in := scraperOf(id)
	var refused *RefusedError
	_, err := f.CreateScraper(ctx, account, in, "")
	require.ErrorAs(t, err, &refused, "nothing runs them")

	run := &runner{running: map[string]string{}}
	f.cfg.Scrapers = run
	s, err := f.CreateScraper(ctx, account, in, "token")
	require.NoError(t, err)
	require.True(t, ValidScraperID(s.ID))
	require.Equal(t, StatusCreating, s.Status)
	again, err := f.CreateScraper(ctx, account, in, "token")
	require.NoError(t, err)
	require.Equal(t, s, again)
	other := in
	other.Alias = "b"
	var conflict *ConflictError
	_, err = f.CreateScraper(ctx, account, other, "token")
	require.ErrorAs(t, err, &conflict)
	alias := "renamed"
	_, err = f.UpdateScraper(ctx, account, s.ID, ScraperChange{Alias: &alias}, "")
	require.ErrorAs(t, err, &conflict, "while it is made")
	state := func() string {
		got, err := f.Scraper(ctx, account, s.ID)
		require.NoError(t, err)
		return strings.TrimSpace(string(got.Status) + " " + got.StatusReason)
	}
	run.err = errors.New("no such cluster")
	require.NoError(t, f.Reconcile(ctx))
	require.Equal(t, "CREATION_FAILED no such cluster", state())
	run.err = nil
	started := false
	require.NoError(t, f.start(ctx, &started))
	require.Equal(t, "ACTIVE", state())
	require.Equal(t, map[string]string{s.ID: "a: 1"}, run.running)

	_, err = f.UpdateScraper(ctx, account, s.ID, ScraperChange{Alias: &alias, Configuration: []byte("a: 2")}, "")
	require.NoError(t, err)
	require.Equal(t, "UPDATING", state())
	require.NoError(t, f.Reconcile(ctx))
	require.Equal(t, map[string]string{s.ID: "a: 2"}, run.running)
	require.NoError(t, f.TagScraper(ctx, account, s.ID, map[string]string{"x": "y"}))
	require.NoError(t, f.UntagScraper(ctx, account, s.ID, []string{"k"}))
	got, err := f.Scraper(ctx, account, s.ID)
	require.NoError(t, err)
	require.Equal(t, []any{"renamed", map[string]string{"x": "y"}, StatusActive}, []any{got.Alias, got.Tags, got.Status})
	list, err := f.Scrapers(ctx, account)
	require.NoError(t, err)
	require.Equal(t, []*Scraper{got}, list)

	// Those of another account see nothing of it.
	var missing *NotFoundError
	_, err = f.Scraper(ctx, otherAccount, s.ID)
	require.ErrorAs(t, err, &missing)
	_, err = f.UpdateScraper(ctx, otherAccount, s.ID, ScraperChange{Alias: &alias}, "")
	require.ErrorAs(t, err, &missing)
	require.ErrorAs(t, f.DeleteScraper(ctx, otherAccount, s.ID, ""), &missing)
	require.ErrorAs(t, f.TagScraper(ctx, otherAccount, s.ID, nil), &missing)
	list, err = f.Scrapers(ctx, otherAccount)
	require.NoError(t, err)
	require.Empty(t, list)

	// A server that has lost its runner does not say that it scrapes.
	f.cfg.Scrapers = nil
	started = false
	require.NoError(t, f.start(ctx, &started))
	require.Contains(t, state(), "UPDATE_FAILED This server runs no scrapers")
	f.cfg.Scrapers = run

	require.NoError(t, f.DeleteScraper(ctx, account, s.ID, "d"))
	require.Equal(t, "DELETING", state())
	require.ErrorAs(t, f.DeleteScraper(ctx, account, s.ID, ""), &conflict)
	require.NoError(t, f.Reconcile(ctx))
	_, err = f.Scraper(ctx, account, s.ID)
	require.ErrorAs(t, err, &missing)
	require.Empty(t, run.running)
	require.NoError(t, f.DeleteScraper(ctx, account, s.ID, "d"))
	_, err = f.CreateScraper(ctx, account, in, "token")
	require.ErrorAs(t, err, &conflict)
}

func TestScraperRefuses(t *testing.T) {
	f, ctx := open(t), t.Context()
	run := &runner{running: map[string]string{}}
	f.cfg.Scrapers, f.cfg.MaxScrapers = run, 1
	id := f.active(t)
	for field, spoil := range map[string]func(*Scraper){
		"alias":            func(s *Scraper) { s.Alias = "-x" },
		"configuration":    func(s *Scraper) { s.Configuration = nil },
		"clusterArn":       func(s *Scraper) { s.Source.ClusterARN = "c" },
		"subnetIds":        func(s *Scraper) { s.Source.SubnetIDs = nil },
		"securityGroupIds": func(s *Scraper) { s.Source.SecurityGroupIDs = []string{"x"} },
		"tags":             func(s *Scraper) { s.Tags = map[string]string{"aws:x": "y"} },
		"workspaceArn":     func(s *Scraper) { s.WorkspaceARN = ARN("us-east-1", otherAccount, id) },
		"workspaceArn:":    func(s *Scraper) { s.WorkspaceARN = ARN("eu-west-1", account, id) },
	} {
		in := scraperOf(id)
		in.Tags = maps.Clone(in.Tags)
		spoil(&in)
		_, err := f.CreateScraper(ctx, account, in, "")
		var bad *InvalidError
		require.ErrorAs(t, err, &bad, field)
		require.ErrorContains(t, err, strings.TrimSuffix(field, ":"))
	}
	_, err := f.CreateScraper(ctx, account, scraperOf("ws-00000000-0000-0000-0000-000000000000"), "")
	var missing *NotFoundError
	require.ErrorAs(t, err, &missing)
	run.check = errors.New("line 1: not a configuration")
	var refused *RefusedError
	_, err = f.CreateScraper(ctx, account, scraperOf(id), "")
	require.ErrorAs(t, err, &refused)
	run.check = nil
	_, err = f.CreateScraper(ctx, account, scraperOf(id), "")
	require.NoError(t, err)
	var quota *QuotaError
	_, err = f.CreateScraper(ctx, account, scraperOf(id), "")
	require.ErrorAs(t, err, &quota)
	require.NoError(t, f.Delete(ctx, account, id, ""))
	var conflict *ConflictError
	_, err = f.CreateScraper(ctx, account, scraperOf(id), "")
	require.ErrorAs(t, err, &conflict)
}

func TestScraperLog(t *testing.T) {
	f, ctx := open(t), t.Context()
	run := &runner{running: map[string]string{}}
	f.cfg.Scrapers, f.cfg.Logs = run, sinks{}
	s, err := f.CreateScraper(ctx, account, scraperOf(f.active(t)), "")
	require.NoError(t, err)
	require.NoError(t, f.Reconcile(ctx))
	var missing *NotFoundError
	_, err = f.ScraperLog(ctx, account, s.ID)
	require.ErrorAs(t, err, &missing)
	l, err := f.SetScraperLog(ctx, account, s.ID, LogDestination{Target: logGroup}, nil)
	require.NoError(t, err)
	require.Len(t, l.Components, 3)
	got, err := f.Scraper(ctx, account, s.ID)
	require.NoError(t, err)
	require.Equal(t, StatusUpdating, got.Status, "the runner has to hear of it")
	require.NoError(t, f.Reconcile(ctx))
	l, err = f.SetScraperLog(ctx, account, s.ID, LogDestination{Target: logGroup}, []ScraperComponent{{Type: "COLLECTOR", Options: map[string]string{"a": "b"}}})
	require.NoError(t, err)
	require.Equal(t, &ScraperLog{Destination: LogDestination{Target: logGroup}, Components: l.Components, Status: StatusActive, ModifiedAt: f.now}, l)
	require.Equal(t, map[string]string{"a": "b"}, l.Components[0].Options)
	var bad *InvalidError
	for _, components := range [][]ScraperComponent{{{Type: "X"}}, {{Type: "EXPORTER"}, {Type: "EXPORTER"}}, {{Type: "EXPORTER", Options: map[string]string{"": "x"}}}} {
		_, err = f.SetScraperLog(ctx, account, s.ID, LogDestination{Target: logGroup}, components)
		require.ErrorAs(t, err, &bad)
	}
	_, err = f.SetScraperLog(ctx, otherAccount, s.ID, LogDestination{Target: strings.Replace(logGroup, account, otherAccount, 1)}, nil)
	require.ErrorAs(t, err, &missing)
	require.NoError(t, f.DeleteScraperLog(ctx, account, s.ID, "d"))
	require.NoError(t, f.DeleteScraperLog(ctx, account, s.ID, "d"))
	require.ErrorAs(t, f.DeleteScraperLog(ctx, account, s.ID, ""), &missing)
}

// TestRunTriesAgain stops a scraper that does not stop at once.
func TestRunTriesAgain(t *testing.T) {
	f, ctx := open(t), t.Context()
	run := &runner{running: map[string]string{}}
	f.cfg.Scrapers = run
	s, err := f.CreateScraper(ctx, account, scraperOf(f.active(t)), "")
	require.NoError(t, err)
	require.NoError(t, f.Reconcile(ctx))
	require.NoError(t, f.DeleteScraper(ctx, account, s.ID, ""))
	run.err = errors.New("busy")
	require.ErrorContains(t, f.Reconcile(ctx), "busy")
	run.err = nil
	require.NoError(t, f.Reconcile(ctx))
	list, err := f.Scrapers(ctx, account)
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestMigrationKeepsRecords(t *testing.T) {
	// The migration adds columns to tables that are in use.
	d, err := db.Open(t.Context(), t.TempDir()+"/test.db")
	require.NoError(t, err)
	defer func() { _ = d.Close() }()
	_, err = d.ExecContext(t.Context(), "INSERT INTO workspaces (id, account_id, region, alias, status, tags, created_at) VALUES ('ws-1', 'a', 'r', '', 'ACTIVE', '{}', 1)")
	require.NoError(t, err)
	_, err = d.ExecContext(t.Context(), "INSERT INTO workspace_tokens (account_id, operation, token, input, workspace_id, created_at) VALUES ('a', 'o', 't', 'i', 'ws-1', 1)")
	require.NoError(t, err)
}

// FuzzLogFile looks for a name that leaves the folder of logs.
func FuzzLogFile(f *testing.F) {
	for _, name := range []string{"a", "/aws/x", "../..", "a#b", strings.Repeat("./", 200)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		file, ok := LogDestination{Target: "arn:aws:logs:us-east-1:" + account + ":log-group:" + name + ":*"}.File()
		if !ok {
			return
		}
		folder, base := path.Split(file)
		require.Equal(t, account+"/", folder)
		require.True(t, len(base) > len(".log") && len(base) < 255 && !strings.ContainsAny(base, "\\\x00"), base)
		require.Equal(t, file, path.Clean(file))
	})
}
