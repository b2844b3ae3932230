//! `plugin …` and `amend … plugin`.
use super::control::{How, say_with};
use super::runner::{RunnerCommand, runner};
use super::runs::take;
use super::{Session, author, exchange};
use crate::author::Language;
use crate::failure::Failure;
use crate::model::act::Verb;
use crate::model::code::{Code, Word};
use crate::model::script::Language as ScriptLanguage;
use crate::model::states::RunState;
use crate::plugin::Role;
use crate::workspace::{self, NewPlugin};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Show what a plugin is: its world, contract version, imports, and the grants it would need
    ///
    /// Nothing of it is compiled or executed.
    ///
    /// With --json: world, contract, sha256, size in bytes, exports, imports, grants (what to add to the
    /// configuration), manifest (what it says of itself, or null), and problems (why it cannot be used, in sentences).
    /// For a script: language, world (or null), sha256, size, functions and problems.
    Inspect {
        /// A .wasm file, a script (.py, .js), or builtin:NAME
        file: String,
    },
    /// Check that a file is a plugin, and say what it needs granted, without executing any of it
    ///
    /// Every function of its world must be there with the types of the contract, every import must be one that it can
    /// have, and its manifest must agree with both. Of a script only its text is looked at, not its syntax. If
    /// something is wrong, the exit code is 4.
    ///
    /// With --json: as `plugin inspect`.
    Check {
        /// A .wasm file, a script (.py, .js), or builtin:NAME
        file: String,
    },
    /// Make a workspace with a new plugin in it: its source, a test, and a configuration that runs it
    ///
    /// It lies below the workspaces root, else below `workspaces` here. A script (python, javascript) runs as it is;
    /// typescript becomes one, and rust a component, with `plugin build`. The SDK lies beside the source, so that
    /// editors and the test know it.
    ///
    /// With --json: workspace, and path (its directory).
    New {
        /// The language
        #[arg(value_enum)]
        language: Words,
        /// What to call it: its path below the workspaces root
        dir: PathBuf,
        /// An operator in place of a campaign
        #[arg(long)]
        operator: bool,
    },
    /// Make a plugin of its source, and check it
    ///
    /// In a directory, `campaign.build` of its config.json says how; else a Cargo.toml is built with cargo, and the
    /// component put where config.json names it. Else the file that config.json names is made of the source of the same
    /// name: NAME.js of NAME.ts with esbuild, NAME.wasm of NAME.py with componentize-py, and of NAME.ts or NAME.js with
    /// esbuild and componentize-qjs. A core module becomes a component here. Programs are looked for in node_modules,
    /// venv and .venv beside the source first; what they print goes to standard error.
    ///
    /// With --json: path of the plugin, and checked: what `plugin check` says of it.
    Build {
        /// A directory, or a core module [default: here]
        #[arg(default_value = ".", hide_default_value = true)]
        dir: PathBuf,
    },
    /// Try a plugin with ordinary, empty, huge, failing and repeated input, and show the shortest case that fails
    ///
    /// It runs in the sandbox that a run gives it, a script in that of its runner; there is no run, and nothing outside
    /// is reached: the compute system behind an operator is made up, and at times does not answer, forgets jobs or
    /// takes them without saying so. Each call of a campaign is made twice and must come out the same. In a workspace,
    /// parameters and tasks are those of its config.json. If a rule is broken, the exit code is 1.
    ///
    /// With --json: a list, each with plugin, world, cases and calls (how many), and found: {rule, case, calls: [{call,
    /// given, answer}]}, or null.
    Test {
        /// A .wasm file, a script (.py, .js), builtin:NAME, or the directory of a workspace
        path: String,
        /// A JSON file in the place of the workspace's campaign.params, or of an operator's config
        #[arg(long, value_name = "FILE")]
        params: Option<PathBuf>,
        /// A JSON file with a task that the operator takes
        #[arg(long, value_name = "FILE")]
        task: Option<PathBuf>,
    },
    /// List the standard plugins, and those that a workspace names
    ///
    /// With --json: a list, each with plugin, workspace (whose file it is, or null), world (campaign, operator or
    /// runner, or null), used_for, sha256, and problem (why it cannot be used, or null).
    List {
        /// The workspace [default: the one that one stands in, else all]
        workspace: Option<String>,
    },
    /// Add and list the runners of scripts
    #[command(subcommand)]
    Runner(RunnerCommand),
}

