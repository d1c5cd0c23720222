-- +goose Up
-- Keys that parts of the program encrypt with; themselves sealed.
CREATE TABLE iam_purpose_keys (
    purpose    TEXT PRIMARY KEY,
    secret     TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- Everything here belongs to one dashboard workspace. Numbers are what Grafana's
-- API calls ids: small, given out by dash_counters, one sequence a kind.
CREATE TABLE dash_counters (
    workspace_id TEXT NOT NULL,
    kind         TEXT NOT NULL,
    last         BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, kind)
);

-- People as boards know them; who may sign in is kept elsewhere.
CREATE TABLE dash_users (
    workspace_id TEXT NOT NULL,
    id           BIGINT NOT NULL,
    uid          TEXT NOT NULL, -- id of the person
    login        TEXT NOT NULL,
    name         TEXT NOT NULL,
    email        TEXT NOT NULL,
    role         TEXT NOT NULL, -- Admin, Editor or Viewer
    created_at   BIGINT NOT NULL,
    seen_at      BIGINT NOT NULL, -- 0: never
    PRIMARY KEY (workspace_id, id),
    UNIQUE (workspace_id, uid)
);

CREATE TABLE dash_teams (
    workspace_id TEXT NOT NULL,
    id           BIGINT NOT NULL,
    uid          TEXT NOT NULL,
    name         TEXT NOT NULL,
    email        TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, id),
    UNIQUE (workspace_id, uid),
    UNIQUE (workspace_id, name)
);

CREATE TABLE dash_team_members (
    workspace_id TEXT NOT NULL,
    team_id      BIGINT NOT NULL,
    user_id      BIGINT NOT NULL,
    permission   BIGINT NOT NULL, -- 0 member, 4 administrator of the team
    PRIMARY KEY (workspace_id, team_id, user_id)
);

CREATE TABLE dash_folders (
    workspace_id   TEXT NOT NULL,
    uid            TEXT NOT NULL,
    id             BIGINT NOT NULL,
    parent_uid     TEXT NOT NULL, -- empty at the top
    title          TEXT NOT NULL,
    description    TEXT NOT NULL,
    version        BIGINT NOT NULL,
    provisioned_by TEXT NOT NULL, -- empty when made by people
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    created_by     TEXT NOT NULL, -- login
    updated_by     TEXT NOT NULL,
    PRIMARY KEY (workspace_id, uid),
    UNIQUE (workspace_id, id)
);
CREATE INDEX dash_folders_parent ON dash_folders (workspace_id, parent_uid);

-- data is the board as its author wrote it; of its id, uid and version the
-- columns are right.
CREATE TABLE dash_boards (
    workspace_id   TEXT NOT NULL,
    uid            TEXT NOT NULL,
    id             BIGINT NOT NULL,
    folder_uid     TEXT NOT NULL, -- empty: no folder
    title          TEXT NOT NULL,
    tags           TEXT NOT NULL, -- JSON array
    version        BIGINT NOT NULL,
    gnet_id        BIGINT NOT NULL, -- 0: none
    data           TEXT NOT NULL,
    provisioned_by TEXT NOT NULL, -- who keeps it up to date; empty for people
    source         TEXT NOT NULL, -- where the provisioner has it from
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    created_by     TEXT NOT NULL, -- login
    updated_by     TEXT NOT NULL,
    PRIMARY KEY (workspace_id, uid),
    UNIQUE (workspace_id, id)
);
CREATE INDEX dash_boards_folder ON dash_boards (workspace_id, folder_uid);

CREATE TABLE dash_board_versions (
    workspace_id   TEXT NOT NULL,
    board_uid      TEXT NOT NULL,
    version        BIGINT NOT NULL,
    id             BIGINT NOT NULL,
    parent_version BIGINT NOT NULL,
    restored_from  BIGINT NOT NULL, -- 0: not a restored one
    message        TEXT NOT NULL,
    data           TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    created_by     TEXT NOT NULL, -- login
    PRIMARY KEY (workspace_id, board_uid, version),
    FOREIGN KEY (workspace_id, board_uid) REFERENCES dash_boards (workspace_id, uid) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE dash_permissions (
    workspace_id TEXT NOT NULL,
    kind         TEXT NOT NULL, -- folder or dashboard
    uid          TEXT NOT NULL, -- of the folder or dashboard
    subject_kind TEXT NOT NULL, -- role, user or team
    subject      TEXT NOT NULL, -- name of the role, or id
    level        BIGINT NOT NULL, -- 1 view, 2 edit, 4 administer
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, kind, uid, subject_kind, subject)
);

