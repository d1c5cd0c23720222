-- +goose Up
ALTER TABLE workspaces ADD COLUMN kms_key_arn TEXT NOT NULL DEFAULT ''; -- empty for none

-- What was answered to a client token, where the answer cannot be read again.
ALTER TABLE workspace_tokens ADD COLUMN answer TEXT NOT NULL DEFAULT ''; -- JSON
CREATE INDEX workspace_tokens_age ON workspace_tokens (created_at);

-- What was set for a workspace. NULL is the server's default.
CREATE TABLE workspace_configurations (
    workspace_id         TEXT PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
    retention_days       BIGINT,
    out_of_order_seconds BIGINT,
    rule_offset_seconds  BIGINT,
    label_sets           TEXT NOT NULL, -- JSON array
    status               TEXT NOT NULL,
    status_reason        TEXT NOT NULL,
    version              BIGINT NOT NULL -- grows with every change
);

CREATE TABLE workspace_policies (
    workspace_id TEXT PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
    document     TEXT NOT NULL, -- JSON
    revision_id  TEXT NOT NULL,
    modified_at  BIGINT NOT NULL
);

-- Where a workspace's own messages and its queries are logged.
CREATE TABLE workspace_logs (
    workspace_id  TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    destinations  TEXT NOT NULL, -- JSON array
    status        TEXT NOT NULL,
    status_reason TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    modified_at   BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, kind)
);

CREATE TABLE scrapers (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL,
    region        TEXT NOT NULL,
    alias         TEXT NOT NULL, -- empty for none
    tags          TEXT NOT NULL, -- JSON object
    configuration TEXT NOT NULL, -- base64
    source        TEXT NOT NULL, -- JSON object
    workspace_arn TEXT NOT NULL,
    status        TEXT NOT NULL,
    status_reason TEXT NOT NULL,
    version       BIGINT NOT NULL, -- grows with every change
    created_at    BIGINT NOT NULL,
    modified_at   BIGINT NOT NULL
);
CREATE INDEX scrapers_order ON scrapers (account_id, region, created_at, id);

CREATE TABLE scraper_logs (
    scraper_id    TEXT PRIMARY KEY REFERENCES scrapers (id) ON DELETE CASCADE,
    destination   TEXT NOT NULL,
    components    TEXT NOT NULL, -- JSON array
    status        TEXT NOT NULL,
    status_reason TEXT NOT NULL,
    modified_at   BIGINT NOT NULL
);

-- +goose Down
DROP TABLE scraper_logs;
DROP TABLE scrapers;
DROP TABLE workspace_logs;
DROP TABLE workspace_policies;
DROP TABLE workspace_configurations;
DROP INDEX workspace_tokens_age;
ALTER TABLE workspace_tokens DROP COLUMN answer;
ALTER TABLE workspaces DROP COLUMN kms_key_arn;
