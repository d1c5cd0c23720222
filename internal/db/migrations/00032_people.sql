-- +goose Up
-- People are in the directory now. Sessions and links from before end; the first
-- start makes the administrator anew.
DROP TABLE people_sessions;
DROP TABLE login_links;
DROP TABLE people;

-- What dashboards know about who may sign in.
CREATE VIEW people AS
    SELECT id, user_name AS login, COALESCE(json_extract(profile, '$.DisplayName'), user_name) AS name,
        COALESCE(json_extract(profile, '$.Emails[0].Value'), '') AS email,
        CASE WHEN administrator THEN 'Admin' ELSE 'Viewer' END AS role, created_at
    FROM directory_users WHERE NOT disabled;

-- +goose Down
DROP VIEW people;
CREATE TABLE people (
    id         TEXT PRIMARY KEY,
    login      TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    email      TEXT NOT NULL,
    role       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE login_links (
    token_hash TEXT PRIMARY KEY,
    person_id  TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);
CREATE TABLE people_sessions (
    token_hash TEXT PRIMARY KEY,
    person_id  TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    csrf_token TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX people_sessions_person ON people_sessions (person_id);
