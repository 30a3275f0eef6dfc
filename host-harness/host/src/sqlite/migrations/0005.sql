-- What waits is counted often, and while much waits. With its state in the index, that needs no row.
DROP INDEX delivery_ready;
CREATE INDEX delivery_ready ON delivery (org, state, received_at) WHERE state = 0;
DROP INDEX delivery_dead;
CREATE INDEX delivery_dead ON delivery (org, state, received_at) WHERE state = 4;
