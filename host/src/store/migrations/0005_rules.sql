-- What each operator has used of the run: attempts that were started, and the core milliseconds of all of them.
ALTER TABLE live_counts ADD COLUMN started INTEGER NOT NULL DEFAULT 0 CHECK (started >= 0);
ALTER TABLE live_counts ADD COLUMN core_ms INTEGER NOT NULL DEFAULT 0 CHECK (core_ms >= 0);
-- Core milliseconds: what was counted on while it is live, what its job took once it has ended; absent where nobody knows.
ALTER TABLE attempts ADD COLUMN core_ms INTEGER CHECK (core_ms IS NULL OR core_ms >= 0);
-- Whether it counts for nothing, because provably nothing of it started.
ALTER TABLE attempts ADD COLUMN given_back INTEGER NOT NULL DEFAULT 0 CHECK (given_back = 0 OR given_back = 1);
UPDATE attempts SET given_back = 1 WHERE (ended_at_ms IS NOT NULL AND handle IS NULL) OR handle ->> 'settled' IS NOT NULL
    OR attempt_key IN (SELECT attempt_key FROM reused);
UPDATE attempts SET core_ms = max(stopped_ms - started_ms, 0) * coalesce((SELECT t.spec ->> '$.resources.cores' FROM tasks t
    WHERE t.task_key = attempts.task_key), 1) WHERE stopped_ms IS NOT NULL AND started_ms IS NOT NULL AND given_back = 0;
UPDATE live_counts SET (started, core_ms) = (SELECT count(*), coalesce(sum(a.core_ms), 0) FROM attempts a
    WHERE a.operator = live_counts.operator AND a.given_back = 0);

-- What was asked of the people whom an operator's `approve` names, and what came of it.
CREATE TABLE approvals (
    approval        TEXT    PRIMARY KEY,
    task_key        INTEGER NOT NULL REFERENCES tasks (task_key),
    -- The version of the task that was asked about.
    version         INTEGER NOT NULL CHECK (version >= 1),
    -- SHA-256 of its text.
    request         BLOB    NOT NULL CHECK (length(request) = 32),
    asked_ms        INTEGER NOT NULL,
    state           TEXT    NOT NULL CHECK (state = 'asked' OR state = 'approved' OR state = 'rejected' OR state = 'withdrawn'),
    act             INTEGER REFERENCES acts (act),
    -- Whether a person has been told.
    told            INTEGER NOT NULL DEFAULT 0 CHECK (told = 0 OR told = 1),
    CHECK ((act IS NOT NULL) = (state = 'approved' OR state = 'rejected'))
) STRICT, WITHOUT ROWID;
-- What is asked about a task: one thing at a time.
CREATE UNIQUE INDEX approvals_asked ON approvals (task_key) WHERE state = 'asked';
-- Whether a version of a task was approved.
CREATE INDEX approvals_given ON approvals (task_key, version) WHERE state = 'approved';
-- Which tasks wait for approval, or for room in the budget of their operator after a first attempt.
CREATE INDEX tasks_ruled ON tasks (reason_code, operator, task_key) WHERE state = 'running' AND
    (reason_code = 'approval' OR reason_code = 'budget');

-- Waits of which a person was told that they last: attempts and approvals, by id.
CREATE TABLE told_waits (
    subject         TEXT    PRIMARY KEY
) STRICT, WITHOUT ROWID;
