-- +goose Up
ALTER TABLE person_factors ADD COLUMN credential TEXT NOT NULL DEFAULT ''; -- id of a passkey; empty for what is none
CREATE UNIQUE INDEX person_factors_credential ON person_factors (credential) WHERE credential <> '';

-- What was asked of a browser, until it answers: a passkey's signature, or to
-- come back from a provider outside.
CREATE TABLE person_challenges (
    token_hash TEXT PRIMARY KEY,
    purpose    TEXT NOT NULL,
    user_id    TEXT NOT NULL, -- empty where that is what the answer tells
    data       TEXT NOT NULL, -- JSON
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX person_challenges_expiry ON person_challenges (expires_at);

-- +goose Down
DROP TABLE person_challenges;
DROP INDEX person_factors_credential;
DELETE FROM person_factors WHERE kind = 'passkey';
ALTER TABLE person_factors DROP COLUMN credential;
