package iam

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/mangru/mangru/internal/auth/policy"
)

// Policy is a managed policy: one of the account's own, or one of AWS'.
type Policy struct {
	// AccountID is "aws" for policies of AWS.
	AccountID, ID, Name, Path, ARN string
	Description                    string
	// DefaultVersion such as v1 is the one in force.
	DefaultVersion string
	// Attachments and Boundaries count the users, groups and roles of the
	// account that have the policy attached, or as permissions boundary.
	Attachments, Boundaries int
	Created, Updated        time.Time
	Tags                    map[string]string // nil in lists
}

// PolicyVersion is one text of a policy.
type PolicyVersion struct {
	ID       string // such as v1
	Document string
	Default  bool
	Created  time.Time
}

// accountAWS owns the policies of AWS.
const accountAWS = "aws"

func (p *policyRow) policy() Policy {
	return Policy{AccountID: p.AccountID, ID: p.ID, Name: p.Name, Path: p.Path, ARN: p.ARN, Description: p.Description,
		DefaultVersion: versionName(p.DefaultVersion), Created: timeOf(p.CreatedAt), Updated: timeOf(p.UpdatedAt)}
}

func versionName(n int64) string { return "v" + strconv.FormatInt(n, 10) }

// versionNumber reads a version's name; 0 is none.
func versionNumber(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimPrefix(name, "v"), 10, 64)
	if err != nil || n < 1 || versionName(n) != name {
		return 0
	}
	return n
}

// parse checks a document that a caller gave.
func parse(document string, kind policy.Kind) (*policy.Document, error) {
	if len(document) > maxDocumentSize {
		return nil, newError(ErrMalformedPolicy, "The policy document has %d bytes, %d are allowed.", len(document), maxDocumentSize)
	}
	d, err := policy.Parse([]byte(document), kind)
	if err != nil {
		return nil, &Error{Kind: ErrMalformedPolicy, Message: err.Error()}
	}
	return d, nil
}

func checkManaged(document string) error {
	if _, err := parse(document, policy.CustomerManaged); err != nil {
		return err
	}
	if sizeOf(document) > maxManagedPolicySize {
		return newError(ErrLimitExceeded, "Cannot exceed quota for PolicySize: %d", maxManagedPolicySize)
	}
	return nil
}

// PolicySpec is what a new policy is like.
type PolicySpec struct {
	Name, Path, Description string
	Document                string
	Tags                    map[string]string
}

// CreatePolicy makes a policy of the account's own.
func (s *Service) CreatePolicy(ctx context.Context, account string, spec PolicySpec) (Policy, error) {
	if err := checkName("policyName", spec.Name, 128); err != nil {
		return Policy{}, err
	}
	path, err := checkPath(spec.Path)
	if err != nil {
		return Policy{}, err
	}
	if err := errors.Join(checkDescription(spec.Description), checkManaged(spec.Document)); err != nil {
		return Policy{}, err
	}
	now := s.now()
	row := policyRow{ID: newID(prefixPolicy), AccountID: account, ARN: ARN(account, KindPolicy, path, spec.Name), Name: spec.Name, Path: path,
		Description: spec.Description, DefaultVersion: 1, LastVersion: 1, CreatedAt: now, UpdatedAt: now}
	err = s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		if taken, err := nameTaken(ctx, tx, (*policyRow)(nil), account, spec.Name); err != nil {
			return err
		} else if taken {
			return newError(ErrExists, "A policy called %s already exists. Duplicate names are not allowed.", spec.Name)
		}
		if err := checkCount(ctx, tx, (*policyRow)(nil), account, "Policies", maxPolicies); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.NewInsert().Model(&versionRow{PolicyID: row.ID, Version: 1, Document: spec.Document, CreatedAt: now}).Exec(ctx); err != nil {
			return err
		}
		return putTags(ctx, tx, row.ID, spec.Tags)
	})
	if err != nil {
		return Policy{}, fmt.Errorf("create policy: %w", err)
	}
	p := row.policy()
	p.Tags = spec.Tags
	return p, nil
}

