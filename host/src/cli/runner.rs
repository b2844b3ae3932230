//! `plugin runner`: the runners of scripts that a user adds to a binary that carries none.
use super::Session;
use super::output::{print, print_json};
use crate::failure::{Failure, FailureKind};
use crate::ground::files::read_named;
use crate::model::config::PLUGIN_MAX;
use crate::model::script::Language;
use crate::plugin::{builtin, runner};
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::Path;

#[derive(Debug, Subcommand)]
pub(super) enum RunnerCommand {
    /// Add a runner of scripts, for a matterstack that carries none for their language
    ///
    /// The component is checked, without executing any of it, and kept in your own cache directory in place of an
    /// earlier one for the same language. Runs that are made from then on hold it; those that there are keep theirs.
    /// What matterstack carries itself comes first.
    ///
    /// With --json: language, contract, sha256 and size in bytes.
    Add {
        /// A component, such as target/runners/python.wasm in a clone of matterstack
        file: String,
    },
    /// List the runners of scripts: for which languages, and where they come from
    ///
    /// With --json: a list, each with language, from (carried, added or none), sha256 and size in bytes (or null).
    List,
}

pub(super) fn runner(session: &Session, command: &RunnerCommand) -> Result<u8, Failure> {
    match command {
        RunnerCommand::Add { file } => add(session, file),
        RunnerCommand::List => list(session),
    }
}

fn add(session: &Session, file: &str) -> Result<u8, Failure> {
    let bytes = read_named(Path::new(file), PLUGIN_MAX)
        .map_err(|error| Failure::input(format!("runner `{file}` cannot be read")).because(error))?;
    let added = runner::add(&bytes).map_err(|error| Failure::machine("the runner cannot be kept", error))?;
    let added = added.map_err(|why| Failure::of(FailureKind::Plugin, format!("runner `{file}` {why}")))?;
    if session.json {
        return print_json(&added).map(|()| 0);
    }
    let carried = builtin::standard(&added.language).is_some_and(|known| known.is_embedded());
    let but = if carried { "; this matterstack carries one itself, which comes first" } else { "" };
    print(&format!("added `builtin:{}`, {}, {} bytes{but}\n", added.language, &added.sha256[..12], added.size))?;
    Ok(0)
}

fn list(session: &Session) -> Result<u8, Failure> {
    let row = |language: Language| match builtin::standard(language.runner()) {
        Some(known) => {
            let from = if known.is_embedded() { "carried" } else { "added" };
            json!({"language": language.runner(), "from": from, "sha256": known.sha256, "size": known.size})
        }
        None => json!({"language": language.runner(), "from": "none", "sha256": null, "size": null}),
    };
    let rows: Vec<Value> = Language::ALL.into_iter().map(row).collect();
    if session.json {
        return print_json(&rows).map(|()| 0);
    }
    for (language, row) in Language::ALL.into_iter().zip(&rows) {
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        let name = language.runner();
        let line = if row["from"] == "none" {
            let (what, hint) = runner::missing(language);
            format!("{name}: none ({what})\n  {hint}\n")
        } else {
            format!("{name}: {}, {}, {} bytes\n", text("from"), &text("sha256")[..12], row["size"])
        };
        print(&line)?;
    }
    Ok(0)
}
