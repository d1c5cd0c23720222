package addon

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/server/cluster"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
}

const mine = "000000000000"

// pretended is an installer whose cluster is a string.
type pretended struct {
	mu        sync.Mutex
	installed string
	fail      error         // of the next installation or removal
	broken    error         // what Check finds
	hold      chan struct{} // where not nil, installations wait for it
	calls     []string
}

func (p *pretended) CheckConfiguration(text string) error {
	if text == "bad" {
		return errors.New("line 1: bad")
	}
	return nil
}

func (p *pretended) Install(ctx context.Context, a *Addon) error {
	p.mu.Lock()
	hold := p.hold
	p.calls = append(p.calls, "install "+a.Version)
	p.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	p.installed, p.broken = a.Version, nil
	return nil
}

func (p *pretended) Remove(context.Context, *Addon) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, "remove")
	if p.fail == nil {
		p.installed = ""
	}
	return p.fail
}

func (p *pretended) Check(context.Context, *Addon) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

func (p *pretended) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

type lab struct {
	t        *testing.T
	s        *Service
	p        *pretended
	clusters *cluster.Service
	records  *bun.DB
	stop     func()
}

func newLab(t *testing.T) *lab {
	t.Helper()
	records, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "mangru.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	l := &lab{t: t, p: &pretended{}, records: records}
	l.clusters, err = cluster.New(cluster.Config{Region: "us-east-1"}, records)
	require.NoError(t, err)
	_, err = l.clusters.Register(t.Context(), mine, cluster.RegisterInput{Name: "prod", Registration: cluster.Registration{Issuer: "https://issuer.example"}})
	require.NoError(t, err)
	l.start()
	t.Cleanup(func() { l.stop() })
	return l
}

// start begins as a server does.
func (l *lab) start() {
	l.t.Helper()
	var err error
	l.s, err = New(Config{Clusters: l.clusters, Installer: l.p, Logger: slog.New(slog.DiscardHandler), CheckEvery: 5 * time.Millisecond}, l.records)
	require.NoError(l.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.s.Run(ctx)
	}()
	l.stop = func() {
		cancel()
		<-done
	}
}

func (l *lab) create() {
	l.t.Helper()
	a, err := l.s.Create(l.t.Context(), mine, "prod", Name, Spec{}, nil, "")
	require.NoError(l.t, err)
	require.Regexp(l.t, `^arn:aws:eks:us-east-1:000000000000:addon/prod/adot/[0-9a-f-]{36}$`, a.ARN())
}

// becomes waits for a state and returns the add-on then.
func (l *lab) becomes(want Status) (got *Addon) {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		var err error
		got, err = l.s.Get(l.t.Context(), mine, "prod", Name)
		return err == nil && got.Status == want
	}, 30*time.Second, 2*time.Millisecond, "%s", want)
	return got
}

func TestLife(t *testing.T) {
	l := newLab(t)
	hold := make(chan struct{})
	l.p.set(func() { l.p.hold = hold })
	l.create()
	require.Equal(t, Creating, l.becomes(Creating).Status)
	_, err := l.s.Create(t.Context(), mine, "prod", Name, Spec{}, nil, "")
	var exists *cluster.ExistsError
	require.ErrorAs(t, err, &exists)
	_, err = l.s.Change(t.Context(), mine, "prod", Name, Spec{})
	require.ErrorAs(t, err, &exists, "it is being created")
	close(hold)
	require.Empty(t, l.becomes(Active).Issues)

	// Somebody takes something away, and brings it back.
	l.p.set(func() {
		l.p.broken = errors.Join(&Issue{Code: K8sResourceNotFound, Message: "gone"}, &Issue{Code: InsufficientNumberOfReplicas, Message: "0 of 1", ResourceIDs: []string{"Deployment x"}})
	})
	require.Equal(t, []Issue{{K8sResourceNotFound, "gone", []string{}}, {InsufficientNumberOfReplicas, "0 of 1", []string{"Deployment x"}}}, l.becomes(Degraded).Issues)
	l.p.set(func() { l.p.broken = nil })
	require.Empty(t, l.becomes(Active).Issues)

	// An update, and one that fails.
	other := "v0.74.0-eksbuild.1"
	u, err := l.s.Change(t.Context(), mine, "prod", Name, Spec{Version: &other})
	require.NoError(t, err)
	require.Equal(t, []Param{{"AddonVersion", other}}, u.Params)
	l.becomes(Active)
	u, err = l.s.GetUpdate(t.Context(), mine, "prod", Name, u.ID)
	require.NoError(t, err)
	require.Equal(t, successful, u.Status)
	l.p.set(func() { require.Equal(t, other, l.p.installed) })
	l.p.set(func() { l.p.fail = &Issue{Code: AccessDenied, Message: "no"} })
	u, err = l.s.Change(t.Context(), mine, "prod", Name, Spec{})
	require.NoError(t, err)
	l.becomes(UpdateFailed)
	u, err = l.s.GetUpdate(t.Context(), mine, "prod", Name, u.ID)
	require.NoError(t, err)
	require.Equal(t, []UpdateError{{AccessDenied, "no", []string{}}}, u.Errors)

	// What cannot be removed says so, and is removed when it can.
	_, err = l.s.Delete(t.Context(), mine, "prod", Name, false)
	require.NoError(t, err)
	require.Equal(t, AccessDenied, l.becomes(DeleteFailed).Issues[0].Code)
	l.p.set(func() { l.p.fail = nil })
	_, err = l.s.Delete(t.Context(), mine, "prod", Name, false)
	require.NoError(t, err)
	l.gone()
	l.p.set(func() { require.Empty(t, l.p.installed) })
}

