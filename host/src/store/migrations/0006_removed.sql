-- What `clean` removed of an attempt, by the act that did so: outputs by their paths, and all of its directory as an empty path. Their
-- digests stay where they are.
CREATE TABLE removed (
    attempt_key     INTEGER NOT NULL REFERENCES attempts (attempt_key),
    path            TEXT    NOT NULL,
    act             INTEGER NOT NULL REFERENCES acts (act),
    PRIMARY KEY (attempt_key, path)
) STRICT, WITHOUT ROWID;
