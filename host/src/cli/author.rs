//! `plugin inspect`, `check`, `list` and `test`: what plugins are, and whether they keep to the contract.
use super::output::{print, print_json, table, tell};
use super::plugin::Words;
use super::report::{FOUND, exit_code, report};
use super::{Session, shown};
use crate::author::{self, Asked, Called, Finding, Listed, Looked, Proof, look, make_plugin, shelf};
use crate::failure::{Failure, FailureKind};
use crate::ground::files::read_named;
use crate::ground::words::{one_line, positional};
use crate::model::config::CONFIG_MAX;
use crate::model::document::{Dialect, canonical_own, read};
use crate::model::script::Script;
use crate::plugin::Inspection;
use crate::workspace::{standing_in, workspaces_or_new};
use serde_json::{Value, json};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

pub(super) fn inspect(session: &Session, file: &str) -> Result<u8, Failure> {
    let found = look(file)?;
    show(session, &found)?;
    if !session.json {
        found.problems().iter().for_each(|problem| tell(&format!("`{file}` {}", one_line(problem))));
    }
    Ok(0)
}

pub(super) fn check(session: &Session, file: &str) -> Result<u8, Failure> {
    let found = look(file)?;
    show(session, &found)?;
    for problem in found.problems() {
        report(&Failure::of(FailureKind::Plugin, format!("`{file}` {problem}")));
    }
    match found.problems() {
        [] => {
            tell(&format!("`{file}` can be used as {}", with_article(found.world().unwrap_or("plugin"))));
            Ok(0)
        }
        _ => Ok(exit_code(FailureKind::Plugin)),
    }
}

fn with_article(world: &str) -> String {
    format!("{} {world}", if world.starts_with('o') { "an" } else { "a" })
}

fn show(session: &Session, found: &Looked) -> Result<(), Failure> {
    if session.json {
        return print_json(found);
    }
    print(&match found {
        Looked::Component(found) => component(found),
        Looked::Script(found) => script(found),
    })
}

fn component(found: &Inspection) -> String {
    let Inspection { world, contract, sha256, size, exports, imports, .. } = found;
    let grants = match found.grants.as_object() {
        Some(grants) if grants.is_empty() => "none".to_owned(),
        _ => format!("{}, as in {}", found.grants, json!({"operators": {"KEY": {"grants": found.grants}}})),
    };
    let manifest = found.manifest.as_ref().map(|manifest| format!("manifest: {}\n", canonical_own(manifest)));
    format!(
        "world: {world}\ncontract: {contract}\nsha256: {sha256}\nsize: {size} bytes\nexports: {}\nimports: {}\n\
         grants it needs: {grants}\n{}",
        exports.join(", "),
        imports.join(", "),
        manifest.unwrap_or_default()
    )
}

fn script(found: &Script) -> String {
    let Script { language, world, sha256, size, functions, .. } = found;
    let world = world.as_deref().unwrap_or("unknown");
    let functions = functions.join(", ");
    format!("script: {language}\nworld: {world}\nsha256: {sha256}\nsize: {size} bytes\nfunctions: {functions}\n")
}

pub(super) fn new(session: &Session, language: Words, place: &Path, operator: bool) -> Result<u8, Failure> {
    let here = std::env::current_dir().map_err(|error| Failure::machine("the current directory", error))?;
    let workspaces = workspaces_or_new(session.workspaces.as_deref(), &here)?;
    let (slug, directory) = make_plugin(&workspaces, place, language.into(), operator)?;
    if session.json {
        return print_json(&json!({"workspace": slug, "path": directory})).map(|()| 0);
    }
    print(&format!("{slug}\n"))?;
    let (at, slug) = (positional(&shown(&directory)), positional(&slug));
    let build = format!("`matterstack plugin build {at}`");
    let run = format!("`matterstack run {slug}` runs it");
    tell(&match language {
        Words::Python => format!("`python3 -m unittest` in `{at}` tests it, and {run}"),
        Words::Javascript => format!("`node --test` in `{at}` tests it, and {run}"),
        Words::Rust => format!("`cargo test` in `{at}` tests it, {build} makes the component, and {run}"),
        Words::Typescript => format!(
            "`npm install` in `{at}` brings esbuild, {build} makes the script, `node --test` tests it, and {run}"
        ),
    });
    Ok(0)
}