func (l *lab) gone() {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		_, err := l.s.Get(l.t.Context(), mine, "prod", Name)
		var missing *cluster.NotFoundError
		return errors.As(err, &missing)
	}, 30*time.Second, 2*time.Millisecond)
}

// TestInterrupted: what a stop has interrupted goes on after it.
func TestInterrupted(t *testing.T) {
	l := newLab(t)
	hold := make(chan struct{})
	l.p.set(func() { l.p.hold = hold })
	l.create()
	require.Eventually(t, func() bool {
		l.p.mu.Lock()
		defer l.p.mu.Unlock()
		return len(l.p.calls) == 1
	}, 30*time.Second, time.Millisecond)
	l.stop()
	require.Equal(t, Creating, l.becomes(Creating).Status)
	close(hold)
	l.start()
	l.becomes(Active)
}

// TestFailures have EKS' states and codes.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Status
		code string
	}{
		{&Issue{Code: ClusterUnreachable, Message: "x"}, CreateFailed, ClusterUnreachable},
		{&Issue{Code: ConfigurationConflict, Message: "x"}, CreateFailed, ConfigurationConflict},
		{&Issue{Code: InsufficientNumberOfReplicas, Message: "x"}, Degraded, InsufficientNumberOfReplicas},
		{errors.New("x"), CreateFailed, InternalFailure},
	} {
		l := newLab(t)
		l.p.set(func() { l.p.fail, l.p.broken = c.err, c.err })
		l.create()
		require.Equal(t, c.code, l.becomes(c.want).Issues[0].Code)
		l.stop()
	}
}

func TestPreserveAndRepeat(t *testing.T) {
	l := newLab(t)
	a, err := l.s.Create(t.Context(), mine, "prod", Name, Spec{}, map[string]string{"a": "b"}, "token")
	require.NoError(t, err)
	again, err := l.s.Create(t.Context(), mine, "prod", Name, Spec{}, map[string]string{"a": "b"}, "token")
	require.NoError(t, err)
	require.Equal(t, a.ID, again.ID)
	l.becomes(Active)
	_, err = l.s.Delete(t.Context(), mine, "prod", Name, true)
	require.NoError(t, err)
	l.gone()
	l.p.set(func() { require.NotEmpty(t, l.p.installed) })

	// The record goes with its cluster's.
	l.create()
	_, err = l.clusters.Deregister(t.Context(), mine, "prod")
	require.NoError(t, err)
	n, err := l.records.NewSelect().Model((*row)(nil)).Count(t.Context())
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestBadInput(t *testing.T) {
	l := newLab(t)
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		name string
		in   Spec
		says string
	}{
		{"vpc-cni", Spec{}, `addonName: found "vpc-cni", allowed is adot`},
		{Name, Spec{Version: text("1")}, "addonVersion"},
		{Name, Spec{Conflicts: "MAYBE"}, "resolveConflicts"},
		{Name, Spec{RoleARN: text("me")}, "serviceAccountRoleArn"},
		{Name, Spec{Configuration: text("bad")}, "configurationValues: line 1: bad"},
	} {
		_, err := l.s.Create(t.Context(), mine, "prod", c.name, c.in, nil, "")
		var invalid *cluster.InvalidError
		require.ErrorAs(t, err, &invalid)
		require.ErrorContains(t, err, c.says)
	}
	_, err := l.s.Create(t.Context(), mine, "other", Name, Spec{}, nil, "")
	require.ErrorContains(t, err, "No cluster found for name: other.")
	_, err = l.s.Get(t.Context(), mine, "prod", Name)
	require.EqualError(t, err, "No addon: adot found in cluster: prod")
	_, err = l.s.List(t.Context(), "111111111111", "prod")
	require.Error(t, err, "it is another account's")
}
