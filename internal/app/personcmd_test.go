package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mangru/mangru/internal/mail"
)

func TestPeopleByCommands(t *testing.T) {
	s := newIdentityServer(t)
	require.Contains(t, s.ok("person", "create", "ann", "--email", "ann@example.com", "--given-name", "Ann", "--family-name", "Lee"), "person ann created")
	s.fails(1, "ConflictException", "person", "create", "ANN", "--email", "x@example.com", "--given-name", "A", "--family-name", "L")
	s.fails(2, "--given-name", "person", "create", "bob")
	s.ok("person", "group", "create", "SRE", "--description", "on call")
	s.ok("person", "group", "add", "SRE", "ann")
	s.ok("person", "group", "add", "SRE", "ann") // is in it
	require.Contains(t, s.ok("person", "group", "members", "SRE"), "ann@example.com")
	var got struct {
		UserName, UserStatus string
		Groups               []string
	}
	s.ok("person", "disable", "ann")
	s.json(&got, "person", "get", "ann")
	require.Equal(t, "DISABLED", got.UserStatus)
	require.Equal(t, []string{"SRE"}, got.Groups)
	s.ok("person", "enable", "ann")
	s.ok("person", "grant-admin", "ann")
	s.fails(1, "last administrator", "person", "revoke-admin", "ann")
	s.fails(1, `no person "bob"`, "person", "get", "bob")
	s.ok("person", "group", "remove", "SRE", "ann")
	s.ok("person", "group", "delete", "SRE")
	require.NotContains(t, s.ok("person", "group", "list"), "SRE")

	token := strings.TrimSpace(s.ok("person", "token", "create"))
	require.True(t, strings.HasPrefix(token, "mgs_"))
	var list struct{ BearerTokens []struct{ TokenID string } }
	s.json(&list, "person", "token", "list")
	require.Len(t, list.BearerTokens, 1)
	require.NotContains(t, s.ok("person", "token", "list"), token)
	s.ok("person", "token", "delete", list.BearerTokens[0].TokenID)
}

func TestImportOfPeople(t *testing.T) {
	s := newIdentityServer(t)
	const head = "username,email,given_name,family_name,groups\n"
	file := writeFile(t, "people.csv", "\ufeff"+head+"ann,ann@example.com,Ann,Lee,SRE; Editors\nbob,bob@example.com,Bob,\"Kim, Jr.\",SRE\n")
	s.ok("person", "import", file, "--dry-run")
	require.NotContains(t, s.ok("person", "list"), "ann")
	require.Contains(t, s.ok("person", "import", file), "2 people created, 0 were there, 2 groups created, 3 memberships added")
	require.Contains(t, s.ok("person", "import", file), "0 people created, 2 were there, 0 groups created, 0 memberships added")
	require.Contains(t, s.ok("person", "list"), "Bob Kim, Jr.")
	for want, text := range map[string]string{
		":1: the file is empty": "", ":1: column 2: found \"mail\", allowed are": "username,mail\n", ":1: column email is missing": "username,given_name,family_name\n",
		":2: column email is empty": head + "x,,X,Y,\n", ":3: username \"X\" is in line 2 already": head + "x,x@example.com,X,Y,\nX,y@example.com,X,Y,\n",
		":3: column": head + "x,x@example.com,X,Y,\ny,y@example.com\n",
	} {
		s.fails(2, want, "person", "import", writeFile(t, "bad.csv", text))
	}
	// What only the server finds names its line, and what was done before.
	s.fails(1, ":3: CreateUser: ValidationException", "person", "import", writeFile(t, "late.csv", head+"eve,eve@example.com,E,V,\nmal,not-an-address,M,L,\n"))
	require.Contains(t, s.ok("person", "list"), "eve")
}

func FuzzCSVOfPeople(f *testing.F) {
	f.Add("username,email,given_name,family_name\na,b,c,d\n")
	f.Add("username,email\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		rows, err := parsePeople(strings.NewReader(text))
		for _, r := range rows {
			require.NoError(t, err)
			require.NotEmpty(t, r.userName)
		}
	})
}

func TestMailFlags(t *testing.T) {
	cfg, err := mailConfig("smtps://ann@mail.example.com", "a@example.com", "out", "secret")
	require.NoError(t, err)
	require.Equal(t, mail.Config{From: "a@example.com", Host: "mail.example.com", Port: 465, Username: "ann", Password: "secret", TLS: mail.Implicit, Outbox: "out"}, cfg)
	for _, bad := range []string{"mail.example.com", "http://x", "smtp://", "smtp://u:p@host", "smtp://host/path"} {
		_, err := mailConfig(bad, "a@example.com", "", "")
		var usage *ExitError
		require.ErrorAs(t, err, &usage, bad)
		require.Equal(t, exitUsage, usage.Code)
		require.NotContains(t, err.Error(), "u:p")
	}
}

// The dashboards' address serves SCIM and the portal beside the dashboards.
func TestPeopleBesideDashboards(t *testing.T) {
	s := startServer(t, testConfig(t.TempDir()))
	p, err := openPeople(t.Context(), DashboardConfig{Directory: s.identity.people, Store: s.identity.boards, Workspaces: s.identity.spaces,
		People: PeopleConfig{Key: make([]byte, 32), URL: "https://mangru.example", Mail: mail.Config{Outbox: t.TempDir()}}}, s.records, s.logger)
	require.NoError(t, err)
	h := p.handler(http.NotFoundHandler(), nil, s.logger)
	for path, want := range map[string]int{"/scim/v2/Users": 401, "/api/people/me": 401, "/api/user": 404} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://mangru.example"+path, http.NoBody)
		h.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, path)
	}
}
