-- Everything that belongs to an organisation hangs on its row and goes with it.
CREATE TABLE organisation (
    id           TEXT PRIMARY KEY,
    state        INTEGER NOT NULL,
    connection   TEXT,
    settings     TEXT NOT NULL,
    origin_map   TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    connected_at INTEGER,
    data_key     BLOB
) STRICT;

CREATE TABLE secret (
    org      TEXT NOT NULL REFERENCES organisation (id) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    position INTEGER NOT NULL,
    sealed   BLOB NOT NULL,
    PRIMARY KEY (org, name, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE plugin_state (
    org   TEXT NOT NULL REFERENCES organisation (id) ON DELETE CASCADE,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (org, key)
) STRICT, WITHOUT ROWID;

-- `record` is the whole incident as JSON. The columns beside it are what lists filter by and what time to
-- restore needs, so that neither has to open the JSON.
CREATE TABLE incident (
    row             INTEGER PRIMARY KEY,
    org             TEXT NOT NULL REFERENCES organisation (id) ON DELETE CASCADE,
    source          TEXT NOT NULL,
    id              TEXT NOT NULL,
    reference       TEXT,
    title           TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    acknowledged_at INTEGER,
    resolved_at     INTEGER,
    updated_at      INTEGER NOT NULL,
    priority        INTEGER,
    phase           INTEGER NOT NULL,
    mode            INTEGER NOT NULL,
    private         INTEGER NOT NULL,
    duplicate       INTEGER NOT NULL DEFAULT 0,
    services        TEXT NOT NULL,
    record          TEXT NOT NULL,
    facts           BLOB NOT NULL,
    revisit         INTEGER NOT NULL,
    revision        INTEGER NOT NULL,
    UNIQUE (org, source, id)
) STRICT;

CREATE INDEX incident_by_creation ON incident (org, created_at);
CREATE INDEX incident_by_reference ON incident (org, reference COLLATE NOCASE);
CREATE INDEX incident_to_revisit ON incident (org, source, created_at) WHERE revisit = 1;
-- One index for each branch of the population of time to restore; phases 0 to 2 are the open ones.
CREATE INDEX incident_resolved ON incident (org, resolved_at) WHERE resolved_at IS NOT NULL;
CREATE INDEX incident_unresolved ON incident (org, created_at) WHERE resolved_at IS NULL;
CREATE INDEX incident_open ON incident (org, created_at) WHERE phase <= 2;

CREATE TABLE timeline_event (
    incident INTEGER NOT NULL REFERENCES incident (row) ON DELETE CASCADE,
    id       TEXT NOT NULL,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    title    TEXT NOT NULL,
    detail   TEXT,
    actor    TEXT,
    PRIMARY KEY (incident, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE host_user (
    org   TEXT NOT NULL REFERENCES organisation (id) ON DELETE CASCADE,
    id    TEXT NOT NULL,
    email TEXT NOT NULL,
    name  TEXT,
    PRIMARY KEY (org, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX host_user_by_email ON host_user (org, email);

CREATE TABLE host_service (
    org    TEXT NOT NULL REFERENCES organisation (id) ON DELETE CASCADE,
    id     TEXT NOT NULL,
    record TEXT NOT NULL,
    name   TEXT NOT NULL,
    PRIMARY KEY (org, id)
) STRICT, WITHOUT ROWID;

-- What a service is found by. Kinds: 0 external id, 1 normalised name, 2 normalised alias.
CREATE TABLE host_service_key (
    org     TEXT NOT NULL,
    kind    INTEGER NOT NULL,
    key     TEXT NOT NULL,
    service TEXT NOT NULL,
    PRIMARY KEY (org, kind, key, service),
    FOREIGN KEY (org, service) REFERENCES host_service (org, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX host_service_key_by_service ON host_service_key (org, service);

-- States: 0 pending, 1 done, 2 dead. A claim moves `due_at` to the end of its lease and raises the token, so
-- that one column says both when to try next and how long nobody else may.
CREATE TABLE delivery (
    seq         INTEGER PRIMARY KEY,
    org         TEXT NOT NULL REFERENCES organisation (id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    event_type  TEXT NOT NULL,
    incident    TEXT,
    received_at INTEGER NOT NULL,
    headers     BLOB NOT NULL,
    body        BLOB NOT NULL,
    state       INTEGER NOT NULL DEFAULT 0,
    due_at      INTEGER NOT NULL,
    token       INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    outcome     TEXT,
    error       TEXT,
    finished_at INTEGER,
    UNIQUE (org, id)
) STRICT;

CREATE INDEX delivery_due ON delivery (org, due_at, seq) WHERE state = 0;
CREATE INDEX delivery_dead ON delivery (org) WHERE state = 2;
CREATE INDEX delivery_by_arrival ON delivery (org, received_at, seq);

-- Where the last claim stopped going round the organisations.
CREATE TABLE inbox_turn (
    only INTEGER PRIMARY KEY CHECK (only = 0),
    org  TEXT NOT NULL
) STRICT;

INSERT INTO inbox_turn VALUES (0, '');

-- Kinds: 0 backfill, 1 poll.
CREATE TABLE job (
    org          TEXT NOT NULL REFERENCES organisation (id) ON DELETE CASCADE,
    kind         INTEGER NOT NULL,
    run_at       INTEGER,
    leased_until INTEGER,
    token        INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    since        INTEGER,
    until        INTEGER,
    done         INTEGER NOT NULL DEFAULT 0,
    total        INTEGER,
    requests     INTEGER NOT NULL DEFAULT 0,
    succeeded_at INTEGER,
    error        TEXT,
    PRIMARY KEY (org, kind)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_due ON job (run_at) WHERE run_at IS NOT NULL;
