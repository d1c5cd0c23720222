package cluster

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func withKey(c *Config) { c.Key = []byte(strings.Repeat("k", 32)) }

func TestAccess(t *testing.T) {
	s := newService(t, withKey)
	token := "secret.token.abc"
	_, err := s.Access(t.Context(), account, "prod")
	require.ErrorContains(t, err, "No cluster found")
	reg := registration()
	c, err := s.Register(t.Context(), account, RegisterInput{Name: "prod", Registration: reg})
	require.NoError(t, err)
	require.False(t, c.Scrapable)
	_, err = s.Access(t.Context(), account, "prod")
	require.ErrorIs(t, err, ErrNoAccess)

	reg.ScraperToken = &token
	c, err = s.Update(t.Context(), account, "prod", reg)
	require.NoError(t, err)
	require.True(t, c.Scrapable)
	require.Nil(t, c.ScraperToken, "a token is not shown again")
	a, err := s.Access(t.Context(), account, "prod")
	require.NoError(t, err)
	require.Equal(t, Access{Endpoint: reg.Endpoint, Token: token}, a)
	var kept string
	require.NoError(t, s.db.NewSelect().Model((*row)(nil)).Column("scraper_token").Scan(t.Context(), &kept))
	require.NotContains(t, kept, token)

	reg.ScraperToken = nil
	_, err = s.Update(t.Context(), account, "prod", reg)
	require.NoError(t, err)
	_, err = s.Access(t.Context(), account, "prod")
	require.NoError(t, err, "what is not said stays")
	reg.Endpoint = "https://elsewhere.example"
	_, err = s.Update(t.Context(), account, "prod", reg)
	require.NoError(t, err)
	_, err = s.Access(t.Context(), account, "prod")
	require.ErrorIs(t, err, ErrNoAccess, "a token does not go to a server that it was not given for")

	reg.ScraperToken = &token
	_, err = s.Update(t.Context(), account, "prod", reg)
	require.NoError(t, err)
	none := ""
	reg.ScraperToken = &none
	c, err = s.Update(t.Context(), account, "prod", reg)
	require.NoError(t, err)
	require.False(t, c.Scrapable)
}

func TestAccessIsSealed(t *testing.T) {
	s := newService(t, withKey)
	token := "abc"
	reg := registration()
	reg.ScraperToken = &token
	for _, name := range []string{"a", "b"} {
		_, err := s.Register(t.Context(), account, RegisterInput{Name: name, Registration: reg})
		require.NoError(t, err)
	}
	_, err := s.db.NewRaw("UPDATE clusters SET scraper_token = (SELECT scraper_token FROM clusters WHERE name = 'a') WHERE name = 'b'").Exec(t.Context())
	require.NoError(t, err)
	_, err = s.Access(t.Context(), account, "b")
	require.ErrorContains(t, err, "does not open")
	require.NotContains(t, err.Error(), token)
}

func TestBadScraperTokens(t *testing.T) {
	s := newService(t, withKey)
	for name, tc := range map[string]struct{ token, endpoint, field string }{
		"space":       {"a b", "https://a", "scraperToken"},
		"line":        {"a\nb", "https://a", "scraperToken"},
		"long":        {strings.Repeat("a", maxScraperToken+1), "https://a", "scraperToken"},
		"no endpoint": {"a", "", "endpoint"},
	} {
		reg := registration()
		reg.ScraperToken, reg.Endpoint = &tc.token, tc.endpoint
		_, err := s.Register(t.Context(), account, RegisterInput{Name: "x", Registration: reg})
		var invalid *InvalidError
		require.ErrorAs(t, err, &invalid, name)
		require.Equal(t, tc.field, invalid.Field, name)
	}
	s = newService(t, nil)
	reg, token := registration(), "a"
	reg.ScraperToken = &token
	_, err := s.Register(t.Context(), account, RegisterInput{Name: "x", Registration: reg})
	require.ErrorContains(t, err, "keeps no credentials")
	_, err = New(Config{Region: "us-east-1", Key: []byte("short")}, s.db)
	require.ErrorContains(t, err, "key")
}
