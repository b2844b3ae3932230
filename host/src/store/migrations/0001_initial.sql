-- Tells a run of ours from other databases, and from those of before the record ("MSTR").
PRAGMA application_id = 1297306706;

-- Rules on tables that every attempt writes spell `IN` out: SQLite makes a table of a list of more than two words at each write.

-- One run: its own row, and what its last decision left. Times are milliseconds since the epoch, documents JSON text.
CREATE TABLE run (
    one             INTEGER PRIMARY KEY CHECK (one = 1),
    run_id          TEXT    NOT NULL,
    workspace       TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('active', 'paused', 'held', 'cancelling', 'completed', 'failed', 'cancelled')),
    reason_code     TEXT,
    reason          TEXT,
    iteration       INTEGER NOT NULL DEFAULT 0,
    decisions       INTEGER NOT NULL DEFAULT 0,
    idle_plans      INTEGER NOT NULL DEFAULT 0,
    -- The number of the decision whose state is the campaign's present one.
    state_of        INTEGER,
    result          TEXT    CHECK (result IS NULL OR json_valid(result)),
    supplied        TEXT    CHECK (supplied IS NULL OR json_valid(supplied)),
    config_sha256   BLOB    NOT NULL CHECK (length(config_sha256) = 32),
    -- Where jobs are handed in now.
    environment     INTEGER REFERENCES environments (environment),
    -- What tells the run's directory from a copy: a word that both have, and what the file system knows of the directory.
    token           TEXT    NOT NULL,
    inode           INTEGER NOT NULL,
    born_ns         INTEGER,
    volume          INTEGER,
    user_id         INTEGER NOT NULL,
    -- Whose turn it is, where the last tick was cut short.
    turn            TEXT    CHECK (turn IS NULL OR json_valid(turn)),
    -- Up to which row of the history a person has been told.
    notified_seq    INTEGER NOT NULL DEFAULT 0,
    created_at_ms   INTEGER NOT NULL,
    ended_at_ms     INTEGER,
    CHECK (state NOT IN ('held', 'failed') OR reason IS NOT NULL),
    CHECK ((reason_code IS NULL) = (reason IS NULL)),
    CHECK ((ended_at_ms IS NOT NULL) = (state IN ('completed', 'failed', 'cancelled')))
) STRICT;

-- Every command that changed the run: who gave it, from where, with which version of ours, and why; never changed.
CREATE TABLE acts (
    act             INTEGER PRIMARY KEY,
    at_ms           INTEGER NOT NULL,
    verb            TEXT    NOT NULL,
    arguments       TEXT    NOT NULL CHECK (json_valid(arguments)),
    reason          TEXT,
    user_id         INTEGER NOT NULL,
    user            TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    -- Of ours; absent for what was put into a file by hand.
    version         TEXT
) STRICT;
CREATE TRIGGER acts_are_append_only_update BEFORE UPDATE ON acts BEGIN SELECT RAISE(ABORT, 'acts are append-only'); END;
CREATE TRIGGER acts_are_append_only_delete BEFORE DELETE ON acts BEGIN SELECT RAISE(ABORT, 'acts are append-only'); END;

-- Every config.json the run went by, whole and compressed (zstd); the newest is the present one.
CREATE TABLE configs (
    config          INTEGER PRIMARY KEY,
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    size            INTEGER NOT NULL CHECK (size >= 0),
    text            BLOB    NOT NULL,
    act             INTEGER NOT NULL REFERENCES acts (act)
) STRICT;

-- Every plugin that a configuration pinned, once for each name and digest; it lies at `path` in the run for ever.
CREATE TABLE plugins (
    plugin          INTEGER PRIMARY KEY,
    name            TEXT    NOT NULL,
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    path            TEXT    NOT NULL,
    size            INTEGER NOT NULL CHECK (size >= 0),
    act             INTEGER NOT NULL REFERENCES acts (act),
    UNIQUE (name, sha256)
) STRICT;

-- What made decisions: only the same engine uses the same fuel.
CREATE TABLE engines (
    engine          INTEGER PRIMARY KEY,
    version         TEXT    NOT NULL,
    contract        TEXT    NOT NULL,
    runtime         TEXT    NOT NULL,
    target          TEXT    NOT NULL,
    UNIQUE (version, contract, runtime, target)
) STRICT;

