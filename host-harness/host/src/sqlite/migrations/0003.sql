-- What an incident is known by elsewhere.
UPDATE incident SET record = json_set(record, '$.references', json('[]'));

-- How an organisation's move from another tool stands, and what a person decided about it.
CREATE TABLE migration (
    org      TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    source   TEXT NOT NULL,
    document TEXT NOT NULL,                 -- JSON
    PRIMARY KEY (org, source)
) WITHOUT ROWID, STRICT;

-- Names that people gave to users and services for the sake of a migration, and that go with it.
CREATE TABLE alias (
    org    TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    source TEXT NOT NULL,                   -- the migration's
    kind   INTEGER NOT NULL,                -- 0 user, by address in lower case; 1 service, by name, normalised
    value  TEXT NOT NULL,
    target TEXT NOT NULL,                   -- the user's or service's id
    PRIMARY KEY (org, kind, value, source)
) WITHOUT ROWID, STRICT;

-- Who works on a move now. A row of its own, because a move that was undone leaves none.
CREATE TABLE migration_lease (
    org          TEXT NOT NULL REFERENCES organisation ON DELETE CASCADE,
    source       TEXT NOT NULL,
    token        INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    PRIMARY KEY (org, source)
) WITHOUT ROWID, STRICT;
