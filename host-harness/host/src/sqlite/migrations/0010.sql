-- The plugin whose records and state an organisation has. Until now there was one.
ALTER TABLE organisation ADD COLUMN plugin TEXT NOT NULL DEFAULT 'incidentio';
