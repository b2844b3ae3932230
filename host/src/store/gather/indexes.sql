CREATE INDEX attempts_by_reuse_key ON attempts (reuse_key) WHERE reuse_key IS NOT NULL;
CREATE INDEX inputs_by_digest ON inputs (sha256);
CREATE INDEX outputs_by_digest ON outputs (sha256);
CREATE INDEX fields_by_name ON fields (name, number);
