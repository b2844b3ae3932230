//! `amend … plugin --dry-run`: what another plugin asks for beside the one that it would replace, and which decisions
//! it would have made otherwise.
use super::Session;
use super::control::say_with;
use super::output::{print, tell};
use super::replay::difference;
use crate::failure::Failure;
use crate::ground::files::read_named;
use crate::model::config::{PLUGIN_MAX, RunConfig};
use crate::plugin::inspect;
use crate::replay::{self, Replay};
use crate::run::Run;
use crate::workspace::{self, NewPlugin};
use serde_json::json;
use std::collections::BTreeSet;

/// Numbers of decisions that a sentence names.
const NAMED: usize = 5;

/// What the two come to.
pub(super) struct Compared {
    /// The interfaces that the new plugin asks for and the old one does not.
    asks: Vec<String>,
    /// Those that it does not ask for any more.
    leaves: Vec<String>,
    /// What it would have decided; nothing for an operator, which decides nothing.
    decided: Option<Replay>,
}

/// Compares the plugin of a run with the one that a changed configuration has.
pub(super) fn compare(run: &Run, config: &RunConfig, operator: Option<&str>) -> Result<Compared, Failure> {
    let (before, after) = (asked_for(run, &run.config, operator)?, asked_for(run, config, operator)?);
    let decided = match operator {
        None => Some(replay::rehearse(&run.dir, config, &workspace::compiler)?),
        Some(_) => None,
    };
    Ok(Compared {
        asks: after.difference(&before).cloned().collect(),
        leaves: before.difference(&after).cloned().collect(),
        decided,
    })
}

/// The interfaces that a plugin imports, without their versions: of the contract those that reach something, of WASI
/// the packages. For a script it is its runner, which is denied what is not granted.
fn asked_for(run: &Run, config: &RunConfig, operator: Option<&str>) -> Result<BTreeSet<String>, Failure> {
    let name = match operator {
        None => &config.campaign.plugin,
        Some(key) => config.operators.get(key).map_or(&config.campaign.plugin, |operator| &operator.plugin),
    };
    let Some(file) = config.pinned_component(name) else { return Ok(BTreeSet::new()) };
    let path = run.dir.join(&file.path);
    let bytes = read_named(&path, PLUGIN_MAX)
        .map_err(|error| Failure::machine(format!("plugin `{}` cannot be read", path.display()), error))?;
    let imports = inspect(name, &bytes)?.imports;
    let plain = |import: &String| {
        let name = import.split('@').next().unwrap_or_default();
        match name.strip_prefix("matterstack:plugin/") {
            Some(own) => (!own.ends_with("types")).then(|| own.to_owned()),
            None => name.split('/').next().map(str::to_owned),
        }
    };
    Ok(imports.iter().filter_map(plain).collect())
}

/// Tells of it, beside what the act would come to.
pub(super) fn say(
    session: &Session,
    run: &Run,
    text: &str,
    new: &NewPlugin,
    compared: &Compared,
) -> Result<u8, Failure> {
    let Compared { asks, leaves, decided } = compared;
    let counts = decided.as_ref().map(|tried| {
        json!({"made": tried.decisions, "agreed": tried.agreed, "differing": tried.otherwise,
            "left_out": tried.left_out, "removed": tried.removed, "first": tried.first})
    });
    let more =
        [("sha256", json!(new.sha256)), ("asks", json!(asks)), ("leaves", json!(leaves)), ("decisions", json!(counts))];
    say_with(session, run, text, more.into())?;
    if session.json {
        return Ok(0);
    }
    tell(&permissions(asks, leaves));
    let Some(tried) = decided else { return Ok(0) };
    tell(&decisions(tried));
    tried.first.as_ref().map_or(Ok(()), |first| print(&difference(first))).map(|()| 0)
}

fn permissions(asks: &[String], leaves: &[String]) -> String {
    let named = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match (asks, leaves) {
        ([], []) => "it asks for the same interfaces as the one before".to_owned(),
        ([], gone) => format!("it asks for less than the one before: no more for {}", named(gone)),
        (more, []) => format!("it asks for more than the one before: {}", named(more)),
        (more, gone) => {
            format!("it asks for {}, which the one before did not, and no more for {}", named(more), named(gone))
        }
    }
}

fn decisions(tried: &Replay) -> String {
    let left = match tried.left_out + tried.removed {
        0 => String::new(),
        left => format!("; {left} that cannot be made again were left out"),
    };
    let numbers: Vec<String> = tried.otherwise.iter().take(NAMED).map(u64::to_string).collect();
    let more = if tried.otherwise.len() > NAMED { ", …" } else { "" };
    match numbers.as_slice() {
        [] => format!("of {} decision(s) it would have made every one as recorded{left}", tried.decisions),
        _ => format!(
            "of {} decision(s) it would have made {} as recorded, and otherwise: {}{more}{left}",
            tried.decisions,
            tried.agreed,
            numbers.join(", ")
        ),
    }
}
