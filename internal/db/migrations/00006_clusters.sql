-- +goose Up
CREATE TABLE clusters (
    id           TEXT PRIMARY KEY,
    account_id   TEXT NOT NULL,
    region       TEXT NOT NULL,
    name         TEXT NOT NULL,
    version      TEXT NOT NULL, -- of Kubernetes, such as 1.34; empty if unknown
    endpoint     TEXT NOT NULL, -- URL of the API server; empty if unknown
    ca           TEXT NOT NULL, -- base64 of the API server's CA certificates in PEM
    issuer       TEXT NOT NULL, -- of service account tokens
    jwks         TEXT NOT NULL, -- static keys (JSON); empty: they are fetched
    internal_url TEXT NOT NULL, -- where keys are fetched instead of at the issuer
    connector    TEXT NOT NULL, -- JSON object: provider, role
    tags         TEXT NOT NULL, -- JSON object
    created_at   BIGINT NOT NULL,
    UNIQUE (account_id, region, name)
);
CREATE INDEX clusters_name ON clusters (region, name);

CREATE TABLE cluster_associations (
    id              TEXT PRIMARY KEY,
    cluster_id      TEXT NOT NULL REFERENCES clusters (id),
    namespace       TEXT NOT NULL,
    service_account TEXT NOT NULL,
    role_arn        TEXT NOT NULL,
    target_role_arn TEXT NOT NULL, -- empty for none
    policy          TEXT NOT NULL, -- session policy; empty for none
    no_session_tags INTEGER NOT NULL, -- 0 or 1
    tags            TEXT NOT NULL, -- JSON object
    created_at      BIGINT NOT NULL,
    modified_at     BIGINT NOT NULL,
    UNIQUE (cluster_id, namespace, service_account)
);

-- What a client request token was used for, so that a repeated call gives the
-- same answer.
CREATE TABLE cluster_tokens (
    account_id TEXT NOT NULL,
    operation  TEXT NOT NULL,
    token      TEXT NOT NULL,
    input      TEXT NOT NULL, -- hash of the request's parameters
    result     TEXT NOT NULL, -- id of what was made
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, operation, token)
);

-- +goose Down
DROP TABLE cluster_tokens;
DROP TABLE cluster_associations;
DROP TABLE clusters;
