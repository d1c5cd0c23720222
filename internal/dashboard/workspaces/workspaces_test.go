package workspaces

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/auth/iam"
	"github.com/mangru/mangru/internal/dashboard/caller"
	"github.com/mangru/mangru/internal/db"
	"github.com/mangru/mangru/internal/people/directory"
)

type fixture struct {
	*Service
	t      *testing.T
	dir    *directory.Directory
	store  string
	purged []string
	fail   error
}

func open(t *testing.T) *fixture {
	t.Helper()
	records, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "test.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	f := &fixture{t: t, dir: directory.New(directory.Config{}, records)}
	store, err := f.dir.Store(t.Context(), iam.DefaultAccount)
	require.NoError(t, err)
	f.store = store.ID
	f.Service, err = New(Config{Region: "us-east-1", Directory: f.dir, Purge: func(_ context.Context, key string) error {
		f.purged = append(f.purged, key)
		return f.fail
	}}, records)
	require.NoError(t, err)
	return f
}

func (f *fixture) person(name string, admin bool) *directory.User {
	f.t.Helper()
	u := directory.User{StoreID: f.store, UserName: name, Administrator: admin}
	u.Profile.DisplayName = name
	u, err := f.dir.CreateUser(f.t.Context(), "test", u)
	require.NoError(f.t, err)
	return &u
}

func (f *fixture) group(name string, members ...*directory.User) string {
	f.t.Helper()
	g, err := f.dir.CreateGroup(f.t.Context(), "test", directory.Group{StoreID: f.store, DisplayName: name})
	require.NoError(f.t, err)
	for _, m := range members {
		_, err := f.dir.AddMember(f.t.Context(), "test", f.store, g.ID, m.ID)
		require.NoError(f.t, err)
	}
	return g.ID
}

func (f *fixture) workspace(name string) *Workspace {
	f.t.Helper()
	w, err := f.Create(f.t.Context(), iam.DefaultAccount, CreateInput{Name: name,
		Spec: Spec{AccountAccessType: "CURRENT_ACCOUNT", PermissionType: "SERVICE_MANAGED", Providers: []string{ProviderSSO}}})
	require.NoError(f.t, err)
	return w
}

func (f *fixture) role(w *Workspace, u *directory.User) caller.Role {
	f.t.Helper()
	r, err := f.RoleOf(f.t.Context(), w, u)
	if errors.Is(err, ErrNoAccess) {
		return caller.RoleNone
	}
	require.NoError(f.t, err)
	return r
}

func TestHighestRoleWins(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	w := f.workspace("x")
	ann, boss := f.person("ann", false), f.person("boss", true)
	require.Equal(t, caller.RoleNone, f.role(w, ann), "nobody is in a new workspace")
	require.Equal(t, caller.RoleNone, f.role(w, boss), "nor is an administrator of the installation")

	readers, editors := f.group("readers", ann), f.group("editors", ann)
	for _, step := range []struct {
		who  Subject
		role Role
		want caller.Role
	}{
		{Subject{readers, KindGroup}, RoleViewer, caller.RoleViewer},
		{Subject{editors, KindGroup}, RoleEditor, caller.RoleEditor},
		{Subject{ann.ID, KindUser}, RoleViewer, caller.RoleEditor},
		{Subject{ann.ID, KindUser}, RoleAdmin, caller.RoleAdmin},
	} {
		require.NoError(t, f.Grant(ctx, "test", w, step.who, step.role))
		require.Equal(t, step.want, f.role(w, ann))
	}
	require.NoError(t, f.Revoke(ctx, w, Subject{ann.ID, KindUser}, RoleAdmin))
	require.Equal(t, caller.RoleEditor, f.role(w, ann), "what her groups give stays")
	m, err := f.dir.MembershipOf(ctx, f.store, editors, ann.ID)
	require.NoError(t, err)
	require.NoError(t, f.dir.RemoveMember(ctx, f.store, m.ID))
	require.Equal(t, caller.RoleViewer, f.role(w, ann), "and goes with the group, at once")

	disabled := *ann
	disabled.Disabled = true
	require.Equal(t, caller.RoleNone, f.role(w, &disabled))
	outside := *ann
	outside.StoreID = "d-0000000000"
	require.Equal(t, caller.RoleNone, f.role(w, &outside), "people of another directory have no role, whatever their id")
	saml, err := f.UpdateAuthentication(ctx, iam.DefaultAccount, w.ID, []string{ProviderSAML}, nil)
	require.NoError(t, err)
	require.Equal(t, caller.RoleNone, f.role(saml, ann), "the directory counts only where it is a provider")
}

