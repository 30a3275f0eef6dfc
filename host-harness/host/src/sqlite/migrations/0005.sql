-- What waits is counted often, and while much waits. With its state in the index, that needs no row.
DROP INDEX delivery_ready;
CREATE INDEX delivery_ready ON delivery (org, state, received_at) WHERE state = 0;
DROP INDEX delivery_dead;
CREATE INDEX delivery_dead ON delivery (org, state, received_at) WHERE state = 4;
-- Lists are filtered, counted and put in order by this alone; records are read of the page that is shown.
DROP INDEX incident_created;
CREATE INDEX incident_list ON incident (
    org, withheld, created_at,
    priority, phase, mode, source, duplicate, started_at, acknowledged_at, resolved_at, search
);
