-- +goose Up
-- Add-ons: software that the server puts into registered clusters.
CREATE TABLE addons (
    cluster_id    TEXT NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    name          TEXT NOT NULL, -- such as adot
    id            TEXT NOT NULL, -- last part of the ARN
    version       TEXT NOT NULL, -- as it was asked for
    role_arn      TEXT NOT NULL, -- of its service account; empty for none
    configuration TEXT NOT NULL, -- YAML or JSON, as it was given; empty for none
    conflicts     TEXT NOT NULL, -- OVERWRITE, NONE or PRESERVE
    preserve      INTEGER NOT NULL, -- 1: what is in the cluster stays when it is deleted
    status        TEXT NOT NULL,
    issues        TEXT NOT NULL, -- JSON array
    tags          TEXT NOT NULL, -- JSON object
    token         TEXT NOT NULL, -- by which the caller may repeat its creation; empty for none
    created_at    BIGINT NOT NULL,
    modified_at   BIGINT NOT NULL,
    PRIMARY KEY (cluster_id, name)
);

CREATE TABLE addon_updates (
    id         TEXT PRIMARY KEY,
    cluster_id TEXT NOT NULL,
    name       TEXT NOT NULL,
    status     TEXT NOT NULL, -- InProgress, Successful or Failed
    params     TEXT NOT NULL, -- JSON array
    errors     TEXT NOT NULL, -- JSON array
    created_at BIGINT NOT NULL,
    FOREIGN KEY (cluster_id, name) REFERENCES addons (cluster_id, name) ON DELETE CASCADE
);
CREATE INDEX addon_updates_addon ON addon_updates (cluster_id, name);

-- +goose Down
DROP TABLE addon_updates;
DROP TABLE addons;
