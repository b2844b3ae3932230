//! report.md: the bundle for a person.
use super::markdown::{Table, code, document, fenced, line, plain};
use super::passages::{ROWS_MAX, asked, count, environment, optional, took};
use crate::model::act::ActRecord;
use crate::model::config::RunConfig;
use crate::model::evidence::{
    ApprovalRecord, AttemptRecord, DecisionKind, DecisionRecord, EnvironmentRecord, Finding, HistoryRecord, LogKind,
    LogRecord, NumberedEngine, PluginRecord, ResourcesRecord, RunRecord, TaskRecord, Verified, WorkflowRecord,
};
use crate::model::states::{AttemptState, RunState, TaskState};
use crate::model::time::{Time, since, span};
use crate::model::workflow::Task;
use crate::results::{Said, said_last};
use crate::run::RunDir;
use crate::store::WaitRow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

/// Attempts that failed and are told with what they wrote last.
const SAID_MAX: usize = 20;
/// The widest column of task ids, in characters; a longer id stands out of it.
const TASK_ID_MAX: usize = 48;
/// Columns of the table of every task: heading, width (that of `task` follows the ids), and whether it holds
/// numbers.
const TASK_COLUMNS: [(&str, usize, bool); 9] = [
    ("task", 0, false),
    ("iteration", 9, true),
    ("state", 9, false),
    ("operator", 8, false),
    ("attempts", 8, true),
    ("started", 24, false),
    ("ran", 8, false),
    ("depends on", 10, false),
    ("why", 3, false),
];

/// Columns of the table of what people were asked.
const APPROVALS: [&str; 8] = ["asked", "task", "state", "at", "by", "answer", "SHA-256", "why"];

/// A report that is built up while the store is read.
#[derive(Debug)]
pub(super) struct Report {
    dir: RunDir,
    run: RunRecord,
    asked: String,
    plans: Table,
    iterations: Vec<WorkflowRecord>,
    ended: BTreeMap<u32, (u64, u64)>,
    failures: Table,
    attempts: Table,
    attempts_made: u64,
    attempts_reused: u64,
    /// Tasks that failed, as text, whose last attempts may have said why.
    failed: BTreeMap<String, String>,
    said: BTreeMap<String, (u32, String, Vec<LogRecord>)>,
    environment: String,
    /// Where jobs ran: how many, and for how many milliseconds in all.
    machines: BTreeMap<String, (u64, i64)>,
    waits: Table,
    acts: Table,
    approvals: Table,
    timeline: Table,
    /// The table of every task, which is never held in memory.
    tasks: BufWriter<File>,
    task_widths: [usize; 9],
    findings: Table,
    resources: ResourcesRecord,
}

impl Report {
    /// Begins with what was asked.
    pub(super) fn new(
        dir: &RunDir,
        run: RunRecord,
        longest_id: usize,
        config: Option<&RunConfig>,
        plugins: &[PluginRecord],
        scratch: File,
    ) -> io::Result<Self> {
        let mut report = Self {
            dir: dir.clone(),
            run,
            asked: asked(config, plugins),
            plans: Table::new(&["decision", "time", "iteration", "next", "why"], ROWS_MAX),
            iterations: Vec::new(),
            ended: BTreeMap::new(),
            failures: Table::new(&["task", "state", "attempts", "why"], ROWS_MAX),
            attempts: Table::new(&["task", "attempt", "state", "why", "directory"], ROWS_MAX),
            attempts_made: 0,
            attempts_reused: 0,
            failed: BTreeMap::new(),
            said: BTreeMap::new(),
            environment: String::new(),
            machines: BTreeMap::new(),
            waits: Table::new(&["waits for", "task", "operator", "why"], ROWS_MAX),
            acts: Table::new(&["time", "after", "command", "with", "by", "why"], ROWS_MAX),
            approvals: Table::new(&APPROVALS, ROWS_MAX),
            timeline: Table::new(&["time", "what", "event", "why"], ROWS_MAX),
            tasks: BufWriter::new(scratch),
            task_widths: TASK_COLUMNS.map(|(_, width, _)| width),
            findings: Table::new(&["file", "what it is", "found", "more"], ROWS_MAX),
            resources: ResourcesRecord::default(),
        };
        report.task_widths[0] = (longest_id + 2).clamp(4, TASK_ID_MAX);
        report.task_line(&TASK_COLUMNS.map(|(name, ..)| name.to_owned()))?;
        let rules: Vec<String> = TASK_COLUMNS
            .iter()
            .zip(report.task_widths)
            .map(|((.., numeric), width)| "-".repeat(width - 1) + if *numeric { ":" } else { "-" })
            .collect();
        report.task_line(&rules)?;
        Ok(report)
    }

