package federation

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was asked over HTTPS is not answered by whoever is on the way.
func TestRedirectsStayEncrypted(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	mux := http.NewServeMux()
	mux.Handle("/down", http.RedirectHandler(plain.URL, http.StatusFound))
	mux.Handle("/round", http.RedirectHandler("/round", http.StatusFound))
	mux.Handle("/on", http.RedirectHandler("/there", http.StatusFound))
	mux.HandleFunc("/there", func(http.ResponseWriter, *http.Request) {})
	secure := httptest.NewTLSServer(mux)
	t.Cleanup(secure.Close)
	client := secure.Client()
	client.CheckRedirect = New(Config{}, nil, nil).cfg.Client.CheckRedirect
	get := func(path string) error {
		res, err := client.Get(secure.URL + path)
		if err == nil {
			require.NoError(t, res.Body.Close())
		}
		return err
	}
	require.NoError(t, get("/on"))
	require.ErrorContains(t, get("/down"), "from https:// to http://")
	require.ErrorContains(t, get("/round"), "10 redirects")
}
