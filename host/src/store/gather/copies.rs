//! What is copied of a run, and into which table: the columns of each row in the order of the placeholders, after the
//! run's id and, of the run itself, its path.

/// What a statement finds in a run, and where it is put.
pub(super) struct Copy {
    pub(super) select: &'static str,
    pub(super) insert: &'static str,
}

/// The run itself.
pub(super) const RUN: Copy = Copy {
    select: "SELECT workspace, label, state, reason_code, reason, iteration, decisions, (SELECT count(*) FROM tasks), \
         strftime('%Y-%m-%dT%H:%M:%fZ', created_at_ms / 1000.0, 'unixepoch'), strftime('%Y-%m-%dT%H:%M:%fZ', \
         ended_at_ms / 1000.0, 'unixepoch'), (SELECT user FROM acts ORDER BY act LIMIT 1), (SELECT host FROM acts \
         ORDER BY act LIMIT 1), (SELECT version FROM acts ORDER BY act LIMIT 1), lower(hex(config_sha256)), \
         result FROM run",
    insert: "INSERT INTO runs (run_id, path, workspace, label, state, reason_code, reason, iteration, decisions, \
         tasks, created_at, ended_at, user, host, version, config_sha256, result) VALUES (?1, ?2, ?3, ?4, ?5, ?6, \
         ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
};