    fn task_line(&mut self, cells: &[String]) -> io::Result<()> {
        let line = line(cells, &self.task_widths, &TASK_COLUMNS.map(|(.., numeric)| numeric));
        self.tasks.write_all(line.as_bytes())
    }

    pub(super) fn wait(&mut self, wait: &WaitRow) {
        self.waits.push(|| {
            vec![
                plain(&wait.kind.to_string()),
                code(&wait.task),
                code(&wait.operator),
                optional(wait.reason.as_deref()),
            ]
        });
    }

    pub(super) fn act(&mut self, act: &ActRecord) {
        let made = self.run.created_at;
        self.acts.push(|| {
            let (user, host) = (plain(&act.by.user), plain(&act.by.host));
            let who = format!("{user} ({}) on {host}", act.by.user_id);
            let what = plain(&act.arguments.to_string());
            vec![act.at.to_string(), since(made, act.at), act.verb.clone(), what, who, optional(act.reason.as_deref())]
        });
    }

    pub(super) fn approval(&mut self, one: &ApprovalRecord) {
        self.approvals.push(|| {
            let answer = one.answer.as_ref().map(|answer| plain(&answer.to_string())).unwrap_or_default();
            let at = one.at.map(|at| at.to_string()).unwrap_or_default();
            let (state, why) = (one.state.as_str().to_owned(), optional(one.reason.as_deref()));
            let sha256 = code(&one.sha256);
            vec![one.asked_at.to_string(), code(&one.task), state, at, plain(&one.who()), answer, sha256, why]
        });
    }

    pub(super) fn decision(&mut self, decision: &DecisionRecord) {
        if decision.kind == DecisionKind::Plan {
            self.plans.push(|| {
                vec![
                    decision.number.to_string(),
                    decision.at.to_string(),
                    decision.iteration.to_string(),
                    optional(decision.next.as_deref()),
                    optional(decision.reason.as_deref().or(decision.error.as_deref())),
                ]
            });
        }
    }

    /// Where jobs were handed in, and what carried out decisions.
    pub(super) fn environment(&mut self, environments: &[EnvironmentRecord], engines: &[NumberedEngine]) {
        self.environment = environment(environments, engines);
    }

    pub(super) fn workflow(&mut self, workflow: &WorkflowRecord) {
        self.iterations.push(workflow.clone());
    }

    pub(super) fn task(&mut self, task: &TaskRecord) -> io::Result<()> {
        let (completed, other) = self.ended.entry(task.iteration).or_default();
        match task.state {
            TaskState::Completed => *completed += 1,
            TaskState::Failed | TaskState::Cancelled | TaskState::Skipped => {
                *other += 1;
                if task.state == TaskState::Failed && self.failed.len() < SAID_MAX {
                    self.failed.insert(task.id.clone(), task.spec.0.get().to_owned());
                }
                self.failures.push(|| {
                    let why = optional(task.reason.as_deref());
                    vec![code(&task.id), task.state.to_string(), task.attempts.to_string(), why]
                });
            }
            TaskState::Pending | TaskState::Running => {}
        }
        let spec: Option<Task> = serde_json::from_str(task.spec.0.get()).ok();
        let depends = spec.map(|spec| spec.dependencies().into_iter().map(ToOwned::to_owned).collect::<Vec<_>>());
        let depends = depends.unwrap_or_default();
        let more = if depends.len() > 4 { ", …" } else { "" };
        let depends: Vec<String> = depends.iter().take(4).map(|id| code(id.as_str())).collect();
        self.task_line(&[
            code(&task.id),
            task.iteration.to_string(),
            task.state.to_string(),
            code(&task.operator),
            task.attempts.to_string(),
            task.started_at.map(|time| time.to_string()).unwrap_or_default(),
            task.ran_ms.map(span).unwrap_or_default(),
            depends.join(", ") + more,
            optional(task.reason.as_deref()),
        ])
    }

