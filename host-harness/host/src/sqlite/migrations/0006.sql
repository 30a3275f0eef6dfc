-- An incident whose creation nobody tells: `created_at` is where lists have it.
ALTER TABLE incident ADD COLUMN undated INTEGER NOT NULL DEFAULT 0;
-- The end by the first resolution, where that is another time.
ALTER TABLE incident ADD COLUMN first_resolved_at INTEGER;
-- Open, and taken for deleted.
ALTER TABLE incident ADD COLUMN not_visible INTEGER NOT NULL DEFAULT 0;
UPDATE incident SET record = json_set(record,
    '$.not_visible', json('false'), '$.reopenings', json('[]'), '$.pauses', json('[]'));

-- A time before 2005 gives no place.
UPDATE incident SET
    branch = CASE WHEN phase IN (0, 1, 2) THEN 2 WHEN resolved_at >= 1104537600000000 THEN 0 ELSE 1 END,
    scan_at = CASE
        WHEN phase NOT IN (0, 1, 2) AND resolved_at >= 1104537600000000 THEN resolved_at
        WHEN created_at >= 1104537600000000 THEN created_at
        WHEN started_at >= 1104537600000000 THEN started_at
        WHEN updated_at >= 1104537600000000 THEN updated_at
        ELSE 9223372036854775807
    END
    WHERE scan_at < 1104537600000000 OR (branch = 2 AND resolved_at IS NOT NULL);

DROP INDEX incident_scan;
CREATE INDEX incident_scan ON incident (
    org, branch, scan_at, n,
    created_at, undated, started_at, acknowledged_at, resolved_at, first_resolved_at, priority, phase, mode, private,
    duplicate, revisit, not_visible, source, labels
);

-- The rules of times are other ones, so every record is derived anew from its facts: at once where the organisation is
-- live, else when it is live again. Who connects after disconnecting has it scheduled then.
INSERT INTO job (org, kind, run_at, attempts, done, requests, token)
    SELECT id, 2, 0, 0, 0, 0, 0 FROM organisation WHERE state <> 3
    ON CONFLICT (org, kind) DO UPDATE SET run_at = 0, attempts = 0, done = 0, total = NULL, requests = 0,
        succeeded_at = NULL, error = NULL, token = token + 1, leased_until = NULL;
