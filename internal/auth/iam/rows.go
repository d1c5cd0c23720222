package iam

import "github.com/uptrace/bun"

// The tables, as the migrations make them. Times are milliseconds, 0 for never.

type accountRow struct {
	bun.BaseModel `bun:"table:iam_accounts"`
	ID            string `bun:"id,pk"`
	Name          string `bun:"name"`
	CreatedAt     int64  `bun:"created_at"`
}

type aliasRow struct {
	bun.BaseModel `bun:"table:iam_account_aliases"`
	Alias         string `bun:"alias,pk"`
	AccountID     string `bun:"account_id"`
}

type userRow struct {
	bun.BaseModel `bun:"table:iam_users"`
	ID            string `bun:"id,pk"`
	AccountID     string `bun:"account_id"`
	Name          string `bun:"name"`
	Path          string `bun:"path"`
	Boundary      string `bun:"boundary"`
	CreatedAt     int64  `bun:"created_at"`
}

type groupRow struct {
	bun.BaseModel `bun:"table:iam_groups"`
	ID            string `bun:"id,pk"`
	AccountID     string `bun:"account_id"`
	Name          string `bun:"name"`
	Path          string `bun:"path"`
	CreatedAt     int64  `bun:"created_at"`
}

type memberRow struct {
	bun.BaseModel `bun:"table:iam_group_members"`
	GroupID       string `bun:"group_id,pk"`
	UserID        string `bun:"user_id,pk"`
}

type roleRow struct {
	bun.BaseModel `bun:"table:iam_roles"`
	ID            string `bun:"id,pk"`
	AccountID     string `bun:"account_id"`
	Name          string `bun:"name"`
	Path          string `bun:"path"`
	Description   string `bun:"description"`
	Trust         string `bun:"trust"`
	MaxSession    int64  `bun:"max_session"` // seconds
	Boundary      string `bun:"boundary"`
	CreatedAt     int64  `bun:"created_at"`
	UsedAt        int64  `bun:"used_at"`
	UsedRegion    string `bun:"used_region"`
}

type keyRow struct {
	bun.BaseModel `bun:"table:iam_access_keys"`
	ID            string `bun:"id,pk"`
	UserID        string `bun:"user_id"`
	Secret        string `bun:"secret"`
	Status        string `bun:"status"`
	CreatedAt     int64  `bun:"created_at"`
	UsedAt        int64  `bun:"used_at"`
	UsedService   string `bun:"used_service"`
	UsedRegion    string `bun:"used_region"`
}

type policyRow struct {
	bun.BaseModel  `bun:"table:iam_policies"`
	ID             string `bun:"id,pk"`
	AccountID      string `bun:"account_id"`
	ARN            string `bun:"arn"`
	Name           string `bun:"name"`
	Path           string `bun:"path"`
	Description    string `bun:"description"`
	DefaultVersion int64  `bun:"default_version"`
	LastVersion    int64  `bun:"last_version"`
	CreatedAt      int64  `bun:"created_at"`
	UpdatedAt      int64  `bun:"updated_at"`
}

type versionRow struct {
	bun.BaseModel `bun:"table:iam_policy_versions"`
	PolicyID      string `bun:"policy_id,pk"`
	Version       int64  `bun:"version,pk"`
	Document      string `bun:"document"`
	CreatedAt     int64  `bun:"created_at"`
}

type attachmentRow struct {
	bun.BaseModel `bun:"table:iam_attachments"`
	OwnerID       string `bun:"owner_id,pk"`
	PolicyARN     string `bun:"policy_arn,pk"`
}

type inlineRow struct {
	bun.BaseModel `bun:"table:iam_inline_policies"`
	OwnerID       string `bun:"owner_id,pk"`
	Name          string `bun:"name,pk"`
	Document      string `bun:"document"`
}

type tagRow struct {
	bun.BaseModel `bun:"table:iam_tags"`
	OwnerID       string `bun:"owner_id,pk"`
	Name          string `bun:"name,pk"`
	Value         string `bun:"value"`
}

type providerRow struct {
	bun.BaseModel `bun:"table:iam_oidc_providers"`
	ID            string `bun:"id,pk"`
	AccountID     string `bun:"account_id"`
	URL           string `bun:"url"`
	ClientIDs     string `bun:"client_ids"`
	Thumbprints   string `bun:"thumbprints"`
	CA            string `bun:"ca"`
	JWKS          string `bun:"jwks"`
	InternalURL   string `bun:"internal_url"`
	CreatedAt     int64  `bun:"created_at"`
}

type sessionKeyRow struct {
	bun.BaseModel `bun:"table:iam_session_keys"`
	ID            int64  `bun:"id,pk"`
	Secret        string `bun:"secret"`
	CreatedAt     int64  `bun:"created_at"`
	RetiredAt     int64  `bun:"retired_at"`
}

type settingRow struct {
	bun.BaseModel `bun:"table:settings"`
	Name          string `bun:"name,pk"`
	Value         string `bun:"value"`
}
