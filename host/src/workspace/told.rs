//! What plugins say of themselves, held against the configuration: parameters and operators' `config` by the schemas in
//! their manifests.
use super::pin::{Found, find_plugin};
use crate::failure::{Failure, FailureKind};
use crate::ground::files::read_named;
use crate::model::config::{PLUGIN_MAX, RunConfig};
use crate::model::script::Language;
use crate::plugin::manifest;
use crate::run::{Run, RunDir};
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;

/// Refuses `campaign.params` and operators' `config` that the manifests of the plugins refuse, as they lie in the
/// workspace.
pub(super) fn check_in_workspace(config: &RunConfig, workspace: &Path) -> Result<(), Failure> {
    check(config, &config.campaign.params, |place, name| {
        Ok(Some(match find_plugin(name, workspace, &format!("{place}.plugin"))? {
            Found::Builtin(_, known) => Cow::Borrowed(known.bytes().unwrap_or_default()),
            Found::File(path) => Cow::Owned(read(&path)?),
        }))
    })
}

/// The same of the plugins that are pinned in a run, while its parameters still stand in the configuration. What is
/// not pinned is not looked at.
pub(super) fn check_in_run(config: &RunConfig, run: &RunDir) -> Result<(), Failure> {
    check(config, &config.campaign.params, |_, name| {
        let file = config.pinned.as_ref().and_then(|pinned| pinned.plugins.get(name));
        file.map(|file| read(&run.join(&file.path)).map(Cow::Owned)).transpose()
    })
}

/// The same of a run whose plugins are about to be exchanged, with the parameters that it has.
///
/// # Errors
/// If the parameters cannot be read, or a plugin does not take what it would be given.
pub fn check_exchanged(run: &Run, config: &RunConfig) -> Result<(), Failure> {
    let params = run.params().map_err(|error| Failure::machine("campaign.params of the run cannot be read", error))?;
    let params = serde_json::from_str(&params)
        .map_err(|error| Failure::machine("campaign.params of the run are no JSON", error))?;
    check(config, &params, |_, name| {
        let file = config.pinned.as_ref().and_then(|pinned| pinned.plugins.get(name));
        file.map(|file| read(&run.dir.join(&file.path)).map(Cow::Owned)).transpose()
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    read_named(path, PLUGIN_MAX)
        .map_err(|error| Failure::machine(format!("plugin `{}` cannot be read", path.display()), error))
}

fn check<'a>(
    config: &RunConfig,
    params: &Value,
    bytes: impl Fn(&str, &str) -> Result<Option<Cow<'a, [u8]>>, Failure>,
) -> Result<(), Failure> {
    // a script has no manifest
    let plugins = config.places().filter(|(_, name, _)| Language::of(name).is_none());
    for (place, name, _) in plugins {
        let Some(bytes) = bytes(&place, name)? else { continue };
        let wrong = |why| Failure::of(FailureKind::Plugin, format!("plugin `{name}` {why}"));
        let Some(manifest) = manifest(&bytes).map_err(wrong)? else { continue };
        let (key, mistakes) = match place.strip_prefix("operators.") {
            None => ("campaign.params".to_owned(), manifest.mistakes_in_params(params)),
            Some(key) => {
                let given = config.operators.get(key).map(|operator| &operator.config);
                (format!("{place}.config"), given.map_or(Ok(Vec::new()), |given| manifest.mistakes_in_config(given)))
            }
        };
        let schema = key.rsplit('.').next().unwrap_or_default();
        let mistakes =
            mistakes.map_err(|why| wrong(format!("has a manifest whose `{schema}` is no JSON Schema: {why}")))?;
        if !mistakes.is_empty() {
            return Err(Failure::input(format!("{key}: {}", mistakes.join("; ")))
                .because(format!("plugin `{name}` says in its manifest what it takes"))
                .hint(format!("`matterstack plugin inspect FILE` shows the schema; mend `{key}`")));
        }
    }
    Ok(())
}
