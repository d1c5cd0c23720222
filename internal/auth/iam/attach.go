package iam

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/policy"
)

// AttachUserPolicy gives a user the permissions of a managed policy.
func (s *Service) AttachUserPolicy(ctx context.Context, account, user, policyARN string) error {
	return s.AttachPolicy(ctx, UserRef(account, user), policyARN)
}

// DetachUserPolicy takes a managed policy from a user.
func (s *Service) DetachUserPolicy(ctx context.Context, account, user, policyARN string) error {
	return s.DetachPolicy(ctx, UserRef(account, user), policyARN)
}

// AttachPolicy gives a user, group or role the permissions of a managed policy
// of AWS or of the same account; having it already is no error.
func (s *Service) AttachPolicy(ctx context.Context, ref Ref, policyARN string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		e, err := entityOf(ctx, tx, ref)
		if err != nil {
			return err
		}
		if ok, err := attachable(ctx, tx, ref.Account, policyARN); err != nil {
			return err
		} else if !ok {
			return newError(ErrNoSuchEntity, "Policy %s does not exist or is not attachable.", policyARN)
		}
		n, err := tx.NewSelect().Model((*attachmentRow)(nil)).Where("owner_id = ? AND policy_arn <> ?", e.ID, policyARN).Count(ctx)
		if err != nil {
			return err
		}
		if n >= maxAttached {
			return newError(ErrLimitExceeded, "Cannot exceed quota for PoliciesPer%s: %d", title(ref.Kind), maxAttached)
		}
		at := attachmentRow{OwnerID: e.ID, PolicyARN: policyARN}
		_, err = tx.NewInsert().Model(&at).On("CONFLICT (owner_id, policy_arn) DO NOTHING").Exec(ctx)
		return err
	})
}

// attachable reports whether a policy is one of AWS or of the account.
func attachable(ctx context.Context, db bun.IDB, account, arn string) (bool, error) {
	if _, ok := managedDocument(arn); ok {
		return true, nil
	}
	_, err := findPolicy(ctx, db, account, arn)
	if errors.Is(err, ErrNoSuchEntity) {
		return false, nil
	}
	return err == nil, err
}

func title(k Kind) string { return strings.ToUpper(string(k[:1])) + string(k[1:]) }

// DetachPolicy takes a managed policy from a user, group or role.
func (s *Service) DetachPolicy(ctx context.Context, ref Ref, policyARN string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		e, err := entityOf(ctx, tx, ref)
		if err != nil {
			return err
		}
		res, err := tx.NewDelete().Model(&attachmentRow{OwnerID: e.ID, PolicyARN: policyARN}).WherePK().Exec(ctx)
		return oneChanged(res, err, "Policy %s was not found.", policyARN)
	})
}

// AttachedPolicies lists the ARNs of the managed policies of a user, group or
// role, by name.
func (s *Service) AttachedPolicies(ctx context.Context, ref Ref) ([]string, error) {
	e, err := entityOf(ctx, s.db, ref)
	if err != nil {
		return nil, err
	}
	arns, err := attachedTo(ctx, s.db, e.ID)
	slices.SortFunc(arns, func(a, b string) int {
		return strings.Compare(PolicyName(a)+" "+a, PolicyName(b)+" "+b)
	})
	return arns, err
}

