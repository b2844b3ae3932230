//! `plugin inspect` and `amend … plugin`.
use super::Session;
use super::control::{How, say_with};
use super::output::{print, print_json};
use super::runs::take;
use crate::failure::Failure;
use crate::ground::files::read_named;
use crate::model::act::Verb;
use crate::model::code::{Code, Word};
use crate::model::config::PLUGIN_MAX;
use crate::model::document::canonical_own;
use crate::model::script::Language;
use crate::model::states::RunState;
use crate::plugin::{Role, builtin, inspect};
use crate::workspace::{self, NewPlugin};
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::Path;

/// How the name of a standard plugin begins.
const BUILTIN: &str = "builtin:";

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Show what a plugin is: its world, contract version, imports, and the grants it would need
    ///
    /// It is compiled for that, in a process of its own, within `limits.compile` of the workspace in which the file
    /// lies, else of your own settings, else 2000 MiB of memory and 120 seconds of processor time.
    ///
    /// With --json: world, contract, sha256, size in bytes, exports, imports, grants (what to add to the
    /// configuration), and manifest (what it says of itself, or null).
    Inspect {
        /// A .wasm file, or builtin:NAME
        file: String,
    },
}

pub(super) fn plugin(session: &Session, command: &PluginCommand) -> Result<u8, Failure> {
    match command {
        PluginCommand::Inspect { file } => show(session, file),
    }
}

fn show(session: &Session, file: &str) -> Result<u8, Failure> {
    let bytes = match file.strip_prefix(BUILTIN) {
        Some(name) => builtin::builtin(name)
            .ok_or_else(|| {
                let names: Vec<&str> = builtin::names().collect();
                Failure::input(format!("no standard plugin `{file}`")).hint(format!("there are: {}", names.join(", ")))
            })?
            .to_vec(),
        None => read_named(Path::new(file), PLUGIN_MAX)
            .map_err(|error| Failure::input(format!("plugin `{file}` cannot be read")).because(error))?,
    };
    let path = (!file.starts_with(BUILTIN)).then(|| Path::new(file));
    let workspaces = session.workspaces().ok();
    let root = workspaces.as_ref().map(|workspaces| workspaces.root());
    let limits = workspace::compile_limits(path, root, workspace::user_config().as_deref())?;
    let found = inspect(&workspace::compiler(&limits), file, &bytes)?;
    if session.json {
        return print_json(&found).map(|()| 0);
    }
    print(&format!(
        "world: {}\ncontract: {}\nsha256: {}\nsize: {} bytes\n",
        found.world, found.contract, found.sha256, found.size
    ))?;
    print(&format!("exports: {}\nimports: {}\n", found.exports.join(", "), found.imports.join(", ")))?;
    print(&format!("grants it needs: {}\n", found.grants))?;
    if let Some(manifest) = &found.manifest {
        print(&format!("manifest: {}\n", canonical_own(manifest)))?;
    }
    Ok(0)
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
    say_with(session, run, &text, Some(("sha256", new.sha256.into())))
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
    let what = if Language::of(&new.name).is_some() { "script" } else { "plugin" };
    let modules: Vec<String> = new.modules.iter().map(|(name, digest)| format!("{name} {}", &digest[..12])).collect();
    let with = if modules.is_empty() { String::new() } else { format!(", with {}", modules.join(", ")) };
    let shared = if new.others == 0 { "" } else { ", wherever the run uses it" };
    format!("{what} {} is {}{with} from now on{shared}", new.name, &new.sha256[..12])
}