-- Where and with what jobs were handed in: the machine, and the documented variables that they inherit there.
CREATE TABLE environments (
    environment     INTEGER PRIMARY KEY,
    machine         TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    variables       TEXT    NOT NULL CHECK (json_valid(variables)),
    UNIQUE (machine, host, variables)
) STRICT;

-- The tasks of one iteration, as one plan made them.
CREATE TABLE workflows (
    iteration       INTEGER PRIMARY KEY CHECK (iteration >= 1),
    decision        INTEGER NOT NULL,
    tasks           INTEGER NOT NULL,
    open_tasks      INTEGER NOT NULL CHECK (open_tasks >= 0),
    created_at_ms   INTEGER NOT NULL,
    analyzed_at_ms  INTEGER
) STRICT;
-- Which iterations go on, or have results that are not analyzed.
CREATE INDEX workflows_open ON workflows (iteration) WHERE analyzed_at_ms IS NULL;

CREATE TABLE tasks (
    task_key        INTEGER PRIMARY KEY,
    task_id         TEXT    NOT NULL UNIQUE CHECK (length(CAST(task_id AS BLOB)) BETWEEN 1 AND 200),
    iteration       INTEGER NOT NULL REFERENCES workflows (iteration),
    operator        TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state = 'pending' OR state = 'running' OR state = 'completed' OR state = 'failed'
                                            OR state = 'cancelled' OR state = 'skipped'),
    -- Dependencies that have not ended well yet: zero means ready.
    blocked         INTEGER NOT NULL CHECK (blocked >= 0),
    -- What ready tasks start by, the smallest first: -2 × priority, and 1 more for one that depends on nothing.
    rank            INTEGER NOT NULL,
    reason_code     TEXT,
    reason          TEXT,
    -- Attempts made since the task last became pending, those that never started not counted.
    tries           INTEGER NOT NULL DEFAULT 0,
    -- Attempts in a row that provably never started.
    misfires        INTEGER NOT NULL DEFAULT 0,
    -- When the next attempt is due, and when that was decided.
    retry_at_ms     INTEGER,
    retry_set_ms    INTEGER,
    -- The decision whose `analyze` received the outcome.
    delivered       INTEGER,
    -- The outcome that a campaign has received and that a rerun takes back: the next one is delivered in its place.
    superseded      TEXT,
    allow_failure   INTEGER NOT NULL CHECK (allow_failure IN (0, 1)),
    -- Whether it starts although a dependency did not complete.
    tolerant        INTEGER NOT NULL CHECK (tolerant IN (0, 1)),
    -- The task as it stands now, and which version of it that is.
    spec            TEXT    NOT NULL,
    version         INTEGER NOT NULL DEFAULT 1 CHECK (version >= 1),
    -- Whether it completed on what has been changed since.
    stale           INTEGER NOT NULL DEFAULT 0 CHECK (stale IN (0, 1)),
    CHECK (state NOT IN ('failed', 'skipped') OR reason IS NOT NULL),
    CHECK ((reason_code IS NULL) = (reason IS NULL)),
    CHECK ((retry_at_ms IS NULL) = (retry_set_ms IS NULL)),
    CHECK (retry_at_ms IS NULL OR state = 'running')
) STRICT;
-- Which tasks can start, by operator, in the order in which they do.
CREATE INDEX tasks_ready ON tasks (operator, rank, task_key) WHERE state = 'pending' AND blocked = 0;
-- When the next back-off ends.
CREATE INDEX tasks_retry ON tasks (retry_at_ms) WHERE retry_at_ms IS NOT NULL;
-- Whose next attempt is due, by operator.
CREATE INDEX tasks_retry_due ON tasks (operator, retry_at_ms) WHERE retry_at_ms IS NOT NULL;
-- The same after the clock jumped back.
CREATE INDEX tasks_retry_set ON tasks (operator, retry_set_ms) WHERE retry_at_ms IS NOT NULL;
-- Which outcomes of an iteration `analyze` has not received.
CREATE INDEX tasks_undelivered ON tasks (iteration, task_key) WHERE delivered IS NULL;
-- Which running tasks wait for a person's word on a lost attempt.
CREATE INDEX tasks_lost ON tasks (task_key) WHERE state = 'running' AND reason_code = 'lost';
-- Tasks by state, for a person.
CREATE INDEX tasks_notable ON tasks (state, task_key) WHERE state NOT IN ('pending', 'completed');

