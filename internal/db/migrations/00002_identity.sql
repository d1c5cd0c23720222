-- +goose Up
CREATE TABLE iam_accounts (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE iam_users (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES iam_accounts (id),
    name       TEXT NOT NULL,
    path       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (account_id, name)
);

CREATE TABLE iam_access_keys (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES iam_users (id),
    secret     TEXT NOT NULL, -- sealed with the secret key file, never plain
    status     TEXT NOT NULL, -- Active or Inactive
    created_at BIGINT NOT NULL
);
CREATE INDEX iam_access_keys_user ON iam_access_keys (user_id);

CREATE TABLE iam_user_policies (
    user_id    TEXT NOT NULL REFERENCES iam_users (id),
    policy_arn TEXT NOT NULL,
    PRIMARY KEY (user_id, policy_arn)
);

-- +goose Down
DROP TABLE iam_user_policies;
DROP TABLE iam_access_keys;
DROP TABLE iam_users;
DROP TABLE iam_accounts;
