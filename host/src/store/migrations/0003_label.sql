-- What a person calls the run beside its id.
ALTER TABLE run ADD COLUMN label TEXT CHECK (label IS NULL OR length(label) BETWEEN 1 AND 200);