-- Which completed tasks have become stale.
CREATE INDEX tasks_stale ON tasks (task_key) WHERE stale = 1;

-- Every version of the tasks that were amended; the first is as planned, and has no act.
CREATE TABLE task_specs (
    task_key        INTEGER NOT NULL REFERENCES tasks (task_key),
    version         INTEGER NOT NULL CHECK (version >= 1),
    spec            TEXT    NOT NULL,
    act             INTEGER REFERENCES acts (act),
    PRIMARY KEY (task_key, version),
    CHECK ((act IS NULL) = (version = 1))
) STRICT, WITHOUT ROWID;

-- How many tasks are in each state.
CREATE TABLE task_counts (
    state           TEXT    PRIMARY KEY CHECK (state IN ('pending', 'running', 'completed', 'failed', 'cancelled', 'skipped')),
    n               INTEGER NOT NULL CHECK (n >= 0)
) STRICT, WITHOUT ROWID;

CREATE TABLE dependencies (
    task_key        INTEGER NOT NULL REFERENCES tasks (task_key),
    on_key          INTEGER NOT NULL REFERENCES tasks (task_key),
    PRIMARY KEY (on_key, task_key)
) STRICT, WITHOUT ROWID;
-- What a task waits for.
CREATE INDEX dependencies_of ON dependencies (task_key, on_key);

CREATE TABLE attempts (
    attempt_key     INTEGER PRIMARY KEY,
    attempt_id      TEXT    NOT NULL UNIQUE,
    task_key        INTEGER NOT NULL REFERENCES tasks (task_key),
    number          INTEGER NOT NULL CHECK (number >= 1),
    -- The version of the task that it carries out.
    version         INTEGER NOT NULL DEFAULT 1 CHECK (version >= 1),
    operator        TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state = 'created' OR state = 'prepared' OR state = 'submitting' OR state = 'submitted'
                                            OR state = 'running' OR state = 'waiting_external' OR state = 'completed'
                                            OR state = 'failed' OR state = 'cancelled' OR state = 'lost'),
    directory       TEXT    NOT NULL,
    handle          TEXT    CHECK (handle IS NULL OR json_valid(handle)),
    note            TEXT    CHECK (note IS NULL OR json_valid(note)),
    waits_for       TEXT,
    reason_code     TEXT,
    reason          TEXT,
    -- When to ask about it, and when that was decided.
    due_at_ms       INTEGER NOT NULL DEFAULT 0,
    due_set_ms      INTEGER NOT NULL DEFAULT 0,
    cancel_asked    INTEGER NOT NULL DEFAULT 0 CHECK (cancel_asked BETWEEN 0 AND 2),
    -- How often it went to and fro while the outside had it. The history notes the first of them only.
    flips           INTEGER NOT NULL DEFAULT 0,
    data            TEXT    CHECK (data IS NULL OR json_valid(data)),
    created_at_ms   INTEGER NOT NULL,
    ended_at_ms     INTEGER,
    -- Where it was handed in.
    environment     INTEGER REFERENCES environments (environment),
    -- Of the job, where its backend tells: what the outside calls it, where it ran, when, and what it used.
    external_id     TEXT,
    host            TEXT,
    node            TEXT,
    queued_ms       INTEGER,
    started_ms      INTEGER,
    stopped_ms      INTEGER,
    cpu_ms          INTEGER,
    memory_peak_mb  INTEGER,
    UNIQUE (task_key, number),
    CHECK (handle IS NOT NULL OR NOT (state = 'submitted' OR state = 'running' OR state = 'waiting_external' OR state = 'completed')),
    CHECK ((waits_for IS NOT NULL) = (state = 'waiting_external')),
    CHECK (state NOT IN ('failed', 'lost') OR reason IS NOT NULL),
    CHECK ((reason_code IS NULL) = (reason IS NULL)),
    CHECK ((ended_at_ms IS NOT NULL) = (state = 'completed' OR state = 'failed' OR state = 'cancelled' OR state = 'lost'))
) STRICT;
-- A task has at most one live attempt.
CREATE UNIQUE INDEX attempts_one_live_per_task ON attempts (task_key) WHERE ended_at_ms IS NULL;
-- Which live attempts are to be asked about.
CREATE INDEX attempts_due ON attempts (due_at_ms) WHERE ended_at_ms IS NULL;
-- The same after the clock jumped back.
CREATE INDEX attempts_due_set ON attempts (due_set_ms) WHERE ended_at_ms IS NULL;
-- Which live attempts the outside has not acknowledged.
CREATE INDEX attempts_unsettled ON attempts (attempt_key) WHERE state = 'created' OR state = 'prepared' OR state = 'submitting';
-- Which attempts are live, by operator.
CREATE INDEX attempts_live ON attempts (operator, state) WHERE ended_at_ms IS NULL;
-- Which attempts a person wants stopped and the outside has not been told.
CREATE INDEX attempts_to_cancel ON attempts (attempt_key) WHERE cancel_asked = 1;
-- What attempts compute, as SHA-256, by which later runs find what they left, with the beginnings of the digests of its parts.
-- Apart from the attempts, whose rows grow while they go on.
CREATE TABLE reuse_keys (
    attempt_key     INTEGER PRIMARY KEY REFERENCES attempts (attempt_key),
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    parts           BLOB    NOT NULL
) STRICT;
-- Which attempts have a key.
CREATE INDEX reuse_keys_found ON reuse_keys (substr(sha256, 1, 8));

