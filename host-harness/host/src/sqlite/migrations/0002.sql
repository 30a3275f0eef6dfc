-- Private incidents that are counted and not listed.
ALTER TABLE incident ADD COLUMN withheld INTEGER NOT NULL DEFAULT 0;
UPDATE incident SET record = json_set(record, '$.withheld', json('false'));
