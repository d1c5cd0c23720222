-- +goose Up
CREATE TABLE workspaces (
    id         TEXT PRIMARY KEY,
    account_id TEXT NOT NULL,
    region     TEXT NOT NULL,
    alias      TEXT NOT NULL, -- empty for none
    status     TEXT NOT NULL,
    tags       TEXT NOT NULL, -- JSON object
    created_at BIGINT NOT NULL
);
CREATE INDEX workspaces_order ON workspaces (account_id, region, created_at, id);

-- What a client token was used for, so that a repeated call gives the same answer.
CREATE TABLE workspace_tokens (
    account_id   TEXT NOT NULL,
    operation    TEXT NOT NULL,
    token        TEXT NOT NULL,
    input        TEXT NOT NULL, -- hash of the request's parameters
    workspace_id TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (account_id, operation, token)
);

-- +goose Down
DROP TABLE workspace_tokens;
DROP TABLE workspaces;