-- Attempts that ran nothing: the run and the attempt whose results they took, and the attempt that made these, which serves one
-- task of the run.
CREATE TABLE reused (
    attempt_key     INTEGER PRIMARY KEY REFERENCES attempts (attempt_key),
    run             TEXT    NOT NULL,
    attempt         TEXT    NOT NULL,
    origin          TEXT    NOT NULL UNIQUE
) STRICT;

-- Attempts whose results nobody shall reuse, by a person's word.
CREATE TABLE reuse_rejections (
    attempt_key     INTEGER PRIMARY KEY REFERENCES attempts (attempt_key),
    act             INTEGER NOT NULL REFERENCES acts (act)
) STRICT;

-- How many attempts of each operator are live.
CREATE TABLE live_counts (
    operator        TEXT    PRIMARY KEY,
    n               INTEGER NOT NULL CHECK (n >= 0)
) STRICT, WITHOUT ROWID;

-- What an attempt consumed: a pinned file by its path in the workspace, or a file that another attempt left. What stands in
-- the task itself is not here.
CREATE TABLE attempt_inputs (
    attempt_key     INTEGER NOT NULL REFERENCES attempts (attempt_key),
    destination     TEXT    NOT NULL,
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    from_attempt    INTEGER REFERENCES attempts (attempt_key),
    from_path       TEXT    NOT NULL,
    PRIMARY KEY (attempt_key, destination)
) STRICT, WITHOUT ROWID;

CREATE TABLE outputs (
    attempt_key     INTEGER NOT NULL REFERENCES attempts (attempt_key),
    path            TEXT    NOT NULL,
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    size            INTEGER NOT NULL CHECK (size >= 0),
    -- Where it is, if it stayed on a cluster: {"backend": …, "path": …}.
    remote          TEXT    CHECK (remote IS NULL OR json_valid(remote)),
    PRIMARY KEY (attempt_key, path)
) STRICT, WITHOUT ROWID;
-- Which file a digest names.
CREATE INDEX outputs_by_digest ON outputs (sha256);

-- What the host and the job wrote about an attempt: standard output, standard error and exit record, unless empty.
CREATE TABLE logs (
    attempt_key     INTEGER NOT NULL REFERENCES attempts (attempt_key),
    kind            TEXT    NOT NULL CHECK (kind = 'stdout' OR kind = 'stderr' OR kind = 'exit'),
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    size            INTEGER NOT NULL CHECK (size > 0),
    PRIMARY KEY (attempt_key, kind)
) STRICT, WITHOUT ROWID;

