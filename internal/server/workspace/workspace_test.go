package workspace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mangru/mangru/internal/db"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const account = "000000000000"

// storage notes what was asked of it and fails while err is set.
type storage struct {
	calls []string
	err   error
}

func (s *storage) Create(_ context.Context, id string) error {
	s.calls = append(s.calls, "create "+id)
	return s.err
}

func (s *storage) Remove(_ context.Context, id string) error {
	s.calls = append(s.calls, "remove "+id)
	return s.err
}

type fixture struct {
	*Service
	storage *storage
	now     time.Time
}

func open(t *testing.T) *fixture {
	t.Helper()
	d, err := db.Open(context.Background(), filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	f := &fixture{storage: &storage{}, now: time.UnixMilli(1_800_000_000_123).UTC()}
	f.Service, err = New(Config{Region: "us-east-1", MaxWorkspaces: 30, Now: func() time.Time { return f.now }}, d, f.storage, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	return f
}

func TestLifeCycle(t *testing.T) {
	f, ctx := open(t), context.Background()
	w, err := f.Create(ctx, account, CreateInput{Alias: "  a b ", Tags: map[string]string{"k": "v"}})
	require.NoError(t, err)
	require.True(t, ValidID(w.ID), w.ID)
	require.Equal(t, StatusCreating, w.Status)
	require.Equal(t, "a b", w.Alias)
	require.Equal(t, f.now, w.CreatedAt)
	region, acc, id, ok := ParseARN(w.ARN())
	require.True(t, ok)
	require.Equal(t, []string{"us-east-1", account, w.ID}, []string{region, acc, id})

	f.storage.err = errors.New("disk")
	require.ErrorContains(t, f.Reconcile(ctx), "disk")
	w, _ = f.Get(ctx, account, w.ID)
	require.Equal(t, StatusCreating, w.Status)
	f.storage.err = nil
	require.NoError(t, f.Reconcile(ctx))
	w, _ = f.Get(ctx, account, w.ID)
	require.Equal(t, StatusActive, w.Status)

	_, err = f.Get(ctx, "111111111111", w.ID)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorIs(t, f.Delete(ctx, "111111111111", w.ID, ""), ErrNotFound)
	require.NoError(t, f.Delete(ctx, account, w.ID, ""))
	w, _ = f.Get(ctx, account, w.ID)
	require.Equal(t, StatusDeleting, w.Status)
	var conflict *ConflictError
	require.ErrorAs(t, f.Delete(ctx, account, w.ID, ""), &conflict)
	require.ErrorAs(t, f.UpdateAlias(ctx, account, w.ID, "x", ""), &conflict)
	require.ErrorAs(t, f.Tag(ctx, account, w.ID, map[string]string{"a": "b"}), &conflict)
	require.NoError(t, f.Reconcile(ctx))
	_, err = f.Get(ctx, account, w.ID)
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, "remove "+w.ID, f.storage.calls[len(f.storage.calls)-1])
}

func TestRunWorksOffWhatIsLeft(t *testing.T) {
	f := open(t)
	ctx, cancel := context.WithCancel(context.Background())
	w, err := f.Create(ctx, account, CreateInput{})
	require.NoError(t, err)
	<-f.kick // as after a crash: nobody says that there is work
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	require.Eventually(t, func() bool {
		got, err := f.Get(context.Background(), account, w.ID)
		return err == nil && got.Status == StatusActive
	}, 5*time.Second, time.Millisecond)
	require.NoError(t, f.Delete(context.Background(), account, w.ID, ""))
	require.Eventually(t, func() bool {
		_, err := f.Get(context.Background(), account, w.ID)
		return errors.Is(err, ErrNotFound)
	}, 5*time.Second, time.Millisecond)
	cancel()
	require.NoError(t, <-done)
}

func TestClientToken(t *testing.T) {
	f, ctx := open(t), context.Background()
	in := CreateInput{Alias: "a", Tags: map[string]string{"x": "1", "y": "2"}, ClientToken: "token-1"}
	first, err := f.Create(ctx, account, in)
	require.NoError(t, err)
	again, err := f.Create(ctx, account, in)
	require.NoError(t, err)
	require.Equal(t, first, again)
	other := in
	other.Alias = "b"
	var conflict *ConflictError
	_, err = f.Create(ctx, account, other)
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, first.ID, conflict.ID)
	elsewhere, err := f.Create(ctx, "111111111111", in) // tokens are an account's own
	require.NoError(t, err)
	require.NotEqual(t, first.ID, elsewhere.ID)
	f.now = f.now.Add(tokenLife + time.Second)
	later, err := f.Create(ctx, account, in)
	require.NoError(t, err)
	require.NotEqual(t, first.ID, later.ID)
	require.NoError(t, f.Delete(ctx, account, later.ID, "d"))
	require.NoError(t, f.Delete(ctx, account, later.ID, "d"))
	require.NoError(t, f.Reconcile(ctx))
	_, err = f.Create(ctx, account, in)
	require.ErrorAs(t, err, &conflict)
}