    pub(super) fn attempt(&mut self, attempt: &AttemptRecord) {
        self.attempts_made += 1;
        self.attempts_reused += u64::from(attempt.reused.is_some());
        let job = &attempt.job;
        let place = job.node.as_ref().or(job.host.as_ref()).filter(|_| attempt.reused.is_none());
        if let (Some(place), Some(started)) = (place, job.started_at)
            && (self.machines.len() < ROWS_MAX || self.machines.contains_key(place))
        {
            let ran = self.machines.entry(place.clone()).or_default();
            *ran = (ran.0 + 1, ran.1 + job.stopped_at.map_or(0, |stopped| (stopped.0 - started.0).max(0)));
        }
        if self.failed.contains_key(&attempt.task) {
            let written = (attempt.number, attempt.directory.clone(), attempt.logs.clone());
            self.said.insert(attempt.task.clone(), written);
        }
        match attempt.state {
            AttemptState::Failed | AttemptState::Lost => self.attempts.push(|| {
                vec![
                    code(&attempt.task),
                    attempt.number.to_string(),
                    attempt.state.to_string(),
                    optional(attempt.reason.as_deref()),
                    code(&attempt.directory),
                ]
            }),
            AttemptState::Created
            | AttemptState::Prepared
            | AttemptState::Submitting
            | AttemptState::Submitted
            | AttemptState::Running
            | AttemptState::WaitingExternal
            | AttemptState::Completed
            | AttemptState::Cancelled => {}
        }
    }

    pub(super) fn took(&mut self, resources: &ResourcesRecord) {
        self.resources = resources.clone();
    }

    pub(super) fn transition(&mut self, transition: &HistoryRecord) {
        let what = match transition.kind.as_str() {
            "run" => "run".to_owned(),
            "workflow" => format!("iteration {}", plain(&transition.subject)),
            "config" => plain(&transition.subject),
            // Tasks and attempts have tables of their own.
            _ => return,
        };
        self.timeline.push(|| {
            let from = transition.from.as_ref().map(|from| format!("{} → ", plain(from))).unwrap_or_default();
            let event = format!("{from}{}", plain(&transition.to));
            vec![transition.at.to_string(), what, event, optional(transition.reason.as_deref())]
        });
    }

    pub(super) fn finding(&mut self, finding: &Finding) {
        self.findings.push(|| {
            let kind = match &finding.task {
                Some(task) => format!("output of task {}", code(task)),
                None => finding.kind.as_str().to_owned(),
            };
            let more = optional(finding.detail.as_deref());
            vec![code(&finding.path), kind, finding.integrity.as_str().to_owned(), more]
        });
    }

