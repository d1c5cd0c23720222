package app

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/people/directory"
	"github.com/mangru/mangru/internal/people/scim"
)

// withPeople puts what is about people before the dashboards' handler.
func withPeople(next http.Handler, records *bun.DB, logger *slog.Logger) http.Handler {
	provisioning := scim.New(directory.New(directory.Config{}, records), logger)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, scim.Base+"/") {
			provisioning.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