func TestDefaultWorkspace(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	w, err := f.EnsureDefault(ctx, iam.DefaultAccount)
	require.NoError(t, err)
	again, err := f.EnsureDefault(ctx, iam.DefaultAccount)
	require.NoError(t, err)
	require.Equal(t, w, again)
	ann, boss := f.person("ann", false), f.person("boss", true)
	require.Equal(t, caller.RoleViewer, f.role(w, ann))
	require.Equal(t, caller.RoleAdmin, f.role(w, boss))
	w, err = f.Change(ctx, iam.DefaultAccount, w.ID, func(w *Workspace) error { w.BaseRole = ""; return nil })
	require.NoError(t, err)
	require.Equal(t, caller.RoleNone, f.role(w, ann))
	var conflict *ConflictError
	_, err = f.Delete(ctx, iam.DefaultAccount, w.ID)
	require.ErrorAs(t, err, &conflict)
	_, err = f.UpdateAuthentication(ctx, iam.DefaultAccount, w.ID, []string{ProviderSAML}, nil)
	require.ErrorAs(t, err, &conflict, "nobody locks everybody out of it")
}

func TestWhoIsInAndWhere(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	def, err := f.EnsureDefault(ctx, iam.DefaultAccount)
	require.NoError(t, err)
	ann, bob := f.person("ann", false), f.person("bob", false)
	w := f.workspace("x")
	require.NoError(t, f.Grant(ctx, "test", w, Subject{f.group("g", bob), KindGroup}, RoleEditor))
	require.NoError(t, f.Grant(ctx, "test", w, Subject{ann.ID, KindUser}, RoleAdmin))
	list, err := f.Members(ctx, w)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, []caller.Role{caller.RoleAdmin, caller.RoleEditor}, []caller.Role{list[0].Role, list[1].Role})
	all, err := f.Members(ctx, def)
	require.NoError(t, err)
	require.Len(t, all, 2)
	entries, err := f.Of(ctx, iam.DefaultAccount, bob)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.Equal(t, caller.RoleEditor, entries[1].Role)
	require.NoError(t, f.dir.DeleteUser(ctx, f.store, ann.ID))
	list, err = f.Members(ctx, w)
	require.NoError(t, err)
	require.Len(t, list, 1, "who is deleted is in no workspace")
}

// A deletion that was interrupted lets nobody in, and is ended at the next start.
func TestInterruptedDeletion(t *testing.T) {
	f := open(t)
	ctx := t.Context()
	w := f.workspace("x")
	f.fail = errors.New("out of disk")
	_, err := f.Delete(ctx, iam.DefaultAccount, w.ID)
	require.ErrorIs(t, err, f.fail)
	_, err = f.Open(ctx, w.ID)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = f.Change(ctx, iam.DefaultAccount, w.ID, func(*Workspace) error { return nil })
	var conflict *ConflictError
	require.ErrorAs(t, err, &conflict)
	f.fail = nil
	require.NoError(t, f.Resume(ctx))
	_, err = f.Get(ctx, iam.DefaultAccount, w.ID)
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, []string{w.Key, w.Key}, f.purged)
}

func FuzzConfiguration(f *testing.F) {
	f.Add(`{"plugins":{"pluginAdminEnabled":true}}`)
	f.Add(`{"unifiedAlerting":{"enabled":1}}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		var bad *InvalidError
		if err := checkConfiguration(text); err != nil && !errors.As(err, &bad) {
			t.Fatalf("%q: %v", text, err)
		}
		if _, _, id, ok := ParseARN(text); ok && !ValidID(id) {
			t.Fatalf("%q names %q", text, id)
		}
	})
}