/// What belongs to it.
pub(super) const COPIES: [Copy; 14] = [
    Copy {
        select: "SELECT act, strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch'), verb, arguments, reason, \
             user_id, user, host, version FROM acts ORDER BY act",
        insert: "INSERT INTO acts (run_id, act, at, verb, arguments, reason, user_id, user, host, version) VALUES \
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    },
    Copy {
        select: "SELECT name, lower(hex(sha256)), path, size, act FROM plugins ORDER BY plugin",
        insert: "INSERT INTO plugins (run_id, name, sha256, path, size, act) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    },
    Copy {
        select: "SELECT environment, host, machine, variables, recorded, act FROM environments ORDER BY environment",
        insert: "INSERT INTO environments (run_id, environment, host, machine, variables, recorded, act) VALUES (?1, \
             ?2, ?3, ?4, ?5, ?6, ?7)",
    },
    Copy {
        select: "SELECT d.decision, d.number, d.try, d.kind, d.iteration, strftime('%Y-%m-%dT%H:%M:%fZ', d.now_ms / \
             1000.0, 'unixepoch'), d.outcome, d.error, d.next, d.reason, d.summary, d.asked, d.open_tasks, \
             d.supplied, d.state_from, d.config, lower(hex(d.plugin_sha256)), lower(hex(d.input_sha256)), \
             nullif(lower(hex(d.output_sha256)), ''), d.fuel, e.version, e.runtime FROM decisions d JOIN engines \
             e ON e.engine = d.engine ORDER BY d.decision",
        insert: "INSERT INTO decisions (run_id, decision, number, try, kind, iteration, at, outcome, error, next, \
             reason, summary, asked, open_tasks, supplied, state_from, config, plugin_sha256, input_sha256, \
             output_sha256, fuel, version, runtime) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, \
             ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23)",
    },
    Copy {
        select: "SELECT iteration, decision, tasks, strftime('%Y-%m-%dT%H:%M:%fZ', created_at_ms / 1000.0, \
             'unixepoch'), strftime('%Y-%m-%dT%H:%M:%fZ', analyzed_at_ms / 1000.0, 'unixepoch') FROM workflows \
             ORDER BY iteration",
        insert: "INSERT INTO iterations (run_id, iteration, decision, tasks, planned_at, analyzed_at) VALUES (?1, ?2, \
             ?3, ?4, ?5, ?6)",
    },
    Copy {
        select: "SELECT t.task_id, t.iteration, t.operator, t.state, t.reason_code, t.reason, (SELECT count(*) FROM \
             attempts a WHERE a.task_key = t.task_key), t.stale, t.allow_failure, t.delivered, t.version, t.spec \
             FROM tasks t ORDER BY t.task_key",
        insert: "INSERT INTO tasks (run_id, task_id, iteration, operator, state, reason_code, reason, attempts, \
             stale, allow_failure, analyzed_by, version, spec) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, \
             ?11, ?12, ?13)",
    },
    Copy {
        select: "SELECT t.task_id, s.version, s.spec, s.act FROM task_specs s JOIN tasks t ON t.task_key = s.task_key \
             ORDER BY s.task_key, s.version",
        insert: "INSERT INTO amended_tasks (run_id, task_id, version, spec, act) VALUES (?1, ?2, ?3, ?4, ?5)",
    },
    Copy {
        select: "SELECT t.task_id, o.task_id FROM dependencies d JOIN tasks t ON t.task_key = d.task_key JOIN tasks o \
             ON o.task_key = d.on_key ORDER BY d.task_key, d.on_key",
        insert: "INSERT INTO dependencies (run_id, task_id, on_task_id) VALUES (?1, ?2, ?3)",
    },
    Copy {
        select: "SELECT a.attempt_id, t.task_id, a.number, a.number = (SELECT max(b.number) FROM attempts b WHERE \
             b.task_key = a.task_key), a.version, a.operator, a.state, a.reason_code, a.reason, a.directory, \
             a.external_id, a.host, a.node, strftime('%Y-%m-%dT%H:%M:%fZ', a.created_at_ms / 1000.0, \
             'unixepoch'), strftime('%Y-%m-%dT%H:%M:%fZ', a.queued_ms / 1000.0, 'unixepoch'), \
             strftime('%Y-%m-%dT%H:%M:%fZ', a.started_ms / 1000.0, 'unixepoch'), strftime('%Y-%m-%dT%H:%M:%fZ', \
             a.stopped_ms / 1000.0, 'unixepoch'), strftime('%Y-%m-%dT%H:%M:%fZ', a.ended_at_ms / 1000.0, \
             'unixepoch'), (a.started_ms - a.queued_ms) / 1000.0, (a.stopped_ms - a.started_ms) / 1000.0, \
             a.cpu_ms / 1000.0, a.core_ms / 1000.0, a.memory_peak_mb, a.environment, a.data, a.usage, \
             nullif(lower(hex(k.sha256)), ''), x.act IS NOT NULL, r.run, r.attempt, r.origin FROM attempts a JOIN \
             tasks t ON t.task_key = a.task_key LEFT JOIN reuse_keys k ON k.attempt_key = a.attempt_key LEFT JOIN \
             reused r ON r.attempt_key = a.attempt_key LEFT JOIN reuse_rejections x ON x.attempt_key = \
             a.attempt_key ORDER BY a.attempt_key",
        insert: "INSERT INTO attempts (run_id, attempt_id, task_id, number, is_last, version, operator, state, \
             reason_code, reason, directory, external_id, host, node, created_at, queued_at, started_at, \
             stopped_at, ended_at, queued_s, ran_s, cpu_s, core_s, memory_mb, environment, data, usage, \
             reuse_key, reuse_rejected, reused_run, reused_attempt, reused_origin) VALUES (?1, ?2, ?3, ?4, ?5, \
             ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, \
             ?27, ?28, ?29, ?30, ?31, ?32)",
    },
    Copy {
        select: "SELECT a.attempt_id, i.destination, lower(hex(i.sha256)), f.attempt_id, i.from_path FROM \
             attempt_inputs i JOIN attempts a ON a.attempt_key = i.attempt_key LEFT JOIN attempts f ON \
             f.attempt_key = i.from_attempt ORDER BY i.attempt_key, i.destination",
        insert: "INSERT INTO inputs (run_id, attempt_id, destination, sha256, from_attempt_id, from_path) VALUES (?1, \
             ?2, ?3, ?4, ?5, ?6)",
    },
    Copy {
        select: "SELECT a.attempt_id, o.path, lower(hex(o.sha256)), o.size, o.remote, EXISTS (SELECT 1 FROM removed r \
             WHERE r.attempt_key = o.attempt_key AND r.path IN (o.path, '')) FROM outputs o JOIN attempts a ON \
             a.attempt_key = o.attempt_key ORDER BY o.attempt_key, o.path",
        insert: "INSERT INTO outputs (run_id, attempt_id, path, sha256, size, remote, removed) VALUES (?1, ?2, ?3, \
             ?4, ?5, ?6, ?7)",
    },
    Copy {
        select: "SELECT a.attempt_id, l.kind, lower(hex(l.sha256)), l.size FROM logs l JOIN attempts a ON \
             a.attempt_key = l.attempt_key ORDER BY l.attempt_key, l.kind",
        insert: "INSERT INTO logs (run_id, attempt_id, kind, sha256, size) VALUES (?1, ?2, ?3, ?4, ?5)",
    },
    Copy {
        select: "SELECT p.approval, t.task_id, p.version, strftime('%Y-%m-%dT%H:%M:%fZ', p.asked_ms / 1000.0, \
             'unixepoch'), p.state, p.act FROM approvals p JOIN tasks t ON t.task_key = p.task_key ORDER BY \
             p.approval",
        insert: "INSERT INTO approvals (run_id, approval, task_id, version, asked_at, state, act) VALUES (?1, ?2, ?3, \
             ?4, ?5, ?6, ?7)",
    },
    Copy {
        select: "SELECT seq, strftime('%Y-%m-%dT%H:%M:%fZ', at_ms / 1000.0, 'unixepoch'), kind, subject, from_state, \
             to_state, reason FROM history ORDER BY seq",
        insert: "INSERT INTO history (run_id, seq, at, kind, subject, from_state, to_state, reason) VALUES (?1, ?2, \
             ?3, ?4, ?5, ?6, ?7, ?8)",
    },
];
