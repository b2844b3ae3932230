-- Mode `each-result`: outcomes reach the campaign one by one, in the order in which tasks ended.
ALTER TABLE run ADD COLUMN each_result INTEGER NOT NULL DEFAULT 0 CHECK (each_result = 0 OR each_result = 1);
-- Whether a held run starts nothing either.
ALTER TABLE run ADD COLUMN also_paused INTEGER NOT NULL DEFAULT 0 CHECK (also_paused = 0 OR (also_paused = 1 AND state = 'held'));
-- When a plan is asked for though nothing ended, and when that was decided.
ALTER TABLE run ADD COLUMN wake_at_ms INTEGER;
ALTER TABLE run ADD COLUMN wake_set_ms INTEGER CHECK ((wake_at_ms IS NULL) = (wake_set_ms IS NULL));
-- What a run that is being cancelled ends in, where that is the campaign's word; else it is cancelled.
ALTER TABLE run ADD COLUMN ends_in TEXT CHECK (ends_in IS NULL OR (state = 'cancelling' AND ends_in IN ('completed', 'failed')));

-- Why a plan is owed. The decision that answers clears it.
CREATE TABLE asked (
    word            TEXT    PRIMARY KEY
        CHECK (word IN ('changed', 'first', 'reopened', 'results', 'resumed', 'waited'))
) STRICT, WITHOUT ROWID;
INSERT INTO asked (word) SELECT 'first' FROM run WHERE iteration = 0 AND decisions = 0;
INSERT INTO asked (word) SELECT 'results' FROM run WHERE decisions > 0 AND state NOT IN ('completed', 'failed', 'cancelled')
    AND NOT EXISTS (SELECT 1 FROM workflows WHERE analyzed_at_ms IS NULL);

-- Outcomes that the campaign has not received, in the order in which the tasks ended; in mode `each-result` alone.
CREATE TABLE outcomes (
    place           INTEGER PRIMARY KEY,
    task_key        INTEGER NOT NULL UNIQUE REFERENCES tasks (task_key)
) STRICT;

-- Files that the run keeps beside those of attempts: what decisions wrote, and output documents too large for a result.
CREATE TABLE kept_files (
    sha256          BLOB    PRIMARY KEY CHECK (length(sha256) = 32),
    size            INTEGER NOT NULL CHECK (size >= 0)
) STRICT, WITHOUT ROWID;

ALTER TABLE attempts ADD COLUMN prepared TEXT CHECK (prepared IS NULL OR json_valid(prepared));
-- What it used, by its operator's word.
ALTER TABLE attempts ADD COLUMN usage TEXT CHECK (usage IS NULL OR json_valid(usage));

-- Why a plan was asked for, as a JSON list; and how many tasks were open.
ALTER TABLE decisions ADD COLUMN asked TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(asked));
ALTER TABLE decisions ADD COLUMN open_tasks INTEGER NOT NULL DEFAULT 0 CHECK (open_tasks >= 0);
-- A summary was a line, and is a document.
UPDATE decisions SET summary = json_object('text', summary) WHERE summary IS NOT NULL;

-- What a decision asked about open tasks, with the answers: JSON (zstd).
CREATE TABLE decision_open_tasks (
    decision        INTEGER NOT NULL REFERENCES decisions (decision),
    seq             INTEGER NOT NULL CHECK (seq >= 0),
    answer          BLOB    NOT NULL,
    PRIMARY KEY (decision, seq)
) STRICT, WITHOUT ROWID;

-- The files that a decision wrote, by digest.
CREATE TABLE decision_writes (
    decision        INTEGER NOT NULL REFERENCES decisions (decision),
    sha256          BLOB    NOT NULL REFERENCES kept_files (sha256),
    PRIMARY KEY (decision, sha256)
) STRICT, WITHOUT ROWID;