func findPolicy(ctx context.Context, db bun.IDB, account, arn string) (*policyRow, error) {
	p := new(policyRow)
	err := db.NewSelect().Model(p).Where("account_id = ? AND arn = ?", account, arn).Scan(ctx)
	if err != nil {
		return nil, found(err, "Policy %s was not found.", arn)
	}
	return p, nil
}

// Policy returns a policy of the account or of AWS, with its tags.
func (s *Service) Policy(ctx context.Context, account, arn string) (Policy, error) {
	p, ok := managedPolicy(arn)
	if !ok {
		row, err := findPolicy(ctx, s.db, account, arn)
		if err != nil {
			return Policy{}, err
		}
		p = row.policy()
		if p.Tags, err = tagsOf(ctx, s.db, p.ID); err != nil {
			return Policy{}, err
		}
	}
	uses, err := s.policyUses(ctx, account)
	p.Attachments, p.Boundaries = uses[arn].attached, uses[arn].boundaries
	return p, err
}

func managedPolicy(arn string) (Policy, bool) {
	for _, m := range policy.ManagedPolicies() {
		if m.ARN == arn {
			return ofAWS(m), true
		}
	}
	return Policy{}, false
}

type policyUse struct{ attached, boundaries int }

// policyUses counts what the account's users, groups and roles use, by policy.
func (s *Service) policyUses(ctx context.Context, account string) (map[string]policyUse, error) {
	uses := make(map[string]policyUse)
	type count struct {
		ARN string `bun:"arn"`
		N   int    `bun:"n"`
	}
	for _, model := range []any{(*userRow)(nil), (*groupRow)(nil), (*roleRow)(nil)} {
		var counts []count
		owners := s.db.NewSelect().Model(model).Column("id").Where("account_id = ?", account)
		err := s.db.NewSelect().Model((*attachmentRow)(nil)).ColumnExpr("policy_arn AS arn, count(*) AS n").
			Where("owner_id IN (?)", owners).GroupExpr("policy_arn").Scan(ctx, &counts)
		if err != nil {
			return nil, fmt.Errorf("count attached policies: %w", err)
		}
		for _, c := range counts {
			u := uses[c.ARN]
			u.attached += c.N
			uses[c.ARN] = u
		}
	}
	for _, model := range []any{(*userRow)(nil), (*roleRow)(nil)} {
		var counts []count
		err := s.db.NewSelect().Model(model).ColumnExpr("boundary AS arn, count(*) AS n").
			Where("account_id = ? AND boundary <> ''", account).GroupExpr("boundary").Scan(ctx, &counts)
		if err != nil {
			return nil, fmt.Errorf("count permissions boundaries: %w", err)
		}
		for _, c := range counts {
			u := uses[c.ARN]
			u.boundaries += c.N
			uses[c.ARN] = u
		}
	}
	return uses, nil
}

// Policies lists the policies of AWS, of the account, or of both, by ARN.
func (s *Service) Policies(ctx context.Context, account string, ofAmazon, own bool) ([]Policy, error) {
	var all []Policy
	if ofAmazon {
		for _, m := range policy.ManagedPolicies() {
			all = append(all, ofAWS(m))
		}
	}
	if own {
		var rows []policyRow
		if err := s.db.NewSelect().Model(&rows).Where("account_id = ?", account).Scan(ctx); err != nil {
			return nil, fmt.Errorf("list policies: %w", err)
		}
		for i := range rows {
			all = append(all, rows[i].policy())
		}
	}
	uses, err := s.policyUses(ctx, account)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Attachments, all[i].Boundaries = uses[all[i].ARN].attached, uses[all[i].ARN].boundaries
	}
	slices.SortFunc(all, func(a, b Policy) int { return strings.Compare(a.ARN, b.ARN) })
	return all, nil
}

