package cluster

import (
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/db"
)

const (
	account = "000000000000"
	other   = "111111111111"
	role    = "arn:aws:iam::000000000000:role/writer"
	keys    = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
)

func newService(t *testing.T, change func(*Config)) *Service {
	t.Helper()
	records, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "mangru.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, records.Close()) })
	cfg := Config{Region: "us-east-1"}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg, records)
	require.NoError(t, err)
	return s
}

func registration() Registration {
	return Registration{Version: "1.34", Endpoint: "https://10.0.0.1:6443", Issuer: "https://kubernetes.default.svc.cluster.local",
		JWKS: keys, InternalURL: "https://10.0.0.1:6443"}
}

func register(t *testing.T, s *Service, acc, name string) *Cluster {
	t.Helper()
	c, err := s.Register(t.Context(), acc, RegisterInput{Name: name, Registration: registration()})
	require.NoError(t, err)
	return c
}

func TestRegister(t *testing.T) {
	at := time.UnixMilli(1800000000123).UTC()
	s := newService(t, func(c *Config) { c.Now = func() time.Time { return at } })
	in := RegisterInput{Name: "prod", Tags: map[string]string{"env": "prod"}, ClientToken: "t1", Registration: registration()}
	in.Registration.Connector = Connector{Provider: "OTHER"}
	c, err := s.Register(t.Context(), account, in)
	require.NoError(t, err)
	require.Equal(t, "arn:aws:eks:us-east-1:000000000000:cluster/prod", c.ARN())
	require.Equal(t, in.Registration, c.Registration)
	require.Equal(t, in.Tags, c.Tags)
	require.Equal(t, at, c.CreatedAt)

	again, err := s.Register(t.Context(), account, in)
	require.NoError(t, err)
	require.Equal(t, c, again, "the same client token gives the same answer")

	in.Registration.Version = "1.35"
	_, err = s.Register(t.Context(), account, in)
	var invalid *InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "clientRequestToken", invalid.Field)

	in.ClientToken = "t2"
	_, err = s.Register(t.Context(), account, in)
	var exists *ExistsError
	require.ErrorAs(t, err, &exists)
	require.Equal(t, "Cluster already exists with name: prod", exists.Message)

	_, err = s.Get(t.Context(), other, "prod")
	require.ErrorContains(t, err, "No cluster found for name: prod.")
	var missing *NotFoundError
	require.ErrorAs(t, err, &missing)

	register(t, s, other, "prod") // names are per account
	all, err := s.Named(t.Context(), "prod")
	require.NoError(t, err)
	require.Len(t, all, 2)
}

func TestUpdateAndDeregister(t *testing.T) {
	s := newService(t, nil)
	c := register(t, s, account, "prod")
	_, err := s.Associate(t.Context(), account, "prod", AssociateInput{Namespace: "ns", ServiceAccount: "sa", RoleARN: role})
	require.NoError(t, err)

	reg := registration()
	reg.Version, reg.JWKS = "1.35", ""
	updated, err := s.Update(t.Context(), account, "prod", reg)
	require.NoError(t, err)
	require.Equal(t, reg, updated.Registration)
	require.Equal(t, c.ID, updated.ID)
	_, err = s.Update(t.Context(), other, "prod", reg)
	require.ErrorContains(t, err, "No cluster found")

	_, err = s.Deregister(t.Context(), other, "prod")
	require.ErrorContains(t, err, "No cluster found")
	gone, err := s.Deregister(t.Context(), account, "prod")
	require.NoError(t, err)
	require.Equal(t, updated, gone)
	_, err = s.Get(t.Context(), account, "prod")
	require.ErrorContains(t, err, "No cluster found")

	again := register(t, s, account, "prod")
	require.NotEqual(t, c.ID, again.ID)
	list, _, err := s.Associations(t.Context(), account, "prod", ListAssociationsInput{})
	require.NoError(t, err)
	require.Empty(t, list, "a new cluster of that name has none of the old associations")
}

func TestTokenOfWhatIsGone(t *testing.T) {
	s := newService(t, nil)
	in := RegisterInput{Name: "prod", ClientToken: "t1", Registration: registration()}
	_, err := s.Register(t.Context(), account, in)
	require.NoError(t, err)
	_, err = s.Deregister(t.Context(), account, "prod")
	require.NoError(t, err)
	register(t, s, account, "prod")
	_, err = s.Register(t.Context(), account, in)
	var exists *ExistsError
	require.ErrorAs(t, err, &exists)
}

