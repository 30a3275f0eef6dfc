-- Every row belongs to an organisation, and goes with it.

CREATE TABLE organisation (
    id           TEXT PRIMARY KEY,
    state        INTEGER NOT NULL,          -- 0 pending, 1 live, 2 refused
    connection   TEXT,                      -- JSON
    settings     TEXT NOT NULL,             -- JSON
    origin_map   TEXT NOT NULL,             -- JSON
    created_at   INTEGER NOT NULL,
    connected_at INTEGER
) WITHOUT ROWID, STRICT;

CREATE TABLE data_key (
    org    TEXT PRIMARY KEY REFERENCES organisation ON DELETE CASCADE,
    sealed BLOB NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE secret (
    org      TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    name     TEXT NOT NULL,
    position INTEGER NOT NULL,
    sealed   BLOB NOT NULL,
    PRIMARY KEY (org, name, position)
) WITHOUT ROWID, STRICT;

-- The plugin's own state.
CREATE TABLE state (
    org   TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    UNIQUE (org, key)
) STRICT;

-- `record` is the whole incident; the columns beside it are what lists filter and scans read.
CREATE TABLE incident (
    n               INTEGER PRIMARY KEY,
    org             TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    source          TEXT NOT NULL,
    id              TEXT NOT NULL,
    revision        INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    started_at      INTEGER,
    acknowledged_at INTEGER,
    resolved_at     INTEGER,
    priority        INTEGER,                -- 1 to 4
    phase           INTEGER NOT NULL,
    mode            INTEGER NOT NULL,
    private         INTEGER NOT NULL,
    duplicate       INTEGER NOT NULL DEFAULT 0,
    reference       TEXT,                   -- lower case
    search          TEXT NOT NULL,          -- reference and title, lower case
    labels          BLOB NOT NULL,          -- numbers of its labels, four bytes each, little end first
    branch          INTEGER NOT NULL,       -- of the population that scans answer: see records/scan
    scan_at         INTEGER NOT NULL,       -- by which its branch is ordered
    revisit         INTEGER NOT NULL,
    record          TEXT NOT NULL,          -- JSON
    facts           BLOB NOT NULL,
    UNIQUE (org, id, source)
) STRICT;
CREATE INDEX incident_created ON incident (org, created_at);
CREATE INDEX incident_reference ON incident (org, reference) WHERE reference IS NOT NULL;
CREATE INDEX incident_revisit ON incident (org, source, created_at) WHERE revisit = 1;
-- Holds all that a sample needs, so that a scan never touches the records.
CREATE INDEX incident_scan ON incident (
    org, branch, scan_at, n,
    created_at, started_at, acknowledged_at, resolved_at, priority, phase, mode, private, duplicate, source, labels
);

-- The affected services that incidents name, each kept once.
CREATE TABLE label (
    n       INTEGER PRIMARY KEY,
    org     TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    name    TEXT NOT NULL,                  -- the provider's
    folded  TEXT NOT NULL,                  -- lower case
    service TEXT NOT NULL,                  -- the catalog entry's id, empty for none
    UNIQUE (org, name, service)
) STRICT;
CREATE INDEX label_folded ON label (org, folded);
CREATE INDEX label_service ON label (org, service);

CREATE TABLE incident_label (
    label    INTEGER NOT NULL REFERENCES label (n) ON DELETE CASCADE,
    incident INTEGER NOT NULL REFERENCES incident (n) ON DELETE CASCADE,
    PRIMARY KEY (label, incident)
) WITHOUT ROWID, STRICT;
CREATE INDEX incident_label_incident ON incident_label (incident);

CREATE TABLE event (
    incident INTEGER NOT NULL REFERENCES incident (n) ON DELETE CASCADE,
    id       TEXT NOT NULL,
    at       INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    title    TEXT NOT NULL,
    detail   TEXT,
    actor    TEXT,
    PRIMARY KEY (incident, id)
) WITHOUT ROWID, STRICT;

CREATE TABLE user (
    org    TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    id     TEXT NOT NULL,
    email  TEXT NOT NULL,
    folded TEXT NOT NULL,                   -- the address in lower case
    name   TEXT,
    PRIMARY KEY (org, id)
) WITHOUT ROWID, STRICT;
CREATE INDEX user_folded ON user (org, folded, id);

CREATE TABLE service (
    org    TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    id     TEXT NOT NULL,
    name   TEXT NOT NULL,
    folded TEXT NOT NULL,                   -- the name in lower case
    entry  TEXT NOT NULL,                   -- JSON
    PRIMARY KEY (org, id)
) WITHOUT ROWID, STRICT;
CREATE INDEX service_folded ON service (org, folded);

-- What a service is found by.
CREATE TABLE service_name (
    org     TEXT NOT NULL,
    kind    INTEGER NOT NULL,               -- 0 external id, 1 name, 2 alias; the last two normalised
    value   TEXT NOT NULL,
    service TEXT NOT NULL,
    PRIMARY KEY (org, kind, value, service),
    FOREIGN KEY (org, service) REFERENCES service (org, id) ON DELETE CASCADE
) WITHOUT ROWID, STRICT;
CREATE INDEX service_name_service ON service_name (org, service);

-- Bookkeeping apart from the bytes, so that a change of state does not rewrite a body.
CREATE TABLE delivery (
    n           INTEGER PRIMARY KEY,
    org         TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    id          TEXT NOT NULL,
    event_type  TEXT NOT NULL,
    incident    TEXT,
    received_at INTEGER NOT NULL,
    state       INTEGER NOT NULL,           -- 0 ready, 1 leased, 2 waiting, 3 done, 4 dead
    due_at      INTEGER,                    -- when a lease runs out or a wait ends
    token       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    outcome     TEXT,
    error       TEXT,
    finished_at INTEGER,
    UNIQUE (org, id)
) STRICT;
CREATE INDEX delivery_received ON delivery (org, received_at);
CREATE INDEX delivery_ready ON delivery (org, received_at) WHERE state = 0;
CREATE INDEX delivery_due ON delivery (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_dead ON delivery (org, received_at) WHERE state = 4;

CREATE TABLE delivery_body (
    n       INTEGER PRIMARY KEY REFERENCES delivery (n) ON DELETE CASCADE,
    headers BLOB NOT NULL,
    body    BLOB NOT NULL
) STRICT;

-- The organisation that was served last, so that turns go on across claims and processes.
CREATE TABLE turn (
    n   INTEGER PRIMARY KEY CHECK (n = 1),
    org TEXT NOT NULL
) STRICT;
INSERT INTO turn VALUES (1, '');

CREATE TABLE job (
    org          TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    kind         INTEGER NOT NULL,          -- 0 backfill, 1 poll
    run_at       INTEGER,
    attempts     INTEGER NOT NULL,
    since        INTEGER,
    until        INTEGER,
    done         INTEGER NOT NULL,
    total        INTEGER,
    requests     INTEGER NOT NULL,
    succeeded_at INTEGER,
    error        TEXT,
    token        INTEGER NOT NULL,
    leased_until INTEGER,
    PRIMARY KEY (org, kind)
) WITHOUT ROWID, STRICT;
CREATE INDEX job_due ON job (run_at) WHERE run_at IS NOT NULL;
CREATE INDEX job_leased ON job (leased_until) WHERE leased_until IS NOT NULL;
