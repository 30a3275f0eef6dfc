-- When a delivery of the same id came last with another body, which was not stored.
ALTER TABLE delivery ADD COLUMN altered_at INTEGER;
