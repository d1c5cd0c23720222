package iam

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/uptrace/bun"
)

// Account is a tenant: what it holds, others cannot see.
type Account struct {
	ID, Name string
	Created  time.Time
}

var validAccount = regexp.MustCompile(`^\d{12}$`)

// CreateAccount makes an empty account.
func (s *Service) CreateAccount(ctx context.Context, id, name string) error {
	if !validAccount.MatchString(id) {
		return newError(ErrInvalidInput, "account %q: must have 12 digits", id)
	}
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		row := accountRow{ID: id, Name: name, CreatedAt: s.now()}
		n, err := tx.NewSelect().Model(&row).WherePK().Count(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			return newError(ErrExists, "Account %s already exists.", id)
		}
		_, err = tx.NewInsert().Model(&row).Exec(ctx)
		return err
	})
}

// Accounts lists the accounts by id.
func (s *Service) Accounts(ctx context.Context) ([]Account, error) {
	var rows []accountRow
	if err := s.db.NewSelect().Model(&rows).Order("id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	all := make([]Account, len(rows))
	for i, r := range rows {
		all[i] = Account{ID: r.ID, Name: r.Name, Created: timeOf(r.CreatedAt)}
	}
	return all, nil
}

// SetAlias gives an account its only other name, unique among all accounts.
func (s *Service) SetAlias(ctx context.Context, account, alias string) error {
	if len(alias) < 3 || len(alias) > 63 || !validAlias.MatchString(alias) || validAccount.MatchString(alias) {
		return newError(ErrInvalidInput, "The specified value for accountAlias is invalid. It must have 3 to 63 lowercase letters, digits and single dashes.")
	}
	return s.change(ctx, func(ctx context.Context, tx bun.Tx) error {
		var taken aliasRow
		err := tx.NewSelect().Model(&taken).Where("alias = ?", alias).Scan(ctx)
		switch {
		case err == nil && taken.AccountID != account:
			return newError(ErrExists, "The account alias %s already exists.", alias)
		case err == nil || !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if _, err := tx.NewDelete().Model((*aliasRow)(nil)).Where("account_id = ?", account).Exec(ctx); err != nil {
			return err
		}
		_, err = tx.NewInsert().Model(&aliasRow{Alias: alias, AccountID: account}).Exec(ctx)
		return err
	})
}

// Alias returns the account's other name, "" for none.
func (s *Service) Alias(ctx context.Context, account string) (string, error) {
	var rows []aliasRow
	if err := s.db.NewSelect().Model(&rows).Where("account_id = ?", account).Scan(ctx); err != nil {
		return "", fmt.Errorf("read account alias: %w", err)
	}
	if len(rows) == 0 {
		return "", nil
	}
	return rows[0].Alias, nil
}

// DeleteAlias takes the account's other name away.
func (s *Service) DeleteAlias(ctx context.Context, account, alias string) error {
	res, err := s.db.NewDelete().Model((*aliasRow)(nil)).Where("account_id = ? AND alias = ?", account, alias).Exec(ctx)
	return oneChanged(res, err, "The account alias %s cannot be found.", alias)
}

// Summary counts what an account holds, beside its quotas, under AWS' names.
func (s *Service) Summary(ctx context.Context, account string) (map[string]int, error) {
	sum := map[string]int{
		"UsersQuota": maxUsers, "GroupsQuota": maxGroups, "RolesQuota": maxRoles, "PoliciesQuota": maxPolicies,
		"GroupsPerUserQuota": maxGroupsPerUser, "AccessKeysPerUserQuota": maxAccessKeys,
		"AttachedPoliciesPerUserQuota": maxAttached, "AttachedPoliciesPerGroupQuota": maxAttached, "AttachedPoliciesPerRoleQuota": maxAttached,
		"VersionsPerPolicyQuota": maxVersions, "PolicySizeQuota": maxManagedPolicySize, "AssumeRolePolicySizeQuota": maxTrustPolicySize,
		"UserPolicySizeQuota": maxInlineSize[KindUser], "GroupPolicySizeQuota": maxInlineSize[KindGroup], "RolePolicySizeQuota": maxInlineSize[KindRole],
		"AccountAccessKeysPresent": 0, "AccountMFAEnabled": 0, "AccountSigningCertificatesPresent": 0, "MFADevices": 0, "MFADevicesInUse": 0,
		"InstanceProfiles": 0, "ServerCertificates": 0,
	}
	for name, model := range map[string]any{"Users": (*userRow)(nil), "Groups": (*groupRow)(nil), "Roles": (*roleRow)(nil),
		"Policies": (*policyRow)(nil), "Providers": (*providerRow)(nil)} {
		n, err := s.db.NewSelect().Model(model).Where("account_id = ?", account).Count(ctx)
		if err != nil {
			return nil, fmt.Errorf("count %s: %w", name, err)
		}
		sum[name] = n
	}
	own := s.db.NewSelect().Model((*policyRow)(nil)).Column("id").Where("account_id = ?", account)
	n, err := s.db.NewSelect().Model((*versionRow)(nil)).Where("policy_id IN (?)", own).Count(ctx)
	if err != nil {
		return nil, fmt.Errorf("count policy versions: %w", err)
	}
	sum["PolicyVersionsInUse"] = n
	return sum, nil
}
