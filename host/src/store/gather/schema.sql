-- Runs of a workspace, side by side. Made of the runs' own databases by `matterstack query`, and made anew at will:
-- nothing that is changed here comes back to a run. Plain tables, which old versions of SQLite read too.
PRAGMA application_id = 1297306705;
PRAGMA user_version = 1;

CREATE TABLE runs (
    run_id          TEXT    PRIMARY KEY,
    path            TEXT    NOT NULL,
    workspace       TEXT    NOT NULL,
    label           TEXT,
    state           TEXT    NOT NULL,
    reason_code     TEXT,
    reason          TEXT,
    iteration       INTEGER NOT NULL,
    decisions       INTEGER NOT NULL,
    tasks           INTEGER NOT NULL,
    created_at      TEXT    NOT NULL,
    ended_at        TEXT,
    user            TEXT,
    host            TEXT,
    version         TEXT,
    config_sha256   TEXT    NOT NULL,
    result          TEXT
);

CREATE TABLE left_out (
    run_id          TEXT    PRIMARY KEY,
    path            TEXT    NOT NULL,
    reason          TEXT    NOT NULL
);

CREATE TABLE acts (
    run_id          TEXT    NOT NULL,
    act             INTEGER NOT NULL,
    at              TEXT    NOT NULL,
    verb            TEXT    NOT NULL,
    arguments       TEXT    NOT NULL,
    reason          TEXT,
    user_id         INTEGER NOT NULL,
    user            TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    version         TEXT,
    PRIMARY KEY (run_id, act)
) WITHOUT ROWID;

CREATE TABLE configs (
    run_id          TEXT    NOT NULL,
    config          INTEGER NOT NULL,
    sha256          TEXT    NOT NULL,
    act             INTEGER NOT NULL,
    text            TEXT    NOT NULL,
    PRIMARY KEY (run_id, config)
);

CREATE TABLE plugins (
    run_id          TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    sha256          TEXT    NOT NULL,
    path            TEXT    NOT NULL,
    size            INTEGER NOT NULL,
    act             INTEGER NOT NULL,
    PRIMARY KEY (run_id, name, sha256)
) WITHOUT ROWID;

CREATE TABLE environments (
    run_id          TEXT    NOT NULL,
    environment     INTEGER NOT NULL,
    host            TEXT    NOT NULL,
    machine         TEXT    NOT NULL,
    variables       TEXT    NOT NULL,
    recorded        TEXT    NOT NULL,
    act             INTEGER,
    PRIMARY KEY (run_id, environment)
) WITHOUT ROWID;

CREATE TABLE decisions (
    run_id          TEXT    NOT NULL,
    decision        INTEGER NOT NULL,
    number          INTEGER NOT NULL,
    try             INTEGER NOT NULL,
    kind            TEXT    NOT NULL,
    iteration       INTEGER NOT NULL,
    at              TEXT    NOT NULL,
    outcome         TEXT    NOT NULL,
    error           TEXT,
    next            TEXT,
    reason          TEXT,
    summary         TEXT,
    asked           TEXT    NOT NULL,
    open_tasks      INTEGER NOT NULL,
    supplied        TEXT,
    state_from      INTEGER,
    config          INTEGER NOT NULL,
    plugin_sha256   TEXT    NOT NULL,
    input_sha256    TEXT    NOT NULL,
    output_sha256   TEXT,
    fuel            INTEGER NOT NULL,
    version         TEXT    NOT NULL,
    runtime         TEXT    NOT NULL,
    PRIMARY KEY (run_id, decision)
);

CREATE TABLE iterations (
    run_id          TEXT    NOT NULL,
    iteration       INTEGER NOT NULL,
    decision        INTEGER NOT NULL,
    tasks           INTEGER NOT NULL,
    planned_at      TEXT    NOT NULL,
    analyzed_at     TEXT,
    PRIMARY KEY (run_id, iteration)
) WITHOUT ROWID;

CREATE TABLE tasks (
    run_id          TEXT    NOT NULL,
    task_id         TEXT    NOT NULL,
    iteration       INTEGER NOT NULL,
    operator        TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    reason_code     TEXT,
    reason          TEXT,
    attempts        INTEGER NOT NULL,
    stale           INTEGER NOT NULL,
    allow_failure   INTEGER NOT NULL,
    analyzed_by     INTEGER,
    version         INTEGER NOT NULL,
    spec            TEXT    NOT NULL,
    PRIMARY KEY (run_id, task_id)
);