func TestRegistrationChecks(t *testing.T) {
	s := newService(t, nil)
	for name, c := range map[string]struct {
		change func(*RegisterInput)
		field  string
	}{
		"name":               {func(in *RegisterInput) { in.Name = "-x" }, "name"},
		"long name":          {func(in *RegisterInput) { in.Name = strings.Repeat("x", 101) }, "name"},
		"no issuer":          {func(in *RegisterInput) { in.Registration.Issuer = "" }, "issuer"},
		"issuer by http":     {func(in *RegisterInput) { in.Registration.Issuer = "http://issuer" }, "issuer"},
		"issuer with user":   {func(in *RegisterInput) { in.Registration.Issuer = "https://u:p@issuer" }, "issuer"},
		"issuer with query":  {func(in *RegisterInput) { in.Registration.Issuer = "https://issuer?x=1" }, "issuer"},
		"endpoint":           {func(in *RegisterInput) { in.Registration.Endpoint = "file:///etc/passwd" }, "endpoint"},
		"internal URL":       {func(in *RegisterInput) { in.Registration.InternalURL = "gopher://x" }, "internalUrl"},
		"CA not base64":      {func(in *RegisterInput) { in.Registration.CA = "%" }, "certificateAuthority"},
		"CA without PEM":     {func(in *RegisterInput) { in.Registration.CA = base64.StdEncoding.EncodeToString([]byte("x")) }, "certificateAuthority"},
		"CA is a key":        {func(in *RegisterInput) { in.Registration.CA = pemOf("PRIVATE KEY") }, "certificateAuthority"},
		"CA is no cert":      {func(in *RegisterInput) { in.Registration.CA = pemOf("CERTIFICATE") }, "certificateAuthority"},
		"JWKS not JSON":      {func(in *RegisterInput) { in.Registration.JWKS = "{" }, "jwks"},
		"JWKS empty":         {func(in *RegisterInput) { in.Registration.JWKS = `{"keys":[]}` }, "jwks"},
		"JWKS of secrets":    {func(in *RegisterInput) { in.Registration.JWKS = `{"keys":[{"kty":"oct","k":"AA"}]}` }, "jwks"},
		"JWKS with private":  {func(in *RegisterInput) { in.Registration.JWKS = strings.Replace(keys, `"kid"`, `"d":"AA","kid"`, 1) }, "jwks"},
		"JWKS unusable":      {func(in *RegisterInput) { in.Registration.JWKS = `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}` }, "jwks"},
		"JWKS too long":      {func(in *RegisterInput) { in.Registration.JWKS = strings.Repeat(" ", maxDocument+1) }, "jwks"},
		"version":            {func(in *RegisterInput) { in.Registration.Version = "a b" }, "version"},
		"role":               {func(in *RegisterInput) { in.Registration.Connector.RoleARN = "x" }, "connectorConfig.roleArn"},
		"tag":                {func(in *RegisterInput) { in.Tags = map[string]string{"aws:x": ""} }, "tags"},
		"empty tag":          {func(in *RegisterInput) { in.Tags = map[string]string{"": ""} }, "tags"},
		"client token":       {func(in *RegisterInput) { in.ClientToken = strings.Repeat("x", 65) }, "clientRequestToken"},
		"client token blank": {func(in *RegisterInput) { in.ClientToken = "a b" }, "clientRequestToken"},
	} {
		t.Run(name, func(t *testing.T) {
			in := RegisterInput{Name: "c", Registration: registration()}
			c.change(&in)
			_, err := s.Register(t.Context(), account, in)
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, c.field, invalid.Field)
		})
	}
	_, err := s.Get(t.Context(), account, "c")
	require.Error(t, err, "nothing was recorded")
}

func pemOf(kind string) string {
	text := "-----BEGIN " + kind + "-----\nAAAA\n-----END " + kind + "-----\n"
	return base64.StdEncoding.EncodeToString([]byte(text))
}

func TestListPages(t *testing.T) {
	s := newService(t, func(c *Config) { c.MaxClusters = 5 })
	for i := range 5 {
		register(t, s, account, fmt.Sprintf("c%d", i))
	}
	_, err := s.Register(t.Context(), account, RegisterInput{Name: "more", Registration: registration()})
	var limit *LimitError
	require.ErrorAs(t, err, &limit)
	register(t, s, other, "theirs")

	var names []string
	token := ""
	for range 3 {
		page, next, err := s.List(t.Context(), account, 2, token)
		require.NoError(t, err)
		for _, c := range page {
			names = append(names, c.Name)
		}
		token = next
	}
	require.Empty(t, token)
	require.Equal(t, []string{"c0", "c1", "c2", "c3", "c4"}, names)

	for _, bad := range []string{"x", "%", pageToken{After: "c1", Filter: "f"}.encode()} {
		_, _, err = s.List(t.Context(), account, 2, bad)
		require.ErrorContains(t, err, "nextToken")
	}
	_, _, err = s.List(t.Context(), account, 101, "")
	require.ErrorContains(t, err, "maxResults")
}