/// The languages in which a plugin can begin.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Words {
    /// A script
    Python,
    /// A script
    Javascript,
    /// A component
    Rust,
    /// A script that is made of it
    Typescript,
}

impl From<Words> for Language {
    fn from(word: Words) -> Self {
        match word {
            Words::Python => Self::Python,
            Words::Javascript => Self::Javascript,
            Words::Rust => Self::Rust,
            Words::Typescript => Self::Typescript,
        }
    }
}

pub(super) fn plugin(session: &Session, command: &PluginCommand) -> Result<u8, Failure> {
    match command {
        PluginCommand::Inspect { file } => author::inspect(session, file),
        PluginCommand::Check { file } => author::check(session, file),
        PluginCommand::New { language, dir, operator } => author::new(session, *language, dir, *operator),
        PluginCommand::Build { dir } => author::build(session, dir),
        PluginCommand::Test { path, params, task } => author::test(session, path, params.as_deref(), task.as_deref()),
        PluginCommand::List { workspace } => author::list(session, workspace.as_deref()),
        PluginCommand::Runner(command) => runner(session, command),
    }
}

pub(super) fn amend_plugin(
    session: &Session,
    name: &str,
    file: &Path,
    operator: Option<&str>,
    how: &How,
) -> Result<u8, Failure> {
    let role = if operator.is_some() { Role::Operator } else { Role::Campaign };
    workspace::compile_upgrade(&session.run(name)?, role, file)?;
    let mut held = take(session, name, how.dry_run)?;
    let run = &mut held.run;
    let row = run.store.run()?;
    if row.state.ended() {
        let what = format!("run `{}` is {}; a plugin makes no difference to it", row.run_id, row.state);
        let address = run.dir.address();
        return Err(Failure::input(what).hint(match row.state == RunState::Completed {
            true => format!("`matterstack rerun {address} TASK` brings it back first, with a task"),
            false => format!("`matterstack resume {address}` brings it back first"),
        }));
    }
    let mut config = run.config.clone();
    let new = workspace::exchange_plugin(&run.dir, &mut config, operator, file)?;
    workspace::check_plugins(&run.dir, &config)?;
    workspace::check_exchanged(run, &config)?;
    let tried = how.dry_run.then(|| exchange::compare(run, &config, operator)).transpose()?;
    let act = workspace::act(Verb::Amend, arguments(&new, operator, file), how.reason.as_deref());
    workspace::write_config(run, config, &act)?;
    let held_by_plugin = row.state == RunState::Held
        && row
            .reason_code
            .as_ref()
            .and_then(Word::own)
            .is_some_and(|code| code.is_of_plugin() || code == Code::PlannedNothing);
    if held_by_plugin {
        crate::tick::release(run, act.at_ms)?;
    }
    let text = format!("amended: {}; it is {}", change(&new), run.store.run()?.state);
    if let Some(tried) = tried {
        return exchange::say(session, run, &text, &new, &tried);
    }
    say_with(session, run, &text, vec![("sha256", new.sha256.into())])
}

/// What the record says of the act.
fn arguments(new: &NewPlugin, operator: Option<&str>, file: &Path) -> Value {
    let mut arguments = json!({"plugin": new.name, "operator": operator, "file": file, "sha256": new.sha256});
    if !new.modules.is_empty() {
        arguments["modules"] = json!(new.modules);
    }
    arguments
}

/// What is put in place, in words.
fn change(new: &NewPlugin) -> String {
    let what = if ScriptLanguage::of(&new.name).is_some() { "script" } else { "plugin" };
    let modules: Vec<String> = new.modules.iter().map(|(name, digest)| format!("{name} {}", &digest[..12])).collect();
    let with = if modules.is_empty() { String::new() } else { format!(", with {}", modules.join(", ")) };
    let shared = if new.others == 0 { "" } else { ", wherever the run uses it" };
    format!("{what} {} is {}{with} from now on{shared}", new.name, &new.sha256[..12])
}
