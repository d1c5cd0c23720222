package iam

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/uptrace/bun"
)

// Kind tells records apart that policies, tags and boundaries hang on.
type Kind string

// The kinds of records, as they stand in ARNs.
const (
	KindUser     Kind = "user"
	KindGroup    Kind = "group"
	KindRole     Kind = "role"
	KindPolicy   Kind = "policy"
	KindProvider Kind = "oidc-provider"
)

// Ref names a record of an account: by name, a policy or provider by ARN.
type Ref struct {
	Kind    Kind
	Account string
	Name    string
}

// UserRef names a user.
func UserRef(account, name string) Ref { return Ref{KindUser, account, name} }

// GroupRef names a group.
func GroupRef(account, name string) Ref { return Ref{KindGroup, account, name} }

// RoleRef names a role.
func RoleRef(account, name string) Ref { return Ref{KindRole, account, name} }

// PolicyRef names a policy of the account's own.
func PolicyRef(account, arn string) Ref { return Ref{KindPolicy, account, arn} }

// ProviderRef names an OpenID Connect provider.
func ProviderRef(account, arn string) Ref { return Ref{KindProvider, account, arn} }

// missing is the error of a record that is not there.
func (r Ref) missing() error {
	switch r.Kind {
	case KindPolicy:
		return newError(ErrNoSuchEntity, "Policy %s does not exist or is not attachable.", r.Name)
	case KindProvider:
		return newError(ErrNoSuchEntity, "OpenIDConnect Provider not found for arn %s", r.Name)
	}
	return newError(ErrNoSuchEntity, "The %s with name %s cannot be found.", r.Kind, r.Name)
}

// Entity is what all records have in common.
type Entity struct {
	Ref
	ID, ARN, Path string
	// Boundary is the ARN of the permissions boundary, "" for none.
	Boundary string
	Tags     map[string]string
}

// Entity reads what a record has in common with all others.
func (s *Service) Entity(ctx context.Context, ref Ref) (Entity, error) {
	e, err := entityOf(ctx, s.db, ref)
	if err != nil {
		return e, err
	}
	e.Tags, err = tagsOf(ctx, s.db, e.ID)
	return e, err
}

// entityOf reads a record without its tags.
func entityOf(ctx context.Context, db bun.IDB, ref Ref) (Entity, error) {
	e := Entity{Ref: ref}
	q := db.NewSelect().Where("account_id = ?", ref.Account)
	var err error
	switch ref.Kind {
	case KindUser:
		var row userRow
		err = q.Model(&row).Where("name = ?", ref.Name).Scan(ctx)
		e.ID, e.Path, e.Boundary = row.ID, row.Path, row.Boundary
	case KindGroup:
		var row groupRow
		err = q.Model(&row).Where("name = ?", ref.Name).Scan(ctx)
		e.ID, e.Path = row.ID, row.Path
	case KindRole:
		var row roleRow
		err = q.Model(&row).Where("name = ?", ref.Name).Scan(ctx)
		e.ID, e.Path, e.Boundary = row.ID, row.Path, row.Boundary
	case KindPolicy:
		var row policyRow
		err = q.Model(&row).Where("arn = ?", ref.Name).Scan(ctx)
		e.ID, e.Path = row.ID, row.Path
	case KindProvider:
		var row providerRow
		url, ok := strings.CutPrefix(ref.Name, providerARN(ref.Account, ""))
		if !ok {
			return e, ref.missing()
		}
		err = q.Model(&row).Where("url = ?", url).Scan(ctx)
		e.ID = row.ID
	default:
		return e, fmt.Errorf("no records of kind %q", ref.Kind)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return e, ref.missing()
	}
	if err != nil {
		return e, fmt.Errorf("read %s: %w", ref.Kind, err)
	}
	if e.ARN = ref.Name; e.Path != "" && ref.Kind != KindPolicy {
		e.ARN = ARN(ref.Account, ref.Kind, e.Path, ref.Name)
	}
	return e, nil
}

// ARN makes the ARN of a record of IAM.
func ARN(account string, kind Kind, path, name string) string {
	return "arn:aws:iam::" + account + ":" + string(kind) + path + name
}

// nameTaken reports whether a record of the kind has the name, in any case:
// AWS keeps names apart by more than case.
func nameTaken(ctx context.Context, db bun.IDB, model any, account, name string) (bool, error) {
	n, err := db.NewSelect().Model(model).Where("account_id = ? AND lower(name) = ?", account, strings.ToLower(name)).Count(ctx)
	return n > 0, err
}

// AWS' patterns of names.
var (
	validName  = regexp.MustCompile(`^[\w+=,.@-]+$`)
	validPath  = regexp.MustCompile(`^/(?:[\x21-\x7e]+/)?$`)
	validAlias = regexp.MustCompile(`^[a-z0-9](?:-?[a-z0-9])*$`)
	validTag   = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)
)

func checkName(member, name string, most int) error {
	if name == "" || len(name) > most {
		return newError(ErrInvalidInput, "The specified value for %s is invalid. It must have 1 to %d characters.", member, most)
	}
	if !validName.MatchString(name) {
		return newError(ErrInvalidInput,
			"The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", member)
	}
	return nil
}

// checkPath returns the path, "/" for none.
func checkPath(path string) (string, error) {
	if path == "" {
		return "/", nil
	}
	if len(path) > 512 || !validPath.MatchString(path) {
		return "", newError(ErrInvalidInput,
			"The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return path, nil
}

func checkDescription(text string) error {
	if utf8.RuneCountInString(text) > 1000 {
		return newError(ErrInvalidInput, "The specified value for description is invalid. It must have at most 1000 characters.")
	}
	return nil
}

// Page asks for a part of a list that is ordered by name.
type Page struct {
	// PathPrefix keeps only records whose path begins with it.
	PathPrefix string
	// After is the name of the last record that was seen; Limit is how many
	// more to return, 0 for all.
	After string
	Limit int
}

// apply narrows a query to the page and one record more, which tells whether
// there are more.
func (p Page) apply(q *bun.SelectQuery, account string) *bun.SelectQuery {
	q = q.Where("account_id = ?", account).OrderExpr("name")
	if p.PathPrefix != "" {
		q = q.Where("substr(path, 1, ?) = ?", utf8.RuneCountInString(p.PathPrefix), p.PathPrefix)
	}
	if p.After != "" {
		q = q.Where("name > ?", p.After)
	}
	if p.Limit > 0 {
		q = q.Limit(p.Limit + 1)
	}
	return q
}

// cut takes the record too many off again and reports whether it was there.
func cut[T any](p Page, rows []T) ([]T, bool) {
	if p.Limit > 0 && len(rows) > p.Limit {
		return rows[:p.Limit], true
	}
	return rows, false
}
