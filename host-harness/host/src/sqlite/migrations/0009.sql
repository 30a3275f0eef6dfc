-- Names of services are compared everywhere as the directory compares them: in lower case, runs of spaces, hyphens and
-- underscores taken as one hyphen. What was folded before is in lower case already.
UPDATE label SET folded = replace(trim(replace(replace(replace(
    replace(replace(replace(replace(replace(replace(folded, '_', ' '), '-', ' '), char(9), ' '), char(10), ' '), char(13), ' '),
        char(160), ' '),
    ' ', char(1, 2)), char(2, 1), ''), char(1, 2), ' '), ' '), ' ', '-');
UPDATE service SET folded = replace(trim(replace(replace(replace(
    replace(replace(replace(replace(replace(replace(folded, '_', ' '), '-', ' '), char(9), ' '), char(10), ' '), char(13), ' '),
        char(160), ' '),
    ' ', char(1, 2)), char(2, 1), ''), char(1, 2), ' '), ' '), ' ', '-');

-- When a person last had it applied again: how long that takes is counted from here.
ALTER TABLE delivery ADD COLUMN replayed_at INTEGER;
