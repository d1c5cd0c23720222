-- +goose Up
ALTER TABLE iam_users ADD COLUMN boundary TEXT NOT NULL DEFAULT ''; -- policy ARN, empty for none
ALTER TABLE iam_access_keys ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0; -- 0: never
ALTER TABLE iam_access_keys ADD COLUMN used_service TEXT NOT NULL DEFAULT '';
ALTER TABLE iam_access_keys ADD COLUMN used_region TEXT NOT NULL DEFAULT '';

CREATE TABLE iam_account_aliases (
    alias      TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES iam_accounts (id)
);

CREATE TABLE iam_groups (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES iam_accounts (id),
    name       TEXT NOT NULL,
    path       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (account_id, name)
);

CREATE TABLE iam_group_members (
    group_id TEXT NOT NULL REFERENCES iam_groups (id),
    user_id  TEXT NOT NULL REFERENCES iam_users (id),
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX iam_group_members_user ON iam_group_members (user_id);

CREATE TABLE iam_roles (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL REFERENCES iam_accounts (id),
    name        TEXT NOT NULL,
    path        TEXT NOT NULL,
    description TEXT NOT NULL,
    trust       TEXT NOT NULL, -- JSON document
    max_session BIGINT NOT NULL, -- seconds
    boundary    TEXT NOT NULL, -- policy ARN, empty for none
    created_at  BIGINT NOT NULL,
    used_at     BIGINT NOT NULL, -- 0: never
    used_region TEXT NOT NULL,
    UNIQUE (account_id, name)
);

-- Policies of an account's own. Documents are kept as they were given.
CREATE TABLE iam_policies (
    id              TEXT PRIMARY KEY,
    account_id      TEXT NOT NULL REFERENCES iam_accounts (id),
    arn             TEXT NOT NULL UNIQUE,
    name            TEXT NOT NULL,
    path            TEXT NOT NULL,
    description     TEXT NOT NULL,
    default_version BIGINT NOT NULL,
    last_version    BIGINT NOT NULL, -- numbers are not used again
    created_at      BIGINT NOT NULL,
    updated_at      BIGINT NOT NULL,
    UNIQUE (account_id, name)
);

CREATE TABLE iam_policy_versions (
    policy_id  TEXT NOT NULL REFERENCES iam_policies (id),
    version    BIGINT NOT NULL,
    document   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (policy_id, version)
);

-- What hangs on a user, group or role; owner_id is the id of one of them.
CREATE TABLE iam_attachments (
    owner_id   TEXT NOT NULL,
    policy_arn TEXT NOT NULL,
    PRIMARY KEY (owner_id, policy_arn)
);
CREATE INDEX iam_attachments_policy ON iam_attachments (policy_arn);
INSERT INTO iam_attachments (owner_id, policy_arn) SELECT user_id, policy_arn FROM iam_user_policies;
DROP TABLE iam_user_policies;

CREATE TABLE iam_inline_policies (
    owner_id TEXT NOT NULL,
    name     TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (owner_id, name)
);

-- Tags of users, roles, policies and OpenID Connect providers.
CREATE TABLE iam_tags (
    owner_id TEXT NOT NULL,
    name     TEXT NOT NULL,
    value    TEXT NOT NULL,
    PRIMARY KEY (owner_id, name)
);

CREATE TABLE iam_oidc_providers (
    id           TEXT PRIMARY KEY,
    account_id   TEXT NOT NULL REFERENCES iam_accounts (id),
    url          TEXT NOT NULL, -- without scheme
    client_ids   TEXT NOT NULL, -- JSON array
    thumbprints  TEXT NOT NULL, -- JSON array
    ca           TEXT NOT NULL, -- PEM, empty for the system's
    jwks         TEXT NOT NULL, -- JSON, empty for discovery
    internal_url TEXT NOT NULL, -- where to ask instead of url, empty for url
    created_at   BIGINT NOT NULL,
    UNIQUE (account_id, url)
);

-- Keys that seal session tokens; themselves sealed with the secret key.
CREATE TABLE iam_session_keys (
    id         BIGINT PRIMARY KEY, -- 1 to 255, in the clear in tokens
    secret     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT NOT NULL -- 0: in use
);

-- +goose Down
DROP TABLE iam_session_keys;
DROP TABLE iam_oidc_providers;
DROP TABLE iam_tags;
DROP TABLE iam_inline_policies;
CREATE TABLE iam_user_policies (
    user_id    TEXT NOT NULL REFERENCES iam_users (id),
    policy_arn TEXT NOT NULL,
    PRIMARY KEY (user_id, policy_arn)
);
INSERT INTO iam_user_policies (user_id, policy_arn)
    SELECT owner_id, policy_arn FROM iam_attachments WHERE owner_id IN (SELECT id FROM iam_users);
DROP TABLE iam_attachments;
DROP TABLE iam_policy_versions;
DROP TABLE iam_policies;
DROP TABLE iam_roles;
DROP TABLE iam_group_members;
DROP TABLE iam_groups;
DROP TABLE iam_account_aliases;
ALTER TABLE iam_access_keys DROP COLUMN used_region;
ALTER TABLE iam_access_keys DROP COLUMN used_service;
ALTER TABLE iam_access_keys DROP COLUMN used_at;
ALTER TABLE iam_users DROP COLUMN boundary;
