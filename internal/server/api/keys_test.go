package api

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/auth/sigv4"
)

// countingStore counts what it is asked.
type countingStore struct {
	asked   map[string]int
	keys    map[string]bool
	changes uint64
	fail    error
}

func (s *countingStore) LookupKey(_ context.Context, id string) (iam.AccessKey, error) {
	s.asked[id]++
	if s.fail != nil {
		return iam.AccessKey{}, s.fail
	}
	if !s.keys[id] {
		return iam.AccessKey{}, fmt.Errorf("key: %w", iam.ErrNoSuchEntity)
	}
	return iam.AccessKey{ID: id, Secret: "s"}, nil
}

func (s *countingStore) Changes() uint64 { return s.changes }

func TestMadeUpKeysAreCheap(t *testing.T) {
	store := &countingStore{asked: map[string]int{}, keys: map[string]bool{"AKIAGOOD": true, "AKIANEW": true}}
	now := time.Unix(0, 0)
	k := Keys(store)
	k.now = func() time.Time { return now }
	lookup := func(id string) error {
		_, err := k.LookupKey(context.Background(), id, "")
		return err
	}
	require.NoError(t, lookup("AKIAGOOD"))

	// One made-up id over and over, then many.
	for range 1000 {
		require.ErrorIs(t, lookup("AKIAFAKE"), sigv4.ErrUnknownKey)
	}
	require.Equal(t, 1, store.asked["AKIAFAKE"])
	throttled := 0
	for i := range 10_000 {
		err := lookup(fmt.Sprint("AKIAFAKE", i))
		if errors.Is(err, sigv4.ErrThrottled) {
			throttled++
		} else {
			require.ErrorIs(t, err, sigv4.ErrUnknownKey)
		}
		if i%100 == 0 {
			require.NoError(t, lookup("AKIAGOOD"), "who was good before is not held up")
		}
	}
	require.Equal(t, 10_000-(strangersPerSecond-2), throttled)
	require.Len(t, store.asked, 2+strangersPerSecond-2)
	require.ErrorIs(t, lookup("AKIANEW"), sigv4.ErrThrottled, "which clients try again")
	now = now.Add(time.Second)
	require.NoError(t, lookup("AKIANEW"))

	// A refusal is not forever.
	store.keys["AKIAFAKE"] = true
	require.ErrorIs(t, lookup("AKIAFAKE"), sigv4.ErrUnknownKey)
	now = now.Add(absentFor)
	require.NoError(t, lookup("AKIAFAKE"))
}

func TestNewKeyIsGoodAtOnce(t *testing.T) {
	store := &countingStore{asked: map[string]int{}, keys: map[string]bool{}}
	k := Keys(store)
	_, err := k.LookupKey(context.Background(), "AKIA1", "")
	require.ErrorIs(t, err, sigv4.ErrUnknownKey)
	store.keys["AKIA1"], store.changes = true, 1
	_, err = k.LookupKey(context.Background(), "AKIA1", "")
	require.NoError(t, err)
	delete(store.keys, "AKIA1")
	_, err = k.LookupKey(context.Background(), "AKIA1", "")
	require.ErrorIs(t, err, sigv4.ErrUnknownKey)
}

func TestStoreFailureIsNotRemembered(t *testing.T) {
	store := &countingStore{asked: map[string]int{}, keys: map[string]bool{"AKIA1": true}, fail: errors.New("database is down")}
	k := Keys(store)
	_, err := k.LookupKey(context.Background(), "AKIA1", "")
	require.ErrorIs(t, err, store.fail)
	store.fail = nil
	_, err = k.LookupKey(context.Background(), "AKIA1", "")
	require.NoError(t, err)
}

func TestGenerationsAreBounded(t *testing.T) {
	g := generations[int]{limit: 10}
	for i := range 1000 {
		g.put(fmt.Sprint(i), i)
		g.put("used", 0)
		_, ok := g.get("used")
		require.True(t, ok)
		require.LessOrEqual(t, len(g.young)+len(g.old), 20)
	}
	_, ok := g.get("5")
	require.False(t, ok)
	g.remove("used")
	_, ok = g.get("used")
	require.False(t, ok)
}