CREATE TABLE amended_tasks (
    run_id          TEXT    NOT NULL,
    task_id         TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    spec            TEXT    NOT NULL,
    act             INTEGER,
    PRIMARY KEY (run_id, task_id, version)
);

CREATE TABLE dependencies (
    run_id          TEXT    NOT NULL,
    task_id         TEXT    NOT NULL,
    on_task_id      TEXT    NOT NULL,
    PRIMARY KEY (run_id, task_id, on_task_id)
) WITHOUT ROWID;

CREATE TABLE attempts (
    run_id          TEXT    NOT NULL,
    attempt_id      TEXT    NOT NULL,
    task_id         TEXT    NOT NULL,
    number          INTEGER NOT NULL,
    is_last         INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    operator        TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    reason_code     TEXT,
    reason          TEXT,
    directory       TEXT    NOT NULL,
    external_id     TEXT,
    host            TEXT,
    node            TEXT,
    created_at      TEXT    NOT NULL,
    queued_at       TEXT,
    started_at      TEXT,
    stopped_at      TEXT,
    ended_at        TEXT,
    queued_s        REAL,
    ran_s           REAL,
    cpu_s           REAL,
    core_s          REAL,
    memory_mb       INTEGER,
    environment     INTEGER,
    data            TEXT,
    usage           TEXT,
    reuse_key       TEXT,
    reuse_rejected  INTEGER NOT NULL,
    reused_run      TEXT,
    reused_attempt  TEXT,
    reused_origin   TEXT,
    PRIMARY KEY (run_id, attempt_id)
);
CREATE INDEX attempts_of_task ON attempts (run_id, task_id);

CREATE TABLE inputs (
    run_id          TEXT    NOT NULL,
    attempt_id      TEXT    NOT NULL,
    destination     TEXT    NOT NULL,
    sha256          TEXT    NOT NULL,
    from_attempt_id TEXT,
    from_path       TEXT    NOT NULL,
    PRIMARY KEY (run_id, attempt_id, destination)
) WITHOUT ROWID;

CREATE TABLE outputs (
    run_id          TEXT    NOT NULL,
    attempt_id      TEXT    NOT NULL,
    path            TEXT    NOT NULL,
    sha256          TEXT    NOT NULL,
    size            INTEGER NOT NULL,
    remote          TEXT,
    removed         INTEGER NOT NULL,
    PRIMARY KEY (run_id, attempt_id, path)
) WITHOUT ROWID;

CREATE TABLE logs (
    run_id          TEXT    NOT NULL,
    attempt_id      TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    sha256          TEXT    NOT NULL,
    size            INTEGER NOT NULL,
    PRIMARY KEY (run_id, attempt_id, kind)
) WITHOUT ROWID;

CREATE TABLE approvals (
    run_id          TEXT    NOT NULL,
    approval        TEXT    NOT NULL,
    task_id         TEXT    NOT NULL,
    version         INTEGER NOT NULL,
    asked_at        TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    act             INTEGER,
    PRIMARY KEY (run_id, approval)
) WITHOUT ROWID;

CREATE TABLE history (
    run_id          TEXT    NOT NULL,
    seq             INTEGER NOT NULL,
    at              TEXT    NOT NULL,
    kind            TEXT    NOT NULL,
    subject         TEXT    NOT NULL,
    from_state      TEXT,
    to_state        TEXT    NOT NULL,
    reason          TEXT,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;

-- Values that stand in documents: numbers as REAL, so that dividing them rounds nothing. `task_id` is the empty text where
-- the document is the result of the run.
CREATE TABLE fields (
    run_id          TEXT    NOT NULL,
    task_id         TEXT    NOT NULL,
    name            TEXT    NOT NULL,
    number          REAL,
    text            TEXT,
    PRIMARY KEY (run_id, task_id, name)
) WITHOUT ROWID;

-- Every task with its last attempt.
CREATE VIEW task_overview AS
SELECT t.run_id, r.label, t.task_id, t.iteration, t.operator, t.state, t.reason, t.stale, a.attempt_id,
       a.number AS attempt, a.reused_run, a.queued_s, a.ran_s, a.cpu_s, a.memory_mb, a.host, a.node, r.path || '/' || a.directory AS path
FROM tasks t JOIN runs r ON r.run_id = t.run_id
    LEFT JOIN attempts a ON a.run_id = t.run_id AND a.task_id = t.task_id AND a.is_last = 1;
