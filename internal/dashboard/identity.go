package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/mangru/mangru/internal/dashboard/caller"
)

// Identity says who sends a request by the session cookie. Everybody is in the
// one dashboard workspace.
type Identity struct{ People *People }

// Caller implements grafanaapi.Identity.
func (i Identity) Caller(r *http.Request) (caller.Caller, error) {
	s, err := i.People.Session(r.Context(), sessionSecret(r))
	if errors.Is(err, ErrNotSignedIn) {
		return caller.Caller{}, caller.ErrNotSignedIn
	}
	if err != nil {
		return caller.Caller{}, err
	}
	return caller.Caller{
		Workspace: caller.DefaultWorkspace, Person: s.Person.ID, Login: s.Person.Login, Name: s.Person.Name, Email: s.Person.Email,
		Role: caller.Role(s.Person.Role), CSRFToken: s.CSRFToken,
	}, nil
}

// Members implements grafanaapi.Identity.
func (i Identity) Members(ctx context.Context, _ string) ([]caller.Member, error) {
	var people []Person
	if err := i.People.db.NewSelect().Model(&people).Order("login").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list people: %w", err)
	}
	out := make([]caller.Member, 0, len(people))
	for _, p := range people {
		out = append(out, caller.Member{Person: p.ID, Login: p.Login, Name: p.Name, Email: p.Email, Role: caller.Role(p.Role)})
	}
	return out, nil
}
