package iam

import (
	"context"
	"fmt"
	"strings"

	"github.com/mangru/mangru/internal/auth/policy"
)

// subject is what a user or role may do, and is tagged with.
type subject struct {
	id, arn  string
	identity []policy.Source
	boundary *policy.Source
	tags     map[string]string
}

// subjectOf reads a user or role by its unique id, from memory if fresh. One
// that was deleted, also when another has its name by now, is ErrNoSuchEntity.
func (s *Service) subjectOf(ctx context.Context, kind Kind, id string) (*subject, error) {
	return remember(s, s.subjects, id, func() (*subject, error) {
		sub := &subject{id: id}
		owners, boundary := []owner{{id, ""}}, ""
		account := ""
		switch kind {
		case KindUser:
			var u userRow
			if err := s.db.NewSelect().Model(&u).Where("id = ?", id).Scan(ctx); err != nil {
				return nil, found(err, "The user %s cannot be found.", id)
			}
			groups, err := groupRows(ctx, s.db, u.ID)
			if err != nil {
				return nil, err
			}
			for _, g := range groups {
				owners = append(owners, owner{g.ID, "group/" + g.Name + "/"})
			}
			sub.arn, boundary, account = ARN(u.AccountID, KindUser, u.Path, u.Name), u.Boundary, u.AccountID
		case KindRole:
			var r roleRow
			if err := s.db.NewSelect().Model(&r).Where("id = ?", id).Scan(ctx); err != nil {
				return nil, found(err, "The role %s cannot be found.", id)
			}
			sub.arn, boundary, account = ARN(r.AccountID, KindRole, r.Path, r.Name), r.Boundary, r.AccountID
		default:
			return nil, fmt.Errorf("a %s has no permissions of its own", kind)
		}
		var err error
		if sub.identity, err = s.sourcesOf(ctx, account, owners); err != nil {
			return nil, err
		}
		if boundary != "" {
			source, err := s.managedSource(ctx, account, boundary)
			if err != nil {
				return nil, err
			}
			sub.boundary = &source
		}
		sub.tags, err = tagsOf(ctx, s.db, id)
		return sub, err
	})
}

// owner is a record whose policies count; prefix names it in sources.
type owner struct{ id, prefix string }

// sourcesOf reads the policies of a user or role and of the user's groups. One
// that is not known or that cannot be read is there without document: then
// everything is refused, as it could hold a denial.
func (s *Service) sourcesOf(ctx context.Context, account string, owners []owner) ([]policy.Source, error) {
	var sources []policy.Source
	for _, o := range owners {
		arns, err := attachedTo(ctx, s.db, o.id)
		if err != nil {
			return nil, err
		}
		for _, arn := range arns {
			source, err := s.managedSource(ctx, account, arn)
			if err != nil {
				return nil, err
			}
			sources = append(sources, source)
		}
		inline, err := inlineRows(ctx, s.db, o.id)
		if err != nil {
			return nil, err
		}
		for _, row := range inline {
			source := policy.Source{Name: o.prefix + "inline:" + row.Name}
			if d, err := policy.Parse([]byte(row.Document), policy.Identity); err == nil {
				source.Document = d
			}
			sources = append(sources, source)
		}
	}
	return sources, nil
}

// managedSource reads the text in force of a managed policy of AWS or of the
// account; without document when there is none.
func (s *Service) managedSource(ctx context.Context, account, arn string) (policy.Source, error) {
	source := policy.Source{Name: arn}
	if d, ok := managedDocument(arn); ok {
		source.Document = d
		return source, nil
	}
	if accountOf(arn) != account {
		return source, nil
	}
	var err error
	source.Document, err = remember(s, s.documents, arn, func() (*policy.Document, error) {
		p, err := findPolicy(ctx, s.db, account, arn)
		if err != nil {
			return nil, err
		}
		row := versionRow{PolicyID: p.ID, Version: p.DefaultVersion}
		if err := s.db.NewSelect().Model(&row).WherePK().Scan(ctx); err != nil {
			return nil, found(err, "Policy %s has no default version.", arn)
		}
		return parse(row.Document, policy.CustomerManaged)
	})
	if isCallers(err) {
		return policy.Source{Name: arn}, nil
	}
	return source, err
}

// accountOf returns the account field of an ARN, "" if there is none.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}
