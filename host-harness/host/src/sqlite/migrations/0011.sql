-- The last timestamp before an end by change of status of which nobody knows what it means.
ALTER TABLE incident ADD COLUMN unknown_timestamp TEXT;
CREATE INDEX incident_unknown_timestamp ON incident (org, unknown_timestamp) WHERE unknown_timestamp IS NOT NULL;

UPDATE organisation SET
    settings = json_set(settings, '$.timestamps', json('{}')),
    connection = json_set(connection, '$.timestamps', json('[]'), '$.chosen', json('{}'));

-- The rules of times are other ones, so every record is derived anew from its facts.
INSERT INTO job (org, kind, run_at, attempts, done, requests, token)
    SELECT id, 2, 0, 0, 0, 0, 0 FROM organisation WHERE state = 1
    ON CONFLICT (org, kind) DO UPDATE SET run_at = 0, attempts = 0, done = 0, total = NULL, requests = 0,
        succeeded_at = NULL, error = NULL, token = token + 1, leased_until = NULL;