func TestTags(t *testing.T) {
	s := newService(t, nil)
	register(t, s, account, "prod")
	require.NoError(t, s.Tag(t.Context(), account, "prod", map[string]string{"a": "1", "b": "2"}))
	require.NoError(t, s.Untag(t.Context(), account, "prod", []string{"a", "none"}))
	c, err := s.Get(t.Context(), account, "prod")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": "2"}, c.Tags)

	many := make(map[string]string)
	for i := range 50 {
		many[fmt.Sprint(i)] = ""
	}
	require.ErrorContains(t, s.Tag(t.Context(), account, "prod", many), "51 tags")
	require.ErrorContains(t, s.Tag(t.Context(), other, "prod", many), "No cluster found")
}

func TestAssociations(t *testing.T) {
	s := newService(t, func(c *Config) { c.MaxAssociations = 3 })
	c := register(t, s, account, "prod")
	in := AssociateInput{Namespace: "prometheus", ServiceAccount: "amp", RoleARN: role, Tags: map[string]string{"k": "v"}, ClientToken: "t"}
	a, err := s.Associate(t.Context(), account, "prod", in)
	require.NoError(t, err)
	require.Regexp(t, `^a-[0-9a-z]{17}$`, a.ID)
	require.Equal(t, "arn:aws:eks:us-east-1:000000000000:podidentityassociation/prod/"+a.ID, a.ARN())
	require.Empty(t, a.ExternalID())
	again, err := s.Associate(t.Context(), account, "prod", in)
	require.NoError(t, err)
	require.Equal(t, a, again)
	in.ClientToken = ""
	_, err = s.Associate(t.Context(), account, "prod", in)
	require.ErrorContains(t, err, "Association already exists: "+a.ID)
	_, err = s.Associate(t.Context(), other, "prod", in)
	require.ErrorContains(t, err, "No cluster found")

	found, err := s.AssociationOf(context.Background(), c, "prometheus", "amp")
	require.NoError(t, err)
	require.Equal(t, a, found)
	_, err = s.AssociationOf(context.Background(), c, "prometheus", "other")
	require.ErrorContains(t, err, "has no service account role association")

	target, yes, policy := "arn:aws:iam::111111111111:role/path/target", true, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"aps:*","Resource":"*"}]}`
	changed, err := s.UpdateAssociation(t.Context(), account, "prod", a.ID,
		UpdateAssociationInput{TargetRoleARN: &target, NoSessionTags: &yes, Policy: &policy})
	require.NoError(t, err)
	require.Equal(t, role, changed.RoleARN)
	require.Equal(t, target, changed.TargetRoleARN)
	require.Equal(t, policy, changed.Policy)
	require.True(t, changed.NoSessionTags)
	require.Equal(t, "us-east-1/000000000000/prod/prometheus/amp", changed.ExternalID())
	no := false
	_, err = s.UpdateAssociation(t.Context(), account, "prod", a.ID, UpdateAssociationInput{NoSessionTags: &no})
	require.ErrorContains(t, err, "disableSessionTags")

	require.NoError(t, s.TagAssociation(t.Context(), account, "prod", a.ID, map[string]string{"x": "y"}))
	require.NoError(t, s.UntagAssociation(t.Context(), account, "prod", a.ID, []string{"k"}))
	changed, err = s.Association(t.Context(), account, "prod", a.ID)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"x": "y"}, changed.Tags)

	for _, sa := range []string{"b", "c"} {
		_, err = s.Associate(t.Context(), account, "prod", AssociateInput{Namespace: "prometheus", ServiceAccount: sa, RoleARN: role})
		require.NoError(t, err)
	}
	_, err = s.Associate(t.Context(), account, "prod", AssociateInput{Namespace: "prometheus", ServiceAccount: "d", RoleARN: role})
	var limit *LimitError
	require.ErrorAs(t, err, &limit)

	var seen []string
	page := ListAssociationsInput{Namespace: "prometheus", MaxResults: 2}
	for range 2 {
		list, next, err := s.Associations(t.Context(), account, "prod", page)
		require.NoError(t, err)
		for _, a := range list {
			seen = append(seen, a.ServiceAccount)
		}
		page.NextToken = next
	}
	require.ElementsMatch(t, []string{"amp", "b", "c"}, seen)
	require.Empty(t, page.NextToken)
	list, _, err := s.Associations(t.Context(), account, "prod", ListAssociationsInput{ServiceAccount: "b"})
	require.NoError(t, err)
	require.Len(t, list, 1)
	list, _, err = s.Associations(t.Context(), account, "prod", ListAssociationsInput{Namespace: "none"})
	require.NoError(t, err)
	require.Empty(t, list)

	_, err = s.Dissociate(t.Context(), other, "prod", a.ID)
	require.Error(t, err)
	gone, err := s.Dissociate(t.Context(), account, "prod", a.ID)
	require.NoError(t, err)
	require.Equal(t, changed, gone)
	_, err = s.Association(t.Context(), account, "prod", a.ID)
	require.ErrorContains(t, err, "No association found with associationId: "+a.ID)
}

func TestAssociationChecks(t *testing.T) {
	s := newService(t, nil)
	register(t, s, account, "prod")
	for name, c := range map[string]struct {
		in    AssociateInput
		field string
	}{
		"namespace": {AssociateInput{Namespace: "A", ServiceAccount: "a", RoleARN: role}, "namespace"},
		"colon":     {AssociateInput{Namespace: "a:b", ServiceAccount: "a", RoleARN: role}, "namespace"},
		"account":   {AssociateInput{Namespace: "a", ServiceAccount: "", RoleARN: role}, "serviceAccount"},
		"role":      {AssociateInput{Namespace: "a", ServiceAccount: "a", RoleARN: "writer"}, "roleArn"},
		"target":    {AssociateInput{Namespace: "a", ServiceAccount: "a", RoleARN: role, TargetRoleARN: "x"}, "targetRoleArn"},
		"policy":    {AssociateInput{Namespace: "a", ServiceAccount: "a", RoleARN: role, TargetRoleARN: role, NoSessionTags: true, Policy: "{}"}, "policy"},
		"no target": {AssociateInput{Namespace: "a", ServiceAccount: "a", RoleARN: role, NoSessionTags: true,
			Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"aps:*","Resource":"*"}]}`}, "policy"},
		"tags": {AssociateInput{Namespace: "a", ServiceAccount: "a", RoleARN: role, Tags: map[string]string{"\x00": ""}}, "tags"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Associate(t.Context(), account, "prod", c.in)
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, c.field, invalid.Field)
		})
	}
}

