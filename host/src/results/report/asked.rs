//! What was asked: the campaign, its parameters, what it may use, and the files it was given.
use super::document::document;
use super::seen::Seen;
use super::table::{numbers_of, table, words_of};
use crate::model::config::{Grants, RunConfig};
use minijinja::{Value, context};

/// Rows of a table.
const ROWS: usize = 500;

/// What an operator may reach, in words; names are shown as `name` has them.
pub fn reach(grants: &Grants, name: &dyn Fn(&str) -> String) -> String {
    let Grants { compute, work, clock, random, env, exchange } = grants;
    let mut reached: Vec<String> =
        compute.iter().map(|backend| format!("commands on backend {}", name(backend))).collect();
    reached.extend(work.then(|| "attempt directories".to_owned()));
    reached.extend(exchange.as_ref().map(|path| format!("the directory {}", name(&path.display().to_string()))));
    reached.extend(clock.then(|| "the clock".to_owned()));
    reached.extend(random.then(|| "random numbers".to_owned()));
    reached.extend(env.iter().map(|variable| format!("variable {}", name(variable))));
    reached.join(", ")
}

/// What the part is made from.
pub(super) fn view(config: Option<&RunConfig>, seen: &Seen) -> Value {
    let campaign = config.map(|config| {
        let file = config.pinned.as_ref().and_then(|pinned| pinned.params.as_ref());
        context! {
            plugin => &config.campaign.plugin,
            seed => config.campaign.seed,
            config_sha256 => &seen.run.config_sha256,
            file => file.map(|file| context! { path => &file.path, size => file.size, sha256 => &file.sha256 }),
            params => document("Parameters of the campaign", &config.campaign.params),
        }
    });
    let operators = config.iter().flat_map(|config| &config.operators);
    let operators = operators
        .map(|(key, operator)| vec![key.clone(), operator.plugin.clone(), reach(&operator.grants, &ToOwned::to_owned)]);
    let columns = ["operator", "plugin", "may reach"].map(words_of);
    let operators = table("Operators", &columns, operators.collect(), 0);
    context! { campaign, operators, plugins => plugins(seen), files => files(config) }
}

/// Every plugin the run ever had.
fn plugins(seen: &Seen) -> Value {
    let since =
        |act: i64| seen.acts.iter().find(|one| one.act == act).map(|one| one.at.to_string()).unwrap_or_default();
    let rows = seen.plugins.iter().take(ROWS);
    let rows =
        rows.map(|one| vec![one.name.clone(), since(one.act), one.size.to_string(), one.sha256.clone()]).collect();
    let columns = [words_of("plugin"), words_of("since"), numbers_of("bytes"), words_of("SHA-256")];
    table("Plugins that the run ever had", &columns, rows, seen.plugins.len().saturating_sub(ROWS))
}

/// The files that it was given.
fn files(config: Option<&RunConfig>) -> Value {
    let pinned = config.and_then(|config| config.pinned.as_ref());
    let all = || pinned.iter().flat_map(|pinned| pinned.inputs.iter().chain(&pinned.files));
    let rows = all().take(ROWS);
    let rows = rows
        .map(|(name, file)| vec![name.clone(), file.path.clone(), file.size.to_string(), file.sha256.clone()])
        .collect();
    let columns = [words_of("name"), words_of("file"), numbers_of("bytes"), words_of("SHA-256")];
    table("Files that the run was given", &columns, rows, all().count().saturating_sub(ROWS))
}
