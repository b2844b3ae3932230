//! What was asked: the campaign, its parameters, what it may use, and the files it was given.
use super::page::{Page, numbers_of, words_of};
use super::seen::Seen;
use super::value;
use crate::model::config::{Grants, RunConfig};
use std::io;

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

/// Writes it.
pub(super) fn write(page: &mut Page<'_>, config: Option<&RunConfig>, seen: &Seen) -> io::Result<()> {
    let Some(config) = config else {
        page.paragraph("The run's config.json cannot be read, so what was asked is not told here.")?;
        return plugins(page, seen);
    };
    page.markup("<dl><dt>Campaign</dt>")?;
    page.element("dd", &[], &config.campaign.plugin)?;
    page.markup("<dt>Seed</dt>")?;
    page.element("dd", &[], config.campaign.seed)?;
    page.markup("<dt>SHA-256 of the configuration</dt>")?;
    page.element("dd", &[("class", &"digest")], &seen.run.config_sha256)?;
    page.markup("</dl>\n")?;
    page.element("h3", &[], "Parameters")?;
    match config.pinned.as_ref().and_then(|pinned| pinned.params.as_ref()) {
        Some(file) => {
            page.paragraph(format!("In {}: {} bytes, SHA-256 {}", file.path, file.size, file.sha256))?;
        }
        None if config.campaign.params.as_object().is_some_and(serde_json::Map::is_empty) => page.paragraph("None.")?,
        None => value::write(page, "Parameters of the campaign", &config.campaign.params)?,
    }
    page.element("h3", &[], "What carries it out")?;
    let rows = config
        .operators
        .iter()
        .map(|(key, operator)| vec![key.clone(), operator.plugin.clone(), reach(&operator.grants, &ToOwned::to_owned)]);
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        page.listed("Operators", &["operator", "plugin", "may reach"].map(words_of), &rows, 0)?;
    }
    plugins(page, seen)?;
    files(page, config)
}

/// Every plugin the run ever had.
fn plugins(page: &mut Page<'_>, seen: &Seen) -> io::Result<()> {
    let since =
        |act: i64| seen.acts.iter().find(|one| one.act == act).map(|one| one.at.to_string()).unwrap_or_default();
    let rows = seen
        .plugins
        .iter()
        .take(ROWS)
        .map(|plugin| vec![plugin.name.clone(), since(plugin.act), plugin.size.to_string(), plugin.sha256.clone()]);
    let rows: Vec<_> = rows.collect();
    let columns = [words_of("plugin"), words_of("since"), numbers_of("bytes"), words_of("SHA-256")];
    page.listed("Plugins that the run ever had", &columns, &rows, seen.plugins.len() - rows.len())
}

/// The files that it was given.
fn files(page: &mut Page<'_>, config: &RunConfig) -> io::Result<()> {
    let Some(pinned) = config.pinned.as_ref() else { return Ok(()) };
    let all = || pinned.inputs.iter().chain(&pinned.files);
    let rows = all()
        .take(ROWS)
        .map(|(name, file)| vec![name.clone(), file.path.clone(), file.size.to_string(), file.sha256.clone()]);
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    page.element("h3", &[], "Inputs and files")?;
    let columns = [words_of("name"), words_of("file"), numbers_of("bytes"), words_of("SHA-256")];
    page.listed("Files that the run was given", &columns, &rows, all().count() - rows.len())
}
