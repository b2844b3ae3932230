//! Passages of the report that are written at once from what is known.
use super::markdown::{Table, code, document, fenced, plain};
use crate::model::config::RunConfig;
use crate::model::evidence::{EnvironmentRecord, NumberedEngine, PluginRecord, Resources, ResourcesRecord};
use crate::model::script::{Language, component};
use crate::model::time::span;
use crate::results::reach;
use std::fmt::Write;

/// Rows of a table.
pub(super) const ROWS_MAX: usize = 500;
/// Rows of a table among the parameters.
const PARAMETER_ROWS_MAX: usize = 20;

/// What was asked: the campaign, its parameters, and what it may use.
pub(super) fn asked(config: Option<&RunConfig>, plugins: &[PluginRecord]) -> String {
    let Some(config) = config else {
        return "The run's config.json cannot be read; see [Files](#files).\n".to_owned();
    };
    let digest = |name: &str| {
        let plugin = plugins.iter().find(|plugin| plugin.name == name && !plugin.used_by.is_empty());
        let of = plugin.map(|plugin| code(&plugin.sha256)).unwrap_or_default();
        // a script tells both: itself, and what carries it out
        match config.pinned_component(name).filter(|_| Language::of(name).is_some()) {
            Some(runner) => format!("{of}, carried out by {} {}", code(&component(name)), code(&runner.sha256)),
            None => of,
        }
    };
    let campaign = &config.campaign;
    let mut text = format!(
        "Campaign {} with seed {}, SHA-256 {}\n",
        code(&campaign.plugin),
        campaign.seed,
        digest(&campaign.plugin)
    );
    let parameters = match config.pinned.as_ref().and_then(|pinned| pinned.params.as_ref()) {
        Some(file) => format!("In {}: {} bytes, SHA-256 {}\n", code(&file.path), file.size, code(&file.sha256)),
        None => document(&campaign.params, 4, PARAMETER_ROWS_MAX),
    };
    let _ = write!(text, "\n### Parameters\n\n{parameters}");
    let mut table = Table::new(&["operator", "plugin", "may reach", "SHA-256"], ROWS_MAX);
    for (key, operator) in &config.operators {
        table
            .push(|| vec![code(key), code(&operator.plugin), reach(&operator.grants, &code), digest(&operator.plugin)]);
    }
    if !table.is_empty() {
        let _ = write!(text, "\n### Operators\n\n{}", table.render());
    }
    let mut table = Table::new(&["input", "file", "bytes", "SHA-256"], ROWS_MAX);
    for (name, file) in config.pinned.iter().flat_map(|pinned| pinned.inputs.iter().chain(&pinned.files)) {
        table.push(|| vec![code(name), code(&file.path), file.size.to_string(), code(&file.sha256)]);
    }
    if !table.is_empty() {
        let _ = write!(text, "\n### Inputs and files\n\n{}", table.render());
    }
    text
}

/// What each operator's jobs took of machines, and all of them.
pub(super) fn took(resources: &ResourcesRecord) -> String {
    let heading =
        ["operator", "attempts", "core hours", "wasted", "CPU hours", "peak MiB", "queued, median", "longest"];
    let mut table = Table::new(&heading, ROWS_MAX);
    let seconds = |s: Option<f64>| s.map(|s| span((s * 1000.0) as i64)).unwrap_or_default();
    let row = |name: String, of: &Resources| {
        let hours = [of.core_hours, of.wasted_core_hours, of.cpu_hours].map(|hours| format!("{hours:.3}"));
        let memory = of.memory_peak_mb.map(|mb| mb.to_string()).unwrap_or_default();
        let queued = [seconds(of.queued_median_s), seconds(of.queued_max_s)];
        [vec![name, of.attempts.to_string()], hours.to_vec(), vec![memory], queued.to_vec()].concat()
    };
    for (operator, of) in &resources.operators {
        table.push(|| row(code(operator), of));
    }
    if resources.operators.len() > 1 {
        table.push(|| row("all".to_owned(), &resources.total));
    }
    "Core hours are the cores that tasks asked for, times how long their jobs ran; wasted are those of attempts that \
     failed or were lost.\n\n"
        .to_owned()
        + &table.render()
}

/// Text from outside, or nothing.
pub(super) fn optional(text: Option<&str>) -> String {
    text.map(plain).unwrap_or_default()
}

/// A number of things.
pub(super) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Where jobs were handed in, and what carried out decisions.
pub(super) fn environment(environments: &[EnvironmentRecord], engines: &[NumberedEngine]) -> String {
    let mut text = String::new();
    for one in environments {
        let _ = write!(text, "### Environment {} on {}\n\n", one.environment, plain(&one.host));
        let mut table = Table::new(&["variable", "value"], ROWS_MAX);
        one.variables.iter().for_each(|(name, value)| table.push(|| vec![code(name), plain(value)]));
        text += &if table.is_empty() { "No variable is recorded.\n".to_owned() } else { table.render() };
        for told in &one.recorded {
            let cut = if told.cut { ", the first of it" } else { "" };
            let _ = write!(text, "\nOn backend {}, {} told{cut}:\n\n", code(&told.backend), code(&told.command));
            text += &fenced(told.output.trim_end(), "");
        }
        text.push('\n');
    }
    let mut table = Table::new(&["matterstack", "contract of plugins", "runtime", "machine"], ROWS_MAX);
    for NumberedEngine { engine, .. } in engines {
        let cells = [&engine.version, &engine.contract, &engine.runtime, &engine.target];
        table.push(|| cells.into_iter().map(|cell| plain(cell)).collect());
    }
    if !table.is_empty() {
        let _ = write!(text, "### What carried out decisions\n\n{}", table.render());
    }
    text
}
