package app

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDashboardWorkspacesByCommands(t *testing.T) {
	s := newIdentityServer(t)
	s.ok("person", "create", "ann", "--email", "ann@example.com", "--given-name", "Ann", "--family-name", "Lee")
	s.ok("person", "group", "create", "SRE")
	require.Contains(t, s.ok("dashboard-workspace", "create", "eks-workshop", "--description", "a try"), "/w/g-")
	require.Contains(t, s.ok("dashboard-workspace", "list"), "eks-workshop")
	require.Contains(t, s.ok("dashboard-workspace", "grant", "eks-workshop", "admin", "ann", "--group", "SRE"), "ADMIN granted for ann, SRE")
	shown := s.ok("dashboard-workspace", "permissions", "eks-workshop")
	require.Regexp(t, `ADMIN\s+user\s+ann\s`, shown)
	require.Regexp(t, `ADMIN\s+group\s+SRE\s`, shown)
	s.ok("dashboard-workspace", "grant", "eks-workshop", "viewer", "ann") // one role a person
	require.Regexp(t, `VIEWER\s+user\s+ann\s`, s.ok("dashboard-workspace", "permissions", "eks-workshop"))
	s.fails(1, "does not have the role", "dashboard-workspace", "revoke", "eks-workshop", "admin", "ann")
	s.ok("dashboard-workspace", "revoke", "eks-workshop", "viewer", "ann")
	require.NotContains(t, s.ok("dashboard-workspace", "permissions", "eks-workshop"), "ann")
	s.fails(2, "allowed are viewer, editor and admin", "dashboard-workspace", "grant", "eks-workshop", "owner", "ann")
	s.fails(2, "name a person", "dashboard-workspace", "grant", "eks-workshop", "admin")
	s.fails(1, "no person", "dashboard-workspace", "grant", "eks-workshop", "admin", "bob")
	s.fails(1, "no dashboard workspace", "dashboard-workspace", "delete", "other")
	s.ok("dashboard-workspace", "delete", "eks-workshop")
	require.NotContains(t, s.ok("dashboard-workspace", "list"), "eks-workshop")
}