-- Every decision the campaign was asked for, also those that failed and were tried again under the same number.
CREATE TABLE decisions (
    decision        INTEGER PRIMARY KEY,
    number          INTEGER NOT NULL CHECK (number >= 1),
    try             INTEGER NOT NULL CHECK (try >= 1),
    kind            TEXT    NOT NULL CHECK (kind IN ('plan', 'analyze')),
    iteration       INTEGER NOT NULL,
    now_ms          INTEGER NOT NULL,
    config          INTEGER NOT NULL REFERENCES configs (config),
    plugin_sha256   BLOB    NOT NULL CHECK (length(plugin_sha256) = 32),
    engine          INTEGER NOT NULL REFERENCES engines (engine),
    -- The decision whose state it had.
    state_from      INTEGER,
    supplied        TEXT    CHECK (supplied IS NULL OR json_valid(supplied)),
    -- The exact text of the results it was given (zstd).
    finished        BLOB,
    input_sha256    BLOB    NOT NULL CHECK (length(input_sha256) = 32),
    -- How the call ended; `deadline` says nothing about the campaign, and is not replayed.
    outcome         TEXT    NOT NULL CHECK (outcome IN ('answered', 'error', 'trap', 'limit', 'deadline', 'bad_output')),
    error           TEXT,
    -- The answer but for the state: canonical JSON of next and reason (zstd).
    answer          BLOB,
    next            TEXT,
    reason          TEXT,
    summary         TEXT,
    output_sha256   BLOB    CHECK (output_sha256 IS NULL OR length(output_sha256) = 32),
    fuel            INTEGER NOT NULL,
    UNIQUE (number, try),
    CHECK ((outcome = 'answered') = (output_sha256 IS NOT NULL)),
    CHECK ((outcome = 'answered') = (error IS NULL))
) STRICT;
-- A number is answered once.
CREATE UNIQUE INDEX decisions_answered ON decisions (number) WHERE outcome = 'answered';

-- The campaign's state after each decision: whole (`base` absent; zstd), or as zstd with the state after `base` for dictionary.
CREATE TABLE states (
    number          INTEGER PRIMARY KEY,
    base            INTEGER REFERENCES states (number),
    -- How many deltas lead from a whole state to this one.
    depth           INTEGER NOT NULL CHECK ((depth = 0) = (base IS NULL)),
    size            INTEGER NOT NULL CHECK (size >= 0),
    bytes           BLOB    NOT NULL
) STRICT;

-- The files that a decision read, by digest.
CREATE TABLE decision_reads (
    decision        INTEGER NOT NULL REFERENCES decisions (decision),
    sha256          BLOB    NOT NULL CHECK (length(sha256) = 32),
    PRIMARY KEY (decision, sha256)
) STRICT, WITHOUT ROWID;

-- The reads that a decision was refused, with the answer it got; `seq` counts all its reads from 0.
CREATE TABLE decision_refusals (
    decision        INTEGER NOT NULL REFERENCES decisions (decision),
    seq             INTEGER NOT NULL CHECK (seq >= 0),
    answer          TEXT    NOT NULL CHECK (json_valid(answer)),
    PRIMARY KEY (decision, seq)
) STRICT, WITHOUT ROWID;

-- How far the journals of backends have been read.
CREATE TABLE cursors (
    backend         TEXT    PRIMARY KEY,
    position        TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Every transition, in order; never changed.
CREATE TABLE history (
    seq             INTEGER PRIMARY KEY,
    at_ms           INTEGER NOT NULL,
    kind            TEXT    NOT NULL CHECK (kind = 'run' OR kind = 'workflow' OR kind = 'task' OR kind = 'attempt' OR kind = 'config'),
    subject         TEXT    NOT NULL,
    from_state      TEXT,
    to_state        TEXT    NOT NULL,
    reason          TEXT
) STRICT;
CREATE TRIGGER history_is_append_only_update BEFORE UPDATE ON history BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;
CREATE TRIGGER history_is_append_only_delete BEFORE DELETE ON history BEGIN SELECT RAISE(ABORT, 'history is append-only'); END;

-- For a person with the sqlite3 shell: every task with its last attempt.
CREATE VIEW task_overview AS
SELECT t.task_id, t.iteration, t.state, t.reason, t.operator, a.attempt_id, a.number AS attempt, a.state AS attempt_state,
       a.directory, datetime(a.created_at_ms / 1000, 'unixepoch') AS started, datetime(a.ended_at_ms / 1000, 'unixepoch') AS ended
FROM tasks t LEFT JOIN attempts a ON a.task_key = t.task_key
    AND a.number = (SELECT max(number) FROM attempts b WHERE b.task_key = t.task_key);