    /// The whole report; `sha256` is the digest of its evidence.json.
    pub(super) fn finish(self, verified: &Verified, sha256: &str, out: &mut dyn io::Write) -> io::Result<()> {
        let mut text = self.head(verified);
        let _ = write!(text, "## What was asked\n\n{}\n", self.asked);
        let _ = write!(text, "## What was done\n\n{}\n", self.done());
        let _ = write!(text, "## Results\n\n{}\n", self.results());
        let _ = write!(text, "## Failures\n\n{}\n", self.failed());
        let _ = write!(text, "## Environment\n\n{}\n", self.environment);
        let _ = write!(text, "## Files\n\n{}\n", self.files(verified, sha256));
        let _ = write!(text, "## Commands\n\n{}\n", self.acts.render());
        if !self.approvals.is_empty() {
            let _ = write!(text, "## Approvals\n\n{}\n", self.approvals.render());
        }
        let _ = write!(text, "## Timeline\n\nTimes are in UTC.\n\n{}\n", self.timeline.render());
        text += "## Every task\n\n";
        if self.run.tasks.total == 0 {
            text += "No task was planned.\n";
            return out.write_all(text.as_bytes());
        }
        out.write_all(text.as_bytes())?;
        let mut tasks = self.tasks.into_inner().map_err(io::IntoInnerError::into_error)?;
        tasks.seek(SeekFrom::Start(0))?;
        io::copy(&mut tasks, out)?;
        Ok(())
    }

    fn head(&self, verified: &Verified) -> String {
        let run = &self.run;
        let mut text = format!("# Run {} of {}\n\n", plain(&run.run_id), plain(&run.workspace));
        if let Some(label) = &run.label {
            let _ = writeln!(text, "Label: {}\n", plain(label));
        }
        let why = run.reason.as_ref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
        // The page goes wherever the run goes, and a run's id leads to one place only.
        let more = match run.state {
            RunState::Active | RunState::Cancelling => "In the run's directory, `matterstack loop .` goes on with it.",
            RunState::Paused => "In the run's directory, `matterstack resume .` lets it go on.",
            RunState::Held => {
                "A person must decide; in the run's directory, `matterstack explain .` says what would help."
            }
            RunState::Failed | RunState::Cancelled => {
                "In the run's directory, `matterstack resume .` brings it back, with the tasks that did not complete."
            }
            RunState::Completed => "",
        };
        let length = |end: Time| span(end.0 - run.created_at.0);
        let ended = run.ended_at.map(|end| format!(" and ended on {end}, after {}", length(end)));
        let _ = writeln!(text, "**The run is {}**{why}", run.state);
        let _ = write!(text, "\nIt was made on {}{}.", run.created_at, ended.unwrap_or_default());
        let _ = writeln!(text, "{}{more}", if more.is_empty() { "" } else { " " });
        if !run.state.ended() {
            text += "\n> **It has not ended.** This page says what was recorded when it was written, and no more; \
                     write it again after the end.\n";
        }
        match verified.findings() {
            0 => {}
            1 => text += "\n> **1 file is not as recorded**; see [Files](#files).\n",
            count => {
                let _ = write!(text, "\n> **{count} files are not as recorded**; see [Files](#files).\n");
            }
        }
        text + "\n"
    }

    fn done(&self) -> String {
        let tasks = &self.run.tasks;
        let mut text = format!(
            "{} and {}, with {}: {} completed, {} failed, {} cancelled, {} skipped, {} running, {} not started.\n",
            count(u64::from(self.run.iteration), "iteration"),
            count(tasks.total, "task"),
            count(self.attempts_made, "attempt"),
            tasks.completed,
            tasks.failed,
            tasks.cancelled,
            tasks.skipped,
            tasks.running,
            tasks.pending,
        );
        if self.attempts_reused > 0 {
            let reused = count(self.attempts_reused, "attempt");
            text += &format!(
                "{reused} ran nothing and took the results of earlier runs: `reused` in evidence.json says whose.\n"
            );
        }
        text += &self.iterated();
        if !self.plans.is_empty() {
            let _ = write!(text, "\n### What the campaign decided\n\n{}", self.plans.render());
        }
        if self.resources.total.measured > 0 {
            let _ = write!(text, "\n### What it took\n\n{}", took(&self.resources));
        }
        text += &self.places();
        if !self.waits.is_empty() && !self.run.state.ended() {
            let _ = write!(text, "\n### What it waits for\n\n{}", self.waits.render());
        }
        text
    }

