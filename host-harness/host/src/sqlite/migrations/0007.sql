-- Written and emptied again, to find out whether the database can be written.
CREATE TABLE trial (body BLOB NOT NULL) STRICT;

-- How much time the database has seen pass, by which deliveries age: one jump of a clock must not make them old.
CREATE TABLE age (
    n       INTEGER PRIMARY KEY CHECK (n = 1),
    seen_at INTEGER NOT NULL,               -- when it was last noted, by the clock of then
    passed  INTEGER NOT NULL                -- microseconds since the database began to count
) STRICT;
INSERT INTO age VALUES (1, 0, 0);
-- What had arrived at each note.
CREATE TABLE arrived (
    passed INTEGER PRIMARY KEY,
    newest INTEGER NOT NULL                 -- delivery.n
) STRICT;

-- By state, because a lease lasts for seconds and a wait for up to an hour: what is due later than that was noted while
-- the clock was wrong.
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (state, due_at, org) WHERE due_at IS NOT NULL;

-- When run_at and leased_until were noted. What was noted later than now was noted while the clock was wrong.
ALTER TABLE job ADD COLUMN noted_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX job_noted ON job (noted_at) WHERE run_at IS NOT NULL;