func TestListPagesAndFilters(t *testing.T) {
	f, ctx := open(t), context.Background()
	want := map[string][]string{}
	for i := range 25 {
		prefix := []string{"eks-", "EKS-", "e_s-", "é-", ""}[i%5]
		alias := ""
		if prefix != "" {
			alias = prefix + fmt.Sprint(i)
		}
		w, err := f.Create(ctx, account, CreateInput{Alias: alias})
		require.NoError(t, err)
		want[prefix] = append(want[prefix], w.ID)
		want["all"] = append(want["all"], w.ID)
		if i%3 == 0 {
			f.now = f.now.Add(time.Millisecond) // some share their time
		}
	}
	for prefix, ids := range want {
		filter := prefix
		if prefix == "" {
			continue
		}
		if prefix == "all" {
			filter = ""
		}
		for _, size := range []int{1, 3, 25, 100} {
			var got []string
			in := ListInput{AliasPrefix: filter, MaxResults: size}
			for {
				page, next, err := f.List(ctx, account, in)
				require.NoError(t, err)
				require.LessOrEqual(t, len(page), size)
				for _, w := range page {
					got = append(got, w.ID)
				}
				if next == "" {
					break
				}
				in.NextToken = next
			}
			require.ElementsMatch(t, ids, got, "%q by %d", prefix, size)
		}
	}
	var bad *InvalidError
	for _, in := range []ListInput{{MaxResults: 1001}, {MaxResults: -1}, {NextToken: "x"}, {AliasPrefix: strings.Repeat("a", 101)}} {
		_, _, err := f.List(ctx, account, in)
		require.ErrorAs(t, err, &bad, in)
	}
	_, next, err := f.List(ctx, account, ListInput{AliasPrefix: "eks-", MaxResults: 1})
	require.NoError(t, err)
	_, _, err = f.List(ctx, account, ListInput{AliasPrefix: "EKS-", NextToken: next})
	require.ErrorAs(t, err, &bad)
	none, _, err := f.List(ctx, "111111111111", ListInput{})
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestTags(t *testing.T) {
	f, ctx := open(t), context.Background()
	w, err := f.Create(ctx, account, CreateInput{Tags: map[string]string{"a": "1"}})
	require.NoError(t, err)
	require.NoError(t, f.Tag(ctx, account, w.ID, map[string]string{"a": "2", "b": ""}))
	require.NoError(t, f.Untag(ctx, account, w.ID, []string{"b", "never"}))
	w, _ = f.Get(ctx, account, w.ID)
	require.Equal(t, map[string]string{"a": "2"}, w.Tags)
	many := map[string]string{}
	for i := range maxTags {
		many[fmt.Sprint(i)] = "x"
	}
	var bad *InvalidError
	for _, tags := range []map[string]string{many, {"": "x"}, {"aws:x": "y"}, {"AWS:x": "y"}, {"k": strings.Repeat("v", 257)}, {"k": "a\nb"}, {strings.Repeat("k", 129): ""}} {
		require.ErrorAs(t, f.Tag(ctx, account, w.ID, tags), &bad)
	}
	require.ErrorIs(t, f.Tag(ctx, account, "ws-none", map[string]string{"a": "b"}), ErrNotFound)
}

func TestCreateRefuses(t *testing.T) {
	f, ctx := open(t), context.Background()
	var bad *InvalidError
	for _, in := range []CreateInput{{Alias: strings.Repeat("a", 101)}, {Alias: "a\x00b"}, {ClientToken: strings.Repeat("t", 65)}, {ClientToken: "a b"}} {
		_, err := f.Create(ctx, account, in)
		require.ErrorAs(t, err, &bad)
	}
	for range f.cfg.MaxWorkspaces {
		_, err := f.Create(ctx, account, CreateInput{Alias: "same"}) // aliases need not be unique
		require.NoError(t, err)
	}
	_, err := f.Create(ctx, account, CreateInput{})
	var quota *QuotaError
	require.ErrorAs(t, err, &quota)
	require.ErrorContains(t, err, "max_workspaces")
}

func TestEnsure(t *testing.T) {
	f, ctx := open(t), context.Background()
	_, err := f.Create(ctx, account, CreateInput{Alias: "default-2"})
	require.NoError(t, err)
	w, err := f.Ensure(ctx, account, "default")
	require.NoError(t, err)
	require.Equal(t, StatusActive, w.Status)
	again, err := f.Ensure(ctx, account, "default")
	require.NoError(t, err)
	require.Equal(t, w.ID, again.ID)
	require.NoError(t, f.Delete(ctx, account, w.ID, ""))
	fresh, err := f.Ensure(ctx, account, "default")
	require.NoError(t, err)
	require.NotEqual(t, w.ID, fresh.ID)
}

func TestValidID(t *testing.T) {
	for _, id := range []string{"", "..", "ws-../../etc", "ws-00000000-0000-0000-0000-00000000000G", "ws-00000000-0000-0000-0000-000000000000/x"} {
		require.False(t, ValidID(id), id)
	}
}