/// Where programs print that build something.
fn log() -> Result<OwnedFd, Failure> {
    let log = std::io::stderr().as_fd().try_clone_to_owned();
    log.map_err(|error| Failure::machine("standard error", error))
}

/// Makes the plugin of a workspace again if the configuration says how and its source is newer.
pub(super) fn build_if_older(directory: &Path, config: Option<&Path>, sets: &[String]) -> Result<(), Failure> {
    author::refresh(directory, config, sets, &log()?, tell).map(drop)
}

pub(super) fn build(session: &Session, path: &Path) -> Result<u8, Failure> {
    let made = author::build(path, &log()?)?;
    let name = shown(&made);
    if session.json {
        let found = look(&name)?;
        print_json(&json!({"path": made, "checked": found}))?;
        return Ok(if found.problems().is_empty() { 0 } else { exit_code(FailureKind::Plugin) });
    }
    check(session, &name)
}

pub(super) fn test(session: &Session, path: &str, params: Option<&Path>, task: Option<&Path>) -> Result<u8, Failure> {
    let workspaces = session.workspaces().ok();
    let root = workspaces.as_ref().map(|workspaces| workspaces.root());
    let (given, task) = (params.map(document).transpose()?, task.map(document).transpose()?);
    let proofs = author::test(&Asked { path, given, task, root })?;
    let found = proofs.iter().any(|proof| proof.found.is_some());
    if session.json {
        print_json(&proofs)?;
    } else {
        print(&proofs.iter().map(proof).collect::<String>())?;
    }
    Ok(if found { FOUND } else { 0 })
}

/// A JSON file that a person names.
fn document(path: &Path) -> Result<Value, Failure> {
    let wrong = || Failure::input(format!("`{}` cannot be read", path.display()));
    let bytes = read_named(path, CONFIG_MAX).map_err(|error| wrong().because(error))?;
    read(&bytes, Dialect::Commented).map_err(|fault| wrong().because(fault))
}

fn proof(proof: &Proof) -> String {
    let Proof { plugin, world, cases, calls, found } = proof;
    let Some(Finding { rule, case, calls }) = found else {
        let plugin = one_line(plugin);
        return format!(
            "{plugin}: {} in {cases} cases and {calls} calls nothing is wrong\n",
            with_article(world) + ":"
        );
    };
    let mut text = format!("{}: {}\ncase {cases}: {}\n", one_line(plugin), one_line(rule), one_line(case));
    for Called { call, given, answer } in calls {
        text += &format!("  {call}\n    given: {}\n    answer: {}\n", one_line(given), one_line(answer));
    }
    text
}

pub(super) fn list(session: &Session, workspace: Option<&str>) -> Result<u8, Failure> {
    let workspaces = match workspace {
        Some(slug) => Some(session.workspaces().and_then(|all| all.workspace(slug).map(|_| all))?),
        // the standard plugins are there without any workspace
        None => session.workspaces().ok(),
    };
    let here = workspaces.as_ref().and_then(standing_in);
    let slugs = match workspace.map(str::to_owned).or(here) {
        Some(slug) => vec![slug],
        None => workspaces.as_ref().map(|all| all.slugs()).unwrap_or_default(),
    };
    let found = shelf(workspaces.as_ref(), &slugs);
    if session.json {
        return print_json(&found).map(|()| 0);
    }
    print(&table(&["PLUGIN", "WORKSPACE", "WORLD", "FOR", "SHA-256"], found.iter().map(cells)))?;
    for (listed, problem) in found.iter().filter_map(|listed| Some((listed, listed.problem.as_ref()?))) {
        let of = listed.workspace.as_deref().unwrap_or_default();
        tell(&format!("`{of}`: `{}`: {}", listed.plugin, one_line(problem)));
    }
    Ok(0)
}

fn cells(listed: &Listed) -> Vec<String> {
    let digest = listed.sha256.as_deref().map(|digest| digest[..12].to_owned());
    let of = |text: &Option<String>| text.clone().unwrap_or_default();
    let (workspace, world) = (of(&listed.workspace), of(&listed.world));
    vec![
        listed.plugin.clone(),
        workspace,
        world,
        listed.used_for.clone(),
        digest.unwrap_or_else(|| "missing".to_owned()),
    ]
}