// PolicyName returns the last part of a policy's ARN.
func PolicyName(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func attachedTo(ctx context.Context, db bun.IDB, owner string) ([]string, error) {
	var arns []string
	err := db.NewSelect().Model((*attachmentRow)(nil)).Column("policy_arn").Where("owner_id = ?", owner).Order("policy_arn").Scan(ctx, &arns)
	if err != nil {
		return nil, fmt.Errorf("read attached policies: %w", err)
	}
	return arns, nil
}

// PutInlinePolicy gives a user, group or role a policy of its own, in place of
// one with the same name.
func (s *Service) PutInlinePolicy(ctx context.Context, ref Ref, name, document string) error {
	if err := checkName("policyName", name, 128); err != nil {
		return err
	}
	if _, err := parse(document, policy.Identity); err != nil {
		return err
	}
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		e, err := entityOf(ctx, tx, ref)
		if err != nil {
			return err
		}
		rows, err := inlineRows(ctx, tx, e.ID)
		if err != nil {
			return err
		}
		size := sizeOf(document)
		for _, r := range rows {
			if r.Name != name {
				size += sizeOf(r.Document)
			}
		}
		if most := maxInlineSize[ref.Kind]; size > most {
			return newError(ErrLimitExceeded, "Maximum policy size of %d bytes exceeded for %s %s", most, ref.Kind, ref.Name)
		}
		row := inlineRow{OwnerID: e.ID, Name: name, Document: document}
		_, err = tx.NewInsert().Model(&row).On("CONFLICT (owner_id, name) DO UPDATE").Set("document = EXCLUDED.document").Exec(ctx)
		return err
	})
}

func inlineRows(ctx context.Context, db bun.IDB, owner string) ([]inlineRow, error) {
	var rows []inlineRow
	if err := db.NewSelect().Model(&rows).Where("owner_id = ?", owner).Order("name").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read inline policies: %w", err)
	}
	return rows, nil
}

// InlinePolicies lists the names of a record's own policies.
func (s *Service) InlinePolicies(ctx context.Context, ref Ref) ([]string, error) {
	e, err := entityOf(ctx, s.db, ref)
	if err != nil {
		return nil, err
	}
	rows, err := inlineRows(ctx, s.db, e.ID)
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Name
	}
	return names, err
}

// InlinePolicy returns the document of a record's own policy.
func (s *Service) InlinePolicy(ctx context.Context, ref Ref, name string) (string, error) {
	e, err := entityOf(ctx, s.db, ref)
	if err != nil {
		return "", err
	}
	row := inlineRow{OwnerID: e.ID, Name: name}
	if err := s.db.NewSelect().Model(&row).WherePK().Scan(ctx); err != nil {
		return "", found(err, "The %s policy with name %s cannot be found.", ref.Kind, name)
	}
	return row.Document, nil
}

// DeleteInlinePolicy removes a record's own policy.
func (s *Service) DeleteInlinePolicy(ctx context.Context, ref Ref, name string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		e, err := entityOf(ctx, tx, ref)
		if err != nil {
			return err
		}
		res, err := tx.NewDelete().Model(&inlineRow{OwnerID: e.ID, Name: name}).WherePK().Exec(ctx)
		return oneChanged(res, err, "The %s policy with name %s cannot be found.", ref.Kind, name)
	})
}

// SetBoundary limits a user or role to what a managed policy allows too; ""
// takes the limit away.
func (s *Service) SetBoundary(ctx context.Context, ref Ref, policyARN string) error {
	models := map[Kind]any{KindUser: (*userRow)(nil), KindRole: (*roleRow)(nil)}
	model, ok := models[ref.Kind]
	if !ok {
		return newError(ErrInvalidInput, "A %s has no permissions boundary.", ref.Kind)
	}
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		e, err := entityOf(ctx, tx, ref)
		if err != nil {
			return err
		}
		if policyARN == "" && e.Boundary == "" {
			return newError(ErrNoSuchEntity, "The %s with name %s does not have a permissions boundary.", ref.Kind, ref.Name)
		}
		if err := checkBoundary(ctx, tx, ref.Account, policyARN); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model(model).Set("boundary = ?", policyARN).Where("id = ?", e.ID).Exec(ctx)
		return err
	})
}

func checkBoundary(ctx context.Context, db bun.IDB, account, arn string) error {
	if arn == "" {
		return nil
	}
	ok, err := attachable(ctx, db, account, arn)
	if err == nil && !ok {
		err = newError(ErrNoSuchEntity, "Scope ARN: %s does not exist or is not attachable.", arn)
	}
	return err
}