// DeletePolicy removes a policy that nobody uses and that has one version.
func (s *Service) DeletePolicy(ctx context.Context, account, arn string) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		p, err := findPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		used := 0
		for _, q := range []*bun.SelectQuery{
			tx.NewSelect().Model((*attachmentRow)(nil)).Where("policy_arn = ?", arn),
			tx.NewSelect().Model((*userRow)(nil)).Where("boundary = ?", arn),
			tx.NewSelect().Model((*roleRow)(nil)).Where("boundary = ?", arn),
		} {
			n, err := q.Count(ctx)
			if err != nil {
				return err
			}
			used += n
		}
		if used > 0 {
			return newError(ErrDeleteConflict, "Cannot delete a policy attached to entities.")
		}
		n, err := tx.NewSelect().Model((*versionRow)(nil)).Where("policy_id = ?", p.ID).Count(ctx)
		if err != nil {
			return err
		}
		if n > 1 {
			return newError(ErrDeleteConflict, "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "+
				"The default version is deleted with the policy.")
		}
		if _, err := tx.NewDelete().Model((*versionRow)(nil)).Where("policy_id = ?", p.ID).Exec(ctx); err != nil {
			return err
		}
		if _, err := tx.NewDelete().Model((*tagRow)(nil)).Where("owner_id = ?", p.ID).Exec(ctx); err != nil {
			return err
		}
		_, err = tx.NewDelete().Model(p).WherePK().Exec(ctx)
		return err
	})
}

// PolicyVersions lists the texts of a policy, the newest first.
func (s *Service) PolicyVersions(ctx context.Context, account, arn string) ([]PolicyVersion, error) {
	if p, ok := managedPolicy(arn); ok {
		d, _ := policy.Managed(arn)
		return []PolicyVersion{{ID: p.DefaultVersion, Document: d.String(), Default: true, Created: p.Updated}}, nil
	}
	p, err := findPolicy(ctx, s.db, account, arn)
	if err != nil {
		return nil, err
	}
	rows, err := versionRows(ctx, s.db, p.ID)
	if err != nil {
		return nil, err
	}
	versions := make([]PolicyVersion, len(rows))
	for i, r := range rows {
		versions[i] = PolicyVersion{ID: versionName(r.Version), Document: r.Document, Default: r.Version == p.DefaultVersion, Created: timeOf(r.CreatedAt)}
	}
	return versions, nil
}

func versionRows(ctx context.Context, db bun.IDB, policyID string) ([]versionRow, error) {
	var rows []versionRow
	if err := db.NewSelect().Model(&rows).Where("policy_id = ?", policyID).Order("version DESC").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read versions of policy: %w", err)
	}
	return rows, nil
}

// PolicyVersion returns one text of a policy.
func (s *Service) PolicyVersion(ctx context.Context, account, arn, version string) (PolicyVersion, error) {
	versions, err := s.PolicyVersions(ctx, account, arn)
	if err != nil {
		return PolicyVersion{}, err
	}
	for _, v := range versions {
		if v.ID == version {
			return v, nil
		}
	}
	return PolicyVersion{}, noVersion(arn, version)
}

func noVersion(arn, version string) error {
	return newError(ErrNoSuchEntity, "Policy %s version %s does not exist or is not attachable.", arn, version)
}

