package portal

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// An administrator makes a workspace, lets people in and out again, and each sees
// only their own.
func TestWorkspaces(t *testing.T) {
	s := open(t)
	ann, boss := s.person("ann", false), s.person("boss", true)
	admin, person := s.signedIn(boss), s.signedIn(ann)
	admin.must(400, "POST", "/workspaces", `{"name":"a b","providers":["AWS_SSO"]}`)
	admin.must(400, "POST", "/workspaces", `{"name":"x"}`)
	ws := admin.must(200, "POST", "/workspaces", `{"name":"eks-workshop","providers":["AWS_SSO"],"dataSources":["PROMETHEUS"]}`)
	id := ws["id"].(string)
	require.Equal(t, base+"/w/"+id+"/", ws["url"])
	at := "/workspaces/" + id
	user := `"users":[{"id":"` + ann.ID + `","type":"SSO_USER"}]`
	admin.must(404, "POST", at+"/permissions", `{"role":"VIEWER","users":[{"id":"none","type":"SSO_USER"}]}`)
	admin.must(200, "POST", at+"/permissions", `{"role":"VIEWER",`+user+`}`)
	admin.must(200, "POST", at+"/permissions", `{"role":"ADMIN",`+user+`}`)
	list := admin.must(200, "GET", at, "")["permissions"].([]any)
	require.Len(t, list, 1)
	require.Equal(t, "ADMIN", list[0].(map[string]any)["role"])
	require.Equal(t, "ann", list[0].(map[string]any)["login"])
	person.must(403, "GET", at, "")
	admin.must(404, "POST", at+"/revocations", `{"role":"VIEWER",`+user+`}`)
	admin.must(200, "POST", at+"/revocations", `{"role":"ADMIN",`+user+`}`)
	require.Empty(t, admin.must(200, "GET", at, "")["permissions"])
	admin.must(200, "PATCH", at, `{"description":"of the workshop"}`)
	admin.must(200, "DELETE", at, "")
	admin.must(404, "GET", at, "")
}

func TestDeletedPersonHasAnHeir(t *testing.T) {
	s := open(t)
	admin := s.signedIn(s.person("boss", true))
	ann, bob, eve := s.person("ann", false), s.person("bob", false), s.person("eve", false)
	admin.must(400, "DELETE", "/users/"+ann.ID+"?heir="+ann.ID, "")
	admin.must(404, "DELETE", "/users/"+ann.ID+"?heir=nobody", "")
	require.Empty(t, s.left, "nothing happens where the heir is none")
	admin.must(200, "DELETE", "/users/"+ann.ID+"?heir="+bob.ID, "")
	admin.must(200, "DELETE", "/users/"+eve.ID, "")
	require.Equal(t, []string{ann.ID, bob.ID, eve.ID}, s.left)
	admin.must(404, "DELETE", "/users/"+ann.ID, "")
}