func TestParseARN(t *testing.T) {
	region, acc, name, id, ok := ParseARN(ARN("us-east-1", account, "prod"))
	require.True(t, ok)
	require.Equal(t, []string{"us-east-1", account, "prod", ""}, []string{region, acc, name, id})
	want := newAssociationID()
	_, _, name, id, ok = ParseARN(AssociationARN("us-east-1", account, "prod", want))
	require.True(t, ok)
	require.Equal(t, []string{"prod", want}, []string{name, id})
	for _, bad := range []string{"", "prod", "arn:aws:eks:us-east-1:000000000000:cluster/", "arn:aws:aps:us-east-1:000000000000:cluster/x",
		"arn:aws:eks:us-east-1:000000000000:cluster/a/b", "arn:aws:eks:us-east-1:000000000000:podidentityassociation/a",
		"arn:aws:eks:us-east-1:000000000000:podidentityassociation/a/b", "arn:aws:eks:us-east-1:000000000000:nodegroup/a"} {
		_, _, _, _, ok := ParseARN(bad)
		require.False(t, ok, bad)
	}
}

func FuzzParseARN(f *testing.F) {
	f.Add(ARN("us-east-1", account, "prod"))
	f.Add(AssociationARN("us-east-1", account, "prod", "a-0123456789abcdefg"))
	f.Fuzz(func(t *testing.T, s string) {
		region, acc, name, id, ok := ParseARN(s)
		if !ok {
			return
		}
		want := ARN(region, acc, name)
		if id != "" {
			want = AssociationARN(region, acc, name, id)
		}
		require.Equal(t, s, want)
	})
}

func FuzzRegistration(f *testing.F) {
	f.Add("1.34", "https://issuer", keys, pemOf("CERTIFICATE"))
	f.Fuzz(func(t *testing.T, version, issuer, jwks, ca string) {
		r := Registration{Version: version, Issuer: issuer, JWKS: jwks, CA: ca}
		if r.check() == nil {
			require.True(t, strings.HasPrefix(strings.ToLower(issuer), "https://"))
			require.NotContains(t, jwks, `"d":"AA"`)
		}
	})
}
