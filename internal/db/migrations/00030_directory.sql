-- +goose Up
-- One directory of people for each account.
CREATE TABLE identity_stores (
    id         TEXT PRIMARY KEY, -- d-..........
    account_id TEXT NOT NULL UNIQUE,
    instance   TEXT NOT NULL UNIQUE, -- ssoins-................
    created_at BIGINT NOT NULL
);

CREATE TABLE directory_users (
    id                TEXT PRIMARY KEY,
    store_id          TEXT NOT NULL REFERENCES identity_stores (id),
    user_name         TEXT NOT NULL,
    name_key          TEXT NOT NULL, -- user_name as it is compared
    email_key         TEXT NOT NULL, -- the primary address as it is compared, empty for none
    display_key       TEXT NOT NULL,
    profile           TEXT NOT NULL, -- JSON object
    disabled          BOOLEAN NOT NULL,
    administrator     BOOLEAN NOT NULL, -- of the installation
    email_verified_at BIGINT NOT NULL, -- 0: not
    created_at        BIGINT NOT NULL,
    created_by        TEXT NOT NULL,
    updated_at        BIGINT NOT NULL,
    updated_by        TEXT NOT NULL,
    UNIQUE (store_id, name_key)
);
CREATE UNIQUE INDEX directory_users_email ON directory_users (store_id, email_key) WHERE email_key <> '';

CREATE TABLE directory_groups (
    id           TEXT PRIMARY KEY,
    store_id     TEXT NOT NULL REFERENCES identity_stores (id),
    display_name TEXT NOT NULL,
    name_key     TEXT NOT NULL,
    description  TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    created_by   TEXT NOT NULL,
    updated_at   BIGINT NOT NULL,
    updated_by   TEXT NOT NULL,
    UNIQUE (store_id, name_key)
);

CREATE TABLE directory_memberships (
    id         TEXT PRIMARY KEY,
    store_id   TEXT NOT NULL REFERENCES identity_stores (id),
    group_id   TEXT NOT NULL REFERENCES directory_groups (id) ON DELETE CASCADE,
    user_id    TEXT NOT NULL REFERENCES directory_users (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    UNIQUE (group_id, user_id)
);
CREATE INDEX directory_memberships_user ON directory_memberships (user_id);

-- What a provider outside calls a user or group.
CREATE TABLE directory_external_ids (
    store_id TEXT NOT NULL REFERENCES identity_stores (id),
    kind     TEXT NOT NULL, -- USER or GROUP
    issuer   TEXT NOT NULL,
    value    TEXT NOT NULL,
    owner_id TEXT NOT NULL,
    PRIMARY KEY (store_id, kind, issuer, value)
);
CREATE INDEX directory_external_ids_owner ON directory_external_ids (owner_id);

-- Tokens with which a provider outside writes users and groups here (SCIM).
CREATE TABLE directory_tokens (
    id         TEXT PRIMARY KEY,
    store_id   TEXT NOT NULL REFERENCES identity_stores (id),
    hash       TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL -- 0: never
);

-- +goose Down
DROP TABLE directory_tokens;
DROP TABLE directory_external_ids;
DROP TABLE directory_memberships;
DROP TABLE directory_groups;
DROP TABLE directory_users;
DROP TABLE identity_stores;
