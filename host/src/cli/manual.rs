//! What the command line takes, and the manual of it.
use super::control::How;
use super::subject::Choice;
use super::{
    backend, backtest, control, evidence, export, fork, keep, kit, mend, new, once, page, plugin, respond, reuse, runs,
    step, table,
};
use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Runs scientific campaigns for weeks without anything that must stay alive.
///
/// A run is a directory with one SQLite file. `step` looks at the world, advances the run by one tick and exits; `loop`
/// ticks until the run ends. RUN is a run id, a unique prefix of one, `latest`, or a run directory.
///
/// Exit codes: 0 done (`loop`: completed); 1 the run failed or was cancelled (`step`, `loop`), or something was found
/// (`doctor`, `replay`, `evidence verify`); 2 wrong usage or input;
/// 3 another process is at work; 4 a plugin cannot be loaded, linked or verified; 5 only a person or something outside
/// can move the run, or it is held or paused (`loop`); 6 --timeout reached; 70 a bug; 74 trouble with the machine
/// (disk, permission, damaged or newer database); 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "matterstack", version, max_term_width = 100)]
pub(super) struct Cli {
    /// The root of all workspaces [default: the nearest `workspaces/` upward]
    #[arg(long, global = true, value_name = "DIR", env = "MATTERSTACK_WORKSPACES")]
    pub(super) workspaces: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Tell only what went wrong, beside data
    #[arg(long, global = true)]
    pub(super) quiet: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a workspace to begin with: a plain one that runs a script for a table of parameters, or a worked example
    ///
    /// It lies below the workspaces root, else below `workspaces` here, and runs as it is. The examples are
    /// battery_screening, catalyst_human_in_loop, coatings_active_learning, solar_cells_ask_tell and thin_film_lab;
    /// each has a README.md.
    ///
    /// With --json: workspace, path (its directory), and example (its whole name, or null).
    #[command(
        override_usage = "matterstack new [OPTIONS] DIR\n       matterstack new [OPTIONS] [DIR] --example <NAME>"
    )]
    New(new::NewArgs),
    /// Make a run of a workspace, with its first plan, and print its id
    ///
    /// With --json: run_id, and path (the run directory).
    Init(runs::InitArgs),
    /// Make a run and tick it until it ends: of a workspace, of a command, or of a command for every row of a table
    ///
    /// Behind `--` stands a command, for which a workspace `run-WORD` is made below the workspaces root, else below
    /// `workspaces` here. Files that the command names by a relative path go with it, and so do those of --file. With
    /// --each, `{column}` in it stands for the value of that column; the file may have a byte order mark, semicolons
    /// and decimal commas. Exit codes are those of `loop`.
    ///
    /// With --json: what `loop` prints.
    #[command(
        override_usage = "matterstack run [OPTIONS] WORKSPACE\n       matterstack run [OPTIONS] [--each <FILE>] -- COMMAND…"
    )]
    Run(once::RunArgs),
    /// Make a run that shares all of another before one of its decisions, and goes on from there
    ///
    /// Record, states, tasks and results are those of the other run, which is not touched; nothing of them runs again.
    /// Tasks planned before that decision that have ended since keep their results, and its campaign receives them
    /// first; those that have not ended run again. Decisions are numbered as `evidence` lists them.
    ///
    /// With --json: run_id, path, parent, at, shared: {decisions, tasks (that have ended), open (that are to run)},
    /// plugin ({name, sha256}, or null), and missing (files of results that the other run has no more).
    Fork(fork::ForkArgs),
    /// Advance a run by one tick
    ///
    /// With --json: run_id, state of the run, reason (why it is in that state, or null), iteration, and how many
    /// attempts were polled, submitted and finished and how many tasks planned, and more (whether the tick's time was
    /// up before it had done all that it could). With --timings also timings, in milliseconds: {open_ms, settle_ms,
    /// stop_ms, poll_ms, start_ms, decide_ms}. With --all one document for each run.
    ///
    /// With --dry-run --json: a list of what would be submitted, each with task, operator, backends that the operator
    /// may use, spec (the task in full), notes (files and needs in words), and script (the job script; for a backend
    /// that writes none, the job as a shell script).
    Step(step::StepArgs),
    /// Tick a run until it ends, woken by events
    ///
    /// With --json: run_id, state of the run, reason (why it is in that state, or null), iteration, and how many
    /// attempts were polled, submitted and finished and how many tasks planned, of all its ticks together, and with
    /// --timings how long the parts of them took; with --all one document for each run.
    Loop(runs::LoopArgs),
    /// Show where a run stands
    ///
    /// With --json: run_id, workspace, state, reason (why it is in that state, or null), iteration, tasks: {total,
    /// pending, queued (begun, and its job has not started), running, completed, failed, cancelled, skipped} (counts),
    /// waiting_on (at most 100 things), summary (how far the campaign has come: {text, done, total, metrics}, or null),
    /// wake_at (when the campaign is asked again though nothing ended, or null), stale (how many completed tasks are),
    /// changed_files (pinned files of which the workspace has another copy), last_tick ({at, host, took_ms}, or null),
    /// driven (whether a process advances it now; null if it has ended, or another machine did last), result (what the
    /// campaign ended with, or null), created_at, ended_at (null until it has ended), and note (the last one: {text,
    /// user, at}, or null).
    ///
    /// Each entry of waiting_on has task, attempt (its id, or null), operator, kind (person, kit, instrument,
    /// scheduler, queue, machine, retry, capacity, unknown-submit, lost, a code of `explain` such as turned-away or
    /// cluster-silent, or a word of the operator's own), since (or null), hint (a command that helps, or null), and
    /// reason (or null). Of kind scheduler is every attempt that is in a queue outside, also in that of local jobs. A
    /// task that the next tick starts waits for nothing.
    ///
    /// With --watch: one document for each change. Times are RFC 3339 in UTC with milliseconds.
    Status {
        /// The run
        #[arg(default_value = "latest")]
        run: String,
        /// Show it again whenever it changes, until it ends
        #[arg(long)]
        watch: bool,
    },
    /// List every run
    ///
    /// Of many runs, what was seen is kept in `matterstack/runs` of the user's cache directory, and one whose database
    /// has not changed since is not opened again. It can be removed at any time.
    ///
    /// With --json: a list, each with run_id, workspace, state (`unreadable` if it cannot be read, then with the cause
    /// as reason), reason, iteration, tasks (counts, as `status` has them), label, summary, created_at, and path (the
    /// run directory).
    List {
        /// Only runs of this workspace
        workspace: Option<String>,
        /// Only runs with this label
        #[arg(long, value_name = "TEXT")]
        label: Option<String>,
    },
    /// Say why tasks do not move, and which command would help
    ///
    /// With --json: a list of all, each with task (null for the run itself), code (a word that docs/explain.md lists),
    /// sentence, and command (or null). Without it the first 50 are shown. One task that is named is explained whatever
    /// it does; where tasks are chosen in another way, those that run or have completed are left out.
    #[command(override_usage = "matterstack explain [OPTIONS] [RUN] [TASK]")]
    Explain {
        /// The run [default: latest], and a task or a pattern of ids; a single word that names no run is a task of the
        /// latest
        #[arg(num_args = 0..=2, value_names = ["RUN", "TASK"])]
        of: Vec<String>,
        #[command(flatten)]
        choice: Choice,
        /// Say why the task takes, or does not take, what an earlier attempt of another run left: the codes are
        /// `reused`, `reusable` (it would) and `not-reused`
        #[arg(long, conflicts_with_all = ["state", "operator", "iteration", "code"])]
        reuse: bool,
    },
    /// List the tasks of a run
    ///
    /// With --json: a list, each with id, iteration, state, reason (or null), operator, attempts (how many there were),
    /// stale (whether what it completed with has been changed since), reused (where its results come from, if it ran
    /// nothing: {run, attempt, origin (the attempt that ran)}, or null), and outputs: [{path, sha256, size in bytes,
    /// remote: {backend, path} if it stayed on a cluster}], those of the last attempt of a task that has ended, however
    /// it ended.
    #[command(override_usage = "matterstack tasks [OPTIONS] [RUN] [TASK]")]
    Tasks {
        /// The run [default: latest], and a task or a pattern of ids; a single word that names no run is a task of the
        /// latest
        #[arg(num_args = 0..=2, value_names = ["RUN", "TASK"])]
        of: Vec<String>,
        #[command(flatten)]
        choice: Choice,
    },
    /// List the attempts at a task
    ///
    /// With --json: a list, oldest first, each with attempt_id, number, state, reason (or null), external_id (what the
    /// outside calls it: HOST:PID of a local job, the id of a Slurm job, or null), operator, directory (relative to the
    /// run), created_at, ended_at (or null), outputs: [{path, sha256, size, remote}], also of those that failed, inputs
    /// (the files it consumed beside what stands in the task): [{destination, sha256, from_attempt (null for a pinned
    /// file), from_path}], logs (what was written about it): [{kind, sha256, size}], and job: {external_id, host, node,
    /// queued_at, started_at, stopped_at, cpu_ms, memory_peak_mb}, each null where the outside does not tell, usage
    /// (what its operator says that it used, or null), reused (whose results it took, if it ran nothing: {run,
    /// attempt, origin (the attempt that ran)}, or null), and of its job, null where the outside does not tell:
    /// queued_s (from being handed in to its start), ran_s (from its start to its end), core_hours (cores, which the
    /// task asked for, times ran_s), and exit: {code, signal}.
    #[command(override_usage = "matterstack attempts [OPTIONS] [RUN] TASK")]
    Attempts {
        /// The run [default: latest], and the task
        #[arg(num_args = 1..=2, required = true, value_names = ["RUN", "TASK"])]
        of: Vec<String>,
    },
    /// Print what an attempt at a task wrote to its standard output and standard error; without a task, what plugins
    /// have logged
    ///
    /// Of plugins, with --json: a list, each with time, plugin, attempt (or null), level and message.
    #[command(override_usage = "matterstack logs [OPTIONS] [RUN] [TASK]")]
    Logs {
        /// The run [default: latest], and the task; a single word that names no run is a task of the latest
        #[arg(num_args = 0..=2, value_names = ["RUN", "TASK"])]
        of: Vec<String>,
        /// Only the last lines
        #[arg(long, value_name = "N")]
        tail: Option<usize>,
        /// Go on until the attempt ends
        #[arg(short, long)]
        follow: bool,
        /// The attempt's number [default: the last]
        #[arg(long, value_name = "N")]
        attempt: Option<u32>,
    },
    /// Print the graph of tasks and dependencies
    ///
    /// With --json: tasks: [{id, state, reused (whether it ran nothing and took earlier results)}], and dependencies:
    /// [{from, to}], where `to` waits for `from`. With --fold, `id` has `*` for numbers, and beside it stand tasks and
    /// reused (how many) and states (counts by state).
    Graph {
        /// The run
        #[arg(default_value = "latest")]
        run: String,
        /// The language to print it in
        #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
        format: GraphFormat,
        /// Show tasks whose ids differ in numbers alone as one
        #[arg(long)]
        fold: bool,
    },
    /// Print results as a table: a row for every task, with its parameters and the values of JSON outputs
    ///
    /// Every format has the same columns: run, label, task, iteration, operator, attempt (the number of the last),
    /// state, reused (whether it ran nothing), stale, source (the run whose results it took), then params.NAME (what
    /// stands in the task's `input` or in a file `params.json` of it), data.NAME (the operator's own document), what
    /// --fields names, then queued_s, ran_s and cpu_s (of the job of that attempt, in seconds), memory_mb (at most),
    /// node and path (the attempt's directory). Text leaves out path and what is empty in every row.
    ///
    /// With --json: a list of objects with these keys; null is what there is not.
    Table(table::TableArgs),
    /// Write what came out of a run as one HTML page with figures
    ///
    /// The file needs nothing beside it, runs no script and asks nothing of a network. Drawn are the objectives of a
    /// campaign that tells them, the numbers that --fields, --minimize and --maximize name, else those in the documents
    /// of operators, and when attempts ran. With two numbers of which it is known which way is better, their Pareto
    /// front.
    ///
    /// With --json: run_id, path, and missing (in sentences: outputs that are not as they were left, numbers that no
    /// task has).
    Report(page::ReportArgs),
    /// Say what two runs have not alike: configuration, plugins, pinned files, tasks and their results
    ///
    /// With --json: a list, each with part (config, plugin, file, task or result), task (or null), name (a path in a
    /// document, a file; empty for a task that only one of them has), first and second (what each has, or null).
    Compare {
        /// A run
        first: String,
        /// Another
        second: String,
    },
    /// Print where a run, the last attempt at a task, or a file of that lies
    ///
    /// With --json: run_id, task (or null), file (or null), and path.
    #[command(override_usage = "matterstack path [OPTIONS] [RUN] [TASK] [FILE]")]
    Path {
        /// The run [default: latest], a task, and one of its files
        #[arg(num_args = 0..=3, value_names = ["RUN", "TASK", "FILE"])]
        of: Vec<String>,
    },
    /// Copy outputs out of a run, into a directory for each task, with a list of what they are
    ///
    /// DIR/manifest.json has of each file: file, task, attempt, path, sha256 and size. What is not as it was left is
    /// not copied; then the exit code is 74.
    ///
    /// With --json: run_id, path, files and bytes (how many), and left_out (what was not copied, and why).
    Export(export::ExportArgs),
    /// Say what runs take of the disk, the largest first
    ///
    /// With --json: a list, each with run_id, path, total, database, plugins, inputs and attempts in bytes, and files
    /// (how many).
    Du {
        /// The runs [default: all]
        #[arg(value_name = "RUN")]
        runs: Vec<String>,
    },
    /// Remove what attempts left and nobody needs any more
    ///
    /// What is removed is recorded first, with who did it; the digests stay, and whatever looks for a file says that it
    /// was removed. What an interrupted `clean` left over goes with the next. Live and lost attempts are not touched.
    ///
    /// With --json: a list, each with run_id, directories, outputs and remote (outputs kept on clusters; how many), and
    /// bytes.
    #[command(override_usage = "matterstack clean [OPTIONS] <RUN>...")]
    Clean(keep::CleanArgs),
    /// Remove runs that have ended
    ///
    /// With --json: a list, each with run_id, path, files and bytes.
    Rm(keep::RmArgs),
    /// Keep a note in the record of a run
    ///
    /// With --json: run_id and text.
    #[command(override_usage = "matterstack note [OPTIONS] [RUN] TEXT")]
    Note {
        /// The run [default: latest], and the text
        #[arg(num_args = 1..=2, required = true, value_names = ["RUN", "TEXT"])]
        of: Vec<String>,
    },
    /// Start nothing new until `resume`; what is live goes on
    ///
    /// With --json: run_id, state of the run, and reason (why it is in that state, or null).
    Pause {
        /// The run
        #[arg(default_value = "latest")]
        run: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let a paused or held run go on, or bring an ended one back with the tasks that did not complete
    ///
    /// With --json: run_id, state of the run, and reason (why it is in that state, or null).
    Resume {
        /// The run
        #[arg(default_value = "latest")]
        run: String,
        /// What to tell the campaign; its next plan sees it
        #[arg(long = "set", value_name = "K=V")]
        sets: Vec<String>,
        #[command(flatten)]
        how: How,
    },
    /// Cancel a run, or tasks of it, and stop what is live outside
    ///
    /// With --json: run_id, state of the run, and reason (why it is in that state, or null), and live (how many of the
    /// attempts told to stop have not been seen to end).
    Cancel {
        /// The run
        run: String,
        /// A task, or a pattern of ids [default: the whole run]
        task: Option<String>,
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        how: How,
    },
    /// Change what a run goes by: its configuration, its tasks, its files, its plugins
    ///
    /// Each change is recorded, says what it reached, and is refused where it reaches nothing.
    ///
    /// With --json: run_id, state of the run, and reason (why it is in that state, or null).
    Amend(mend::AmendArgs),
    /// Bring tasks back to pending that failed, are lost or have ended otherwise, changed or as they were
    ///
    /// A run that has ended goes on. Where the workspace has another copy of a file that the tasks name, say which one
    /// is meant:
    /// --file, --changed or --pinned; at a terminal it is asked.
    ///
    /// With --json: run_id, state of the run, and reason (why it is in that state, or null), and pending_again (how
    /// many tasks came back).
    Rerun(mend::RerunArgs),
    /// Say what a lost attempt at a task came to, or what stale results are worth, and let nothing run again
    ///
    /// With --completed the outputs are taken as they are, and the task is completed and not stale; with --failed it is
    /// given up, and what has taken its outputs is stale. Who said so, and why, is recorded.
    ///
    /// With --json: run_id, state of the run, and reason (why it is in that state, or null).
    Settle(control::SettleArgs),
    /// Say which results later runs must not take
    #[command(subcommand)]
    Reuse(reuse::ReuseCommand),
    /// Make a copied or another user's run one's own
    ///
    /// Live attempts are asked about first, and what has ended is taken with its results; the others are given up as
    /// lost, because the original may still be carrying them out.
    ///
    /// With --json: run_id, state of the run, and reason (why it is in that state, or null), and lost (how many
    /// attempts were given up).
    Adopt {
        /// The run
        run: String,
        /// Why, for the record
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Answer a question that a task asks a person, or approve a task
    ///
    /// With --json: run_id, task, sha256 (of the answer), at (when), and by: {user, uid, host}.
    Respond(respond::RespondArgs),
    /// Tell a campaign that asks a program (`builtin:ask-tell`) results that were had elsewhere
    ///
    /// A table has a row for each: a column `trial` names one by its id, columns that are called as variables say at
    /// which point, and the others are the result. A file `*.json` is a list of {trial, params, result}. A trial that
    /// is waited for is completed with it, one that has ended is corrected, and other points are added. A run that is
    /// held or has ended goes on. Where one row is refused, none counts.
    ///
    /// With --json: run_id, state of the run, and reason (why it is in that state, or null), and told (how many
    /// results).
    #[command(override_usage = "matterstack tell [OPTIONS] [RUN] FILE")]
    Tell {
        /// The run [default: latest], and the file
        #[arg(num_args = 1..=2, required = true, value_names = ["RUN", "FILE"])]
        of: Vec<String>,
    },
    /// Carry jobs to clusters that cannot be reached, and their results back
    #[command(subcommand)]
    Kit(kit::KitCommand),
    Evidence(evidence::EvidenceArguments),
    /// Make every decision of a run again, from its record alone, and compare
    ///
    /// Each decision is made by itself, with the configuration, plugin, state, results and files that it had, also
    /// those that failed; answer and state must be the same to the byte, and so must fuel where the engine is the same.
    /// Nothing is changed or started. The exit code is 1 if something comes out otherwise; then the first difference is
    /// named.
    ///
    /// What read a file that `clean` has removed since cannot be made again: it is counted and left out. A bundle of
    /// evidence is replayed on any machine, as a folder or as the zip of it.
    ///
    /// With --json: run_id, decisions (made again), agreed, differing, left_out (they had passed their deadline),
    /// removed (left out too), removed_file ({path, at, user}: the first such file, or null), other_engine (fuel was
    /// not compared), and first: {decision, try, kind, aspect (plugin, file, input, outcome, answer, state, fuel or
    /// digest), path (a JSON pointer), recorded, replayed}, or null.
    Replay {
        /// The run, a folder or a zip that `evidence` wrote
        #[arg(default_value = "latest")]
        run: String,
    },
    /// Let campaigns decide against results that are known already, many times, and compare how soon they find the best
    ///
    /// A task comes to what a recorded one came to that computed the same, else to what the table has for its
    /// parameters, and takes as long on a clock that jumps from end to end. Nothing is measured, and no run is changed.
    /// Only the program of builtin:ask-tell is started, where its answer is not recorded. What is not known at all
    /// fails with the code `not-recorded`, and is said. Exits with 1 if a virtual run came to no end.
    ///
    /// With --json: a list, each with plugin, seed, by and goal (least or most: what is compared), state (completed,
    /// failed or held), reason, trials: [{task, time_s, value, best (so far)}], best, best_after (results until then),
    /// time_s, decisions, asked (how often a program was started) and unanswered (task ids).
    Backtest(backtest::BacktestArgs),
    /// Gather the runs of a workspace in one SQLite database
    ///
    /// It is for any tool that reads SQLite, and is made of what runs have recorded: tables of runs, decisions, tasks,
    /// attempts, files, and of the values in documents. Made again it takes the place of the one before; nothing that
    /// is changed in it comes back to a run. A run that cannot be read is named and left out.
    ///
    /// With --json: path, size in bytes, runs (how many are in it), left_out: [{run_id, path, reason}], and unread (of
    /// how many JSON outputs the values are missing).
    Query {
        /// The workspace
        workspace: String,
        /// Where to: a new file, or one that this command has made
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Copy the database of a run, all of one moment, while it goes on
    ///
    /// The copy is a `state.sqlite`: put in the place of one that is damaged, while nobody ticks the run, it brings the
    /// run back to that moment, once `adopt` has taken it over: it does not know what was begun since. Files of
    /// attempts are not in it.
    ///
    /// With --json: run_id, path, size in bytes, and sha256.
    Backup {
        /// The run
        #[arg(default_value = "latest")]
        run: String,
        /// Where to; the file must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print or check configuration
    #[command(subcommand)]
    Config(runs::ConfigCommand),
    /// Look at and exchange plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Try out backends, and clear up what runs left on clusters
    #[command(subcommand)]
    Backend(backend::BackendCommand),
    /// Check the machine, or a run: database, files, plugins, identity, free space
    ///
    /// Little free space (less than 1 GB, or 10000 files) is a warning: then ok is true, and there is a hint.
    ///
    /// With --json: a list, each with check (what was looked at), ok (true or false), detail (what was found), and hint
    /// (what helps, or null).
    Doctor {
        /// The run
        run: Option<String>,
    },
    /// Print what lets cron or systemd advance a run, where nothing may stay
    ///
    /// Nothing is installed. With --json: {cron, service, timer}, the text of each.
    Schedule {
        /// The run [default: every run that has not ended]
        run: Option<String>,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Languages of graphs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum GraphFormat {
    /// A Mermaid flowchart
    Mermaid,
    /// Graphviz
    Dot,
    /// A picture
    Svg,
}
