-- What each organisation's own state takes, kept by the database itself, so that a quota costs no sum.
CREATE TABLE state_size (
    org   TEXT PRIMARY KEY REFERENCES organisation ON DELETE CASCADE,
    keys  INTEGER NOT NULL,
    bytes INTEGER NOT NULL                  -- of keys and values
) WITHOUT ROWID, STRICT;
INSERT INTO state_size SELECT org, count(*), sum(octet_length(key) + length(value)) FROM state GROUP BY org;
CREATE TRIGGER state_inserted AFTER INSERT ON state BEGIN
    INSERT INTO state_size VALUES (new.org, 1, octet_length(new.key) + length(new.value))
        ON CONFLICT (org) DO UPDATE SET keys = keys + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER state_updated AFTER UPDATE OF value ON state BEGIN
    UPDATE state_size SET bytes = bytes + length(new.value) - length(old.value) WHERE org = new.org;
END;
CREATE TRIGGER state_deleted AFTER DELETE ON state BEGIN
    UPDATE state_size SET keys = keys - 1, bytes = bytes - octet_length(old.key) - length(old.value)
        WHERE org = old.org;
END;

-- The length of a body that is compressed (LZ4); none for one that is not.
ALTER TABLE delivery_body ADD COLUMN size INTEGER;

-- With the organisation, so that what waits is counted by it without a look at the rows.
DROP INDEX delivery_due;
CREATE INDEX delivery_due ON delivery (due_at, org) WHERE due_at IS NOT NULL;