CREATE TABLE dash_stars (
    workspace_id TEXT NOT NULL,
    user_id      BIGINT NOT NULL,
    board_uid    TEXT NOT NULL,
    PRIMARY KEY (workspace_id, user_id, board_uid),
    FOREIGN KEY (workspace_id, board_uid) REFERENCES dash_boards (workspace_id, uid) ON DELETE CASCADE ON UPDATE CASCADE
);

CREATE TABLE dash_data_sources (
    workspace_id     TEXT NOT NULL,
    uid              TEXT NOT NULL,
    id               BIGINT NOT NULL,
    name             TEXT NOT NULL,
    type             TEXT NOT NULL,
    url              TEXT NOT NULL,
    access           TEXT NOT NULL,
    is_default       INTEGER NOT NULL, -- 0 or 1
    basic_auth       INTEGER NOT NULL, -- 0 or 1
    basic_auth_user  TEXT NOT NULL,
    with_credentials INTEGER NOT NULL, -- 0 or 1
    database_name    TEXT NOT NULL,
    user_name        TEXT NOT NULL,
    json_data        TEXT NOT NULL, -- JSON object
    secure_json_data TEXT NOT NULL, -- JSON object of sealed values
    version          BIGINT NOT NULL,
    provisioned_by   TEXT NOT NULL, -- empty when made by people; else read-only
    created_at       BIGINT NOT NULL,
    updated_at       BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, uid),
    UNIQUE (workspace_id, id),
    UNIQUE (workspace_id, name)
);

CREATE TABLE dash_annotations (
    workspace_id TEXT NOT NULL,
    id           BIGINT NOT NULL,
    board_uid    TEXT NOT NULL, -- empty: of all boards
    panel_id     BIGINT NOT NULL,
    user_id      BIGINT NOT NULL,
    time         BIGINT NOT NULL,
    time_end     BIGINT NOT NULL,
    text         TEXT NOT NULL,
    tags         TEXT NOT NULL, -- JSON array
    data         TEXT NOT NULL, -- JSON object
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, id)
);
CREATE INDEX dash_annotations_time ON dash_annotations (workspace_id, time);

CREATE TABLE dash_service_accounts (
    workspace_id TEXT NOT NULL,
    id           BIGINT NOT NULL,
    name         TEXT NOT NULL,
    login        TEXT NOT NULL,
    role         TEXT NOT NULL,
    disabled     INTEGER NOT NULL, -- 0 or 1
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    PRIMARY KEY (workspace_id, id),
    UNIQUE (workspace_id, login)
);

-- Only hashes of tokens are kept.
CREATE TABLE dash_tokens (
    token_hash         TEXT PRIMARY KEY,
    workspace_id       TEXT NOT NULL,
    id                 BIGINT NOT NULL,
    service_account_id BIGINT NOT NULL,
    name               TEXT NOT NULL,
    created_at         BIGINT NOT NULL,
    expires_at         BIGINT NOT NULL, -- 0: never
    used_at            BIGINT NOT NULL, -- 0: never
    UNIQUE (workspace_id, id),
    FOREIGN KEY (workspace_id, service_account_id) REFERENCES dash_service_accounts (workspace_id, id) ON DELETE CASCADE
);

-- Small things that are read and written whole: playlists, library elements,
-- snapshots, preferences, short links, remembered queries.
CREATE TABLE dash_documents (
    workspace_id TEXT NOT NULL,
    kind         TEXT NOT NULL,
    uid          TEXT NOT NULL,
    id           BIGINT NOT NULL,
    owner        TEXT NOT NULL, -- whose it is; empty for everybody's
    name         TEXT NOT NULL,
    version      BIGINT NOT NULL,
    data         TEXT NOT NULL, -- JSON object
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL, -- 0: never
    PRIMARY KEY (workspace_id, kind, uid)
);
CREATE INDEX dash_documents_owner ON dash_documents (workspace_id, kind, owner, created_at);

-- +goose Down
DROP TABLE dash_documents;
DROP TABLE dash_tokens;
DROP TABLE dash_service_accounts;
DROP TABLE dash_annotations;
DROP TABLE dash_data_sources;
DROP TABLE dash_stars;
DROP TABLE dash_permissions;
DROP TABLE dash_board_versions;
DROP TABLE dash_boards;
DROP TABLE dash_folders;
DROP TABLE dash_team_members;
DROP TABLE dash_teams;
DROP TABLE dash_users;
DROP TABLE dash_counters;
DROP TABLE iam_purpose_keys;
