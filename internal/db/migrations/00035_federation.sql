-- +goose Up
-- Providers outside, by which people may sign in.
CREATE TABLE identity_providers (
    id         TEXT NOT NULL, -- short, as it is in addresses
    store_id   TEXT NOT NULL REFERENCES identity_stores (id),
    kind       TEXT NOT NULL, -- oidc or saml
    name       TEXT NOT NULL, -- on the button
    enabled    BOOLEAN NOT NULL,
    settings   TEXT NOT NULL, -- JSON object
    secret     TEXT NOT NULL, -- sealed; empty for none
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (store_id, id)
);

-- Which provider signed somebody in, and what it calls them and its session: to
-- end both sessions together.
ALTER TABLE person_sessions ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE person_sessions ADD COLUMN provider_subject TEXT NOT NULL DEFAULT '';
-- The same, as JSON, between the provider and a second factor here.
ALTER TABLE person_links ADD COLUMN outside TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE person_links DROP COLUMN outside;
ALTER TABLE person_sessions DROP COLUMN provider_subject;
ALTER TABLE person_sessions DROP COLUMN provider;
DROP TABLE identity_providers;