// CreatePolicyVersion adds a text to a policy and, when asked to, puts it in
// force.
func (s *Service) CreatePolicyVersion(ctx context.Context, account, arn, document string, makeDefault bool) (PolicyVersion, error) {
	if err := checkManaged(document); err != nil {
		return PolicyVersion{}, err
	}
	var v PolicyVersion
	err := s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		p, err := findPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		rows, err := versionRows(ctx, tx, p.ID)
		if err != nil {
			return err
		}
		if len(rows) >= maxVersions {
			return newError(ErrLimitExceeded, "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		p.LastVersion++
		p.UpdatedAt = s.now()
		if makeDefault {
			p.DefaultVersion = p.LastVersion
		}
		v = PolicyVersion{ID: versionName(p.LastVersion), Document: document, Default: makeDefault, Created: timeOf(p.UpdatedAt)}
		row := versionRow{PolicyID: p.ID, Version: p.LastVersion, Document: document, CreatedAt: p.UpdatedAt}
		if _, err := tx.NewInsert().Model(&row).Exec(ctx); err != nil {
			return err
		}
		_, err = tx.NewUpdate().Model(p).Column("last_version", "default_version", "updated_at").WherePK().Exec(ctx)
		return err
	})
	return v, err
}

// SetDefaultPolicyVersion puts another text of a policy in force.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, account, arn, version string) error {
	return s.changeVersion(ctx, account, arn, version, func(tx bun.Tx, p *policyRow, n int64) error {
		p.DefaultVersion, p.UpdatedAt = n, s.now()
		_, err := tx.NewUpdate().Model(p).Column("default_version", "updated_at").WherePK().Exec(ctx)
		return err
	})
}

// DeletePolicyVersion removes a text that is not in force.
func (s *Service) DeletePolicyVersion(ctx context.Context, account, arn, version string) error {
	return s.changeVersion(ctx, account, arn, version, func(tx bun.Tx, p *policyRow, n int64) error {
		if n == p.DefaultVersion {
			return newError(ErrDeleteConflict, "Cannot delete the default version of a policy.")
		}
		_, err := tx.NewDelete().Model(&versionRow{PolicyID: p.ID, Version: n}).WherePK().Exec(ctx)
		return err
	})
}

func (s *Service) changeVersion(ctx context.Context, account, arn, version string, f func(tx bun.Tx, p *policyRow, n int64) error) error {
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		p, err := findPolicy(ctx, tx, account, arn)
		if err != nil {
			return err
		}
		n := versionNumber(version)
		have, err := tx.NewSelect().Model((*versionRow)(nil)).Where("policy_id = ? AND version = ?", p.ID, n).Count(ctx)
		if err != nil {
			return err
		}
		if have == 0 {
			return noVersion(arn, version)
		}
		return f(tx, p, n)
	})
}

// Users of a policy.

// PolicyEntities lists, by name, who has a policy attached, or as permissions
// boundary.
func (s *Service) PolicyEntities(ctx context.Context, account, arn string, asBoundary bool) ([]Entity, error) {
	if _, ok := managedPolicy(arn); !ok {
		if _, err := findPolicy(ctx, s.db, account, arn); err != nil {
			return nil, err
		}
	}
	models := map[Kind]any{KindUser: (*userRow)(nil), KindGroup: (*groupRow)(nil), KindRole: (*roleRow)(nil)}
	if asBoundary {
		delete(models, KindGroup)
	}
	var all []Entity
	for _, kind := range slices.Sorted(maps.Keys(models)) {
		var rows []struct {
			ID   string `bun:"id"`
			Name string `bun:"name"`
			Path string `bun:"path"`
		}
		q := s.db.NewSelect().Model(models[kind]).Column("id", "name", "path").Where("account_id = ?", account).Order("name")
		if asBoundary {
			q = q.Where("boundary = ?", arn)
		} else {
			q = q.Where("id IN (?)", s.db.NewSelect().Model((*attachmentRow)(nil)).Column("owner_id").Where("policy_arn = ?", arn))
		}
		if err := q.Scan(ctx, &rows); err != nil {
			return nil, fmt.Errorf("list users of policy: %w", err)
		}
		for _, r := range rows {
			all = append(all, Entity{Ref: Ref{kind, account, r.Name}, ID: r.ID, Path: r.Path, ARN: ARN(account, kind, r.Path, r.Name)})
		}
	}
	return all, nil
}
