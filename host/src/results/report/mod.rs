//! One page that tells what came out of a run, with figures: a file that needs nothing beside it, runs no script and
//! asks nothing of a network.
//!
//! What a part or a figure tells is gathered into plain values, places in drawings included; how it looks is said by
//! its template in `templates/`, and by nothing else.
mod asked;
mod body;
mod chart;
mod document;
mod figures;
mod found;
mod head;
mod scale;
mod seen;
mod states;
mod table;
mod templates;
mod timeline;
mod values;

use crate::failure::Failure;
use crate::model::config::RunConfig;
use crate::model::evidence::{Finding, Verified};
use crate::run::RunDir;
use crate::store::Store;
pub use asked::reach;
use seen::Seen;
use serde_json::Value;
use std::io::Write;
use values::Goal;

/// What figures are to be of, beside what the campaign says of itself.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// JSON outputs, by their paths, whose numbers are drawn.
    pub fields: Vec<String>,
    /// Numbers of which the least is best, by the names that columns of a table have.
    pub minimize: Vec<String>,
    /// Numbers of which the largest is best.
    pub maximize: Vec<String>,
    /// What files came to that were compared with their digests, and the first that are not as recorded; absent where
    /// none were compared.
    pub compared: Option<(Verified, Vec<Finding>)>,
}

impl Wanted {
    fn goals(&self) -> Vec<(String, Goal)> {
        let least = self.minimize.iter().map(|name| (name.clone(), Goal::Least));
        least.chain(self.maximize.iter().map(|name| (name.clone(), Goal::Most))).collect()
    }
}

/// The objectives that stand among the parameters of a campaign, as `builtin:ask-tell` has them.
fn objectives(params: &Value) -> Vec<(String, Goal)> {
    let goal = |word: &Value| match word.as_str()? {
        "MINIMIZE" => Some(Goal::Least),
        "MAXIMIZE" => Some(Goal::Most),
        _ => None,
    };
    let named = params["objectives"].as_object().into_iter().flatten();
    named.filter_map(|(name, word)| Some((name.clone(), goal(word)?))).collect()
}

/// Writes the page of a run. Returns what is missing in it, in sentences: outputs that are not as they were left, and
/// numbers that no task has.
///
/// # Errors
/// If the run cannot be read, or `out` cannot be written.
pub fn report(
    dir: &RunDir,
    store: &Store,
    config: Option<&RunConfig>,
    wanted: &Wanted,
    out: &mut dyn Write,
) -> Result<Vec<String>, Failure> {
    let seen = Seen::of(dir, store, config, wanted)?;
    let mut missing = seen.missing();
    let named = wanted.goals().into_iter().filter(|(name, _)| !seen.values.series.contains_key(name));
    missing.extend(named.map(|(name, _)| format!("no task has a number `{name}`")));
    if seen.values.left_out {
        missing.push("some numbers are left out: documents have too many".to_owned());
    }
    templates::render("page.html", body::view(config, &seen, wanted.compared.as_ref()), out)
        .map_err(|error| Failure::io("the report cannot be written".to_owned(), error))?;
    Ok(missing)
}
