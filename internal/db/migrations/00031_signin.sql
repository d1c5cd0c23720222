-- +goose Up
-- How people of the directory sign in. Of secrets only hashes are kept, or, of
-- what has to be read again, a sealed form.
CREATE TABLE person_passwords (
    user_id     TEXT PRIMARY KEY REFERENCES directory_users (id) ON DELETE CASCADE,
    hash        TEXT NOT NULL, -- argon2id
    old_hashes  TEXT NOT NULL, -- JSON array, newest first
    must_change BOOLEAN NOT NULL, -- it is a one-time password
    expires_at  BIGINT NOT NULL, -- 0: never
    changed_at  BIGINT NOT NULL
);

CREATE TABLE person_factors (
    id         TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES directory_users (id) ON DELETE CASCADE,
    kind       TEXT NOT NULL, -- totp
    name       TEXT NOT NULL,
    secret     TEXT NOT NULL, -- sealed
    confirmed  BOOLEAN NOT NULL, -- false while it is being set up
    last_step  BIGINT NOT NULL, -- of the newest code that was used
    created_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL
);
CREATE INDEX person_factors_user ON person_factors (user_id);

CREATE TABLE person_recovery_codes (
    user_id TEXT NOT NULL REFERENCES directory_users (id) ON DELETE CASCADE,
    hash    TEXT NOT NULL,
    PRIMARY KEY (user_id, hash)
);

CREATE TABLE person_sessions (
    token_hash TEXT PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    user_id    TEXT NOT NULL REFERENCES directory_users (id) ON DELETE CASCADE,
    csrf_token TEXT NOT NULL,
    methods    TEXT NOT NULL, -- how they signed in, such as "password totp"
    address    TEXT NOT NULL,
    agent      TEXT NOT NULL,
    proved_at  BIGINT NOT NULL, -- when the person last showed who they are
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX person_sessions_user ON person_sessions (user_id);

-- Browsers from which a person signed in before.
CREATE TABLE person_devices (
    token_hash TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL REFERENCES directory_users (id) ON DELETE CASCADE,
    trusted    BOOLEAN NOT NULL, -- the second factor is not asked for
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX person_devices_user ON person_devices (user_id);

-- What one-time links are for.
CREATE TABLE person_links (
    token_hash TEXT PRIMARY KEY,
    purpose    TEXT NOT NULL, -- login, invitation, verification, reset, or factor: the second step of a sign-in
    user_id    TEXT NOT NULL REFERENCES directory_users (id) ON DELETE CASCADE,
    email      TEXT NOT NULL, -- the address it was sent to, empty for none
    tries      BIGINT NOT NULL, -- that are left
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX person_links_user ON person_links (user_id, purpose);

-- +goose Down
DROP TABLE person_links;
DROP TABLE person_devices;
DROP TABLE person_sessions;
DROP TABLE person_recovery_codes;
DROP TABLE person_factors;
DROP TABLE person_passwords;
