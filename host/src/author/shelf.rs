//! Which plugins there are: the standard ones, and those that workspaces name.
use super::look::look;
use crate::model::config::RunConfig;
use crate::model::document::sha256;
use crate::plugin::{builtin, inspect};
use crate::workspace::{Resolved, Workspaces, resolve, user_config};
use serde::Serialize;
use std::path::Path;

/// A plugin that there is, or should be.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// As a configuration names it.
    pub plugin: String,
    /// The workspace whose file it is; null for a standard plugin.
    pub workspace: Option<String>,
    /// `campaign`, `operator` or `runner`; null if it is not known.
    pub world: Option<String>,
    /// For a standard plugin what it is for, else as what the configuration names it.
    pub used_for: String,
    /// SHA-256 of the file; null if there is none.
    pub sha256: Option<String>,
    /// Why it cannot be used, or null.
    pub problem: Option<String>,
}

/// What a standard plugin is for.
fn purpose(name: &str) -> &'static str {
    match name {
        "ask-tell" => "a program of one's own proposes, and is told what came out",
        "sweep" => "tasks from a template and rows of parameters",
        "workflow" => "a list of tasks with dependencies",
        "compute" => "commands, on this machine or a cluster",
        "experiment" => "requests to an instrument",
        "human" => "questions to people",
        "manual-hpc" => "jobs that are carried to a cluster by hand",
        "python" => "scripts in Python",
        "javascript" => "scripts in JavaScript",
        _ => "",
    }
}

/// Every standard plugin, then those of one workspace or of all.
pub fn shelf(workspaces: Option<&Workspaces>, slugs: &[String]) -> Vec<Listed> {
    let standard = builtin::names().filter_map(|name| Some((name, builtin::builtin(name)?))).map(|(name, bytes)| {
        let plugin = format!("builtin:{name}");
        Listed {
            world: inspect(&plugin, bytes).ok().map(|found| found.world),
            plugin,
            workspace: None,
            used_for: purpose(name).to_owned(),
            sha256: Some(sha256(bytes)),
            problem: None,
        }
    });
    let mut listed: Vec<Listed> = standard.collect();
    listed.sort_by(|a, b| (&a.world, &a.plugin).cmp(&(&b.world, &b.plugin)));
    for slug in slugs {
        if let Some(directory) = workspaces.and_then(|workspaces| workspaces.workspace(slug).ok()) {
            of_workspace(slug, &directory, &mut listed);
        }
    }
    listed
}

/// Adds the files that a workspace names. What is wrong with its configuration stands in one row.
fn of_workspace(slug: &str, directory: &Path, listed: &mut Vec<Listed>) {
    let file = directory.join("config.json");
    match resolve(&file, user_config().as_deref(), &[]) {
        Ok(Resolved { config, .. }) => listed.extend(named(&config).map(|(name, used_for)| {
            let found = look(&directory.join(name).to_string_lossy());
            let of = |found: &super::Looked| {
                (found.world().map(str::to_owned), Some(found.sha256().to_owned()), found.problems().first().cloned())
            };
            let (world, sha256, problem) = match &found {
                Ok(found) => of(found),
                Err(failure) => (None, None, Some(failure.to_string())),
            };
            let (plugin, workspace) = (name.to_owned(), Some(slug.to_owned()));
            Listed { plugin, workspace, world, used_for, sha256, problem }
        })),
        Err(failure) => listed.push(Listed {
            plugin: "config.json".to_owned(),
            workspace: Some(slug.to_owned()),
            world: None,
            used_for: String::new(),
            sha256: None,
            problem: Some(failure.to_string()),
        }),
    }
}

/// The plugins of a configuration that are files, and as what it names them.
fn named(config: &RunConfig) -> impl Iterator<Item = (&str, String)> {
    let operators =
        config.operators.iter().map(|(key, operator)| (operator.plugin.as_str(), format!("operator `{key}`")));
    let all = std::iter::once((config.campaign.plugin.as_str(), "the campaign".to_owned())).chain(operators);
    all.filter(|(name, _)| !name.starts_with("builtin:"))
}

#[cfg(test)]
mod tests {
    use super::purpose;
    use crate::plugin::builtin;

    #[test]
    fn every_standard_plugin_says_what_it_is_for() {
        builtin::names().for_each(|name| assert!(!purpose(name).is_empty(), "{name}"));
    }
}
