-- +goose Up
-- Dashboard workspaces: what Amazon Managed Grafana calls workspaces.
CREATE TABLE dash_workspaces (
    id          TEXT PRIMARY KEY, -- g- and ten hexadecimal digits
    account_id  TEXT NOT NULL,
    region      TEXT NOT NULL,
    records_key TEXT NOT NULL UNIQUE, -- workspace_id of its boards, folders, data sources and so on
    name        TEXT NOT NULL,
    status      TEXT NOT NULL,
    base_role   TEXT NOT NULL, -- what everybody of the directory has here; empty: nothing
    spec        TEXT NOT NULL, -- JSON object: what was asked for, authentication, configuration
    tags        TEXT NOT NULL, -- JSON object
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX dash_workspaces_account ON dash_workspaces (account_id, region, id);

CREATE TABLE dash_workspace_permissions (
    workspace_id TEXT NOT NULL REFERENCES dash_workspaces (id) ON DELETE CASCADE,
    kind         TEXT NOT NULL, -- SSO_USER or SSO_GROUP
    subject      TEXT NOT NULL, -- id of the user or group
    role         TEXT NOT NULL, -- ADMIN, EDITOR or VIEWER
    created_at   BIGINT NOT NULL,
    created_by   TEXT NOT NULL,
    PRIMARY KEY (workspace_id, kind, subject)
);
CREATE INDEX dash_workspace_permissions_subject ON dash_workspace_permissions (kind, subject);

-- Tokens by which callers may repeat a creation.
CREATE TABLE dash_workspace_tokens (
    account_id   TEXT NOT NULL,
    token        TEXT NOT NULL,
    input        TEXT NOT NULL, -- hash
    workspace_id TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (account_id, token)
);

-- The directory itself is asked now.
DROP VIEW people;

-- +goose Down
CREATE VIEW people AS
    SELECT id, user_name AS login, COALESCE(json_extract(profile, '$.DisplayName'), user_name) AS name,
        COALESCE(json_extract(profile, '$.Emails[0].Value'), '') AS email,
        CASE WHEN administrator THEN 'Admin' ELSE 'Viewer' END AS role, created_at
    FROM directory_users WHERE NOT disabled;
DROP TABLE dash_workspace_tokens;
DROP TABLE dash_workspace_permissions;
DROP TABLE dash_workspaces;
