-- Names of services are compared everywhere as the directory compares them. The program gives the function that folds
-- them so.
UPDATE label SET folded = normalised(name);
UPDATE service SET folded = normalised(name);

-- When a person last had it applied again: how long that takes is counted from here.
ALTER TABLE delivery ADD COLUMN replayed_at INTEGER;