    /// What became of each iteration.
    fn iterated(&self) -> String {
        if self.iterations.is_empty() {
            return String::new();
        }
        let heading = ["iteration", "planned", "tasks", "completed", "ended otherwise", "analyzed"];
        let mut table = Table::new(&heading, ROWS_MAX);
        for workflow in &self.iterations {
            let (completed, other) = self.ended.get(&workflow.iteration).copied().unwrap_or_default();
            table.push(|| {
                vec![
                    workflow.iteration.to_string(),
                    workflow.created_at.to_string(),
                    workflow.tasks.to_string(),
                    completed.to_string(),
                    other.to_string(),
                    workflow.analyzed_at.map_or_else(|| "not yet".to_owned(), |time| time.to_string()),
                ]
            });
        }
        format!("\n{}", table.render())
    }

    /// Where its jobs ran.
    fn places(&self) -> String {
        let mut table = Table::new(&["machine or node", "attempts", "in all"], ROWS_MAX);
        for (place, (attempts, ran)) in &self.machines {
            table.push(|| vec![code(place), attempts.to_string(), span(*ran)]);
        }
        if table.is_empty() { String::new() } else { format!("\n### Where jobs ran\n\n{}", table.render()) }
    }

    fn results(&self) -> String {
        let summary = self.run.summary.as_ref().and_then(|summary| summary.text.as_deref());
        let mut text = summary.map(|line| format!("Summary: {}\n\n", plain(line))).unwrap_or_default();
        match &self.run.result {
            Some(result) => {
                text += "Numbers are rounded to six digits; evidence.json has all of them.\n\n";
                text += &document(result, 3, ROWS_MAX);
            }
            None => text += "The campaign has given no result.\n",
        }
        text
    }

    fn failed(&self) -> String {
        let mut text = String::new();
        if self.failures.is_empty() {
            text += "No task failed, was cancelled or was skipped.\n";
        } else {
            text += &self.failures.render();
        }
        if !self.attempts.is_empty() {
            let _ = write!(
                text,
                "\n### Attempts that failed or were lost\n\nDirectories are relative to the run's.\n\n{}",
                self.attempts.render()
            );
        }
        text + &self.last_words()
    }

    /// What tasks that failed wrote last.
    fn last_words(&self) -> String {
        let mut text = String::new();
        for (task, (number, directory, logs)) in &self.said {
            let spec = self.failed.get(task).map_or("", String::as_str);
            let (kind, lines) = match said_last(&self.dir, directory, logs, spec) {
                Said::Nothing => continue,
                Said::Withheld => ("", "It is not shown: the task has a secret.\n".to_owned()),
                Said::Gone => ("", "It is not there as it was left.\n".to_owned()),
                Said::Lines(LogKind::Stdout, lines) => (", to standard output", fenced(&lines.join("\n"), "")),
                Said::Lines(_, lines) => (", to standard error", fenced(&lines.join("\n"), "")),
            };
            let _ = write!(text, "\nTask {}, attempt {number}{kind}:\n\n{lines}", code(task));
        }
        if text.is_empty() { text } else { format!("\n### What tasks that failed wrote last\n{text}") }
    }

    fn files(&self, verified: &Verified, sha256: &str) -> String {
        let mut text = format!(
            "{} {} compared with the SHA-256 recorded for {}, outputs, plugins and inputs alike: \
             {} intact, {} changed, {} missing, {} unreadable.\n",
            count(verified.files, "file"),
            if verified.files == 1 { "was" } else { "were" },
            if verified.files == 1 { "it" } else { "each" },
            verified.intact,
            verified.changed,
            verified.missing,
            verified.unreadable,
        );
        if verified.removed > 0 {
            let _ =
                write!(text, "\n{} was removed on purpose; Commands says by whom.\n", count(verified.removed, "file"));
        }
        if !self.findings.is_empty() {
            let _ = write!(text, "\n{}", self.findings.render());
        }
        let _ = write!(
            text,
            "\nEverything recorded stands in evidence.json beside this page. This page was written from the one with \
             SHA-256 `{sha256}`.\n"
        );
        text
    }
}
