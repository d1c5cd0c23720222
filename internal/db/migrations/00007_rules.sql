-- +goose Up
-- Rule groups of workspaces, as they were given.
CREATE TABLE rule_namespaces (
    workspace_id  TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    name          TEXT NOT NULL,
    data          TEXT NOT NULL, -- YAML
    rule_count    BIGINT NOT NULL,
    tags          TEXT NOT NULL, -- JSON object
    status        TEXT NOT NULL,
    status_reason TEXT NOT NULL, -- empty for none
    revision      BIGINT NOT NULL, -- another one with every change of data
    created_at    BIGINT NOT NULL,
    modified_at   BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, name)
);

-- What a client token was used for, so that a repeated call gives the same answer.
CREATE TABLE rule_tokens (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    operation    TEXT NOT NULL,
    token        TEXT NOT NULL,
    input        TEXT NOT NULL, -- hash of the request's parameters
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, operation, token)
);

-- Alert manager definitions of workspaces, as they were given.
CREATE TABLE alert_definitions (
    workspace_id  TEXT PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
    data          TEXT NOT NULL, -- YAML; may hold secrets of receivers
    status        TEXT NOT NULL,
    status_reason TEXT NOT NULL, -- empty for none
    revision      BIGINT NOT NULL, -- another one with every change of data
    created_at    BIGINT NOT NULL,
    modified_at   BIGINT NOT NULL
);

CREATE TABLE alert_tokens (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    operation    TEXT NOT NULL,
    token        TEXT NOT NULL,
    input        TEXT NOT NULL, -- hash of the request's parameters
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, operation, token)
);

-- +goose Down
DROP TABLE alert_tokens;
DROP TABLE alert_definitions;
DROP TABLE rule_tokens;
DROP TABLE rule_namespaces;
