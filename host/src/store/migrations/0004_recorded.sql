-- What commands told of the programs there, as a JSON list; and the act that pinned all of it last. Both are part of what
-- an environment is, so the table is made anew: a constraint cannot be changed.
CREATE TABLE environments_0004 (
    environment     INTEGER PRIMARY KEY,
    machine         TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    variables       TEXT    NOT NULL CHECK (json_valid(variables)),
    recorded        TEXT    NOT NULL DEFAULT '[]' CHECK (json_valid(recorded)),
    act             INTEGER REFERENCES acts (act),
    UNIQUE (machine, host, variables, recorded)
) STRICT;
INSERT INTO environments_0004 (environment, machine, host, variables) SELECT environment, machine, host, variables
    FROM environments;
DROP TABLE environments;
ALTER TABLE environments_0004 RENAME TO environments;
