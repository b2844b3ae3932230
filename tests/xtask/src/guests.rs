//! The components that tests and examples run.
use crate::project::{Project, run, say};
use crate::tools::{COMPONENTIZE_PY, COMPONENTIZE_QJS, TYPESCRIPT, with_node};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// What campaigns and operators in Python are written with.
pub(crate) const PYTHON_SDK: &str = "plugins/sdk/python";
/// The same in JavaScript.
pub(crate) const JAVASCRIPT_SDK: &str = "plugins/sdk/javascript";

/// Where what is built for tests lies, below the target directory.
const PLACE: &str = "guests-test";

/// Builds the test campaign and the test operator in every language, where they are missing or older than what they
/// are made of. The host's tests look for them in `target/guests-test`, and for Rust where cargo leaves it.
pub(crate) fn build_for_tests(project: &Project) -> Result<()> {
    run(&mut project.guest_cargo("build", &["guest-loop-rust", "guest-robot-rust"]))?;
    python(project, "loop-python", "campaign", "app")?;
    python(project, "robot-python", "compute-operator", "robot_app")?;
    javascript(project, "loop-javascript", "campaign", "app.js")?;
    javascript(project, "robot-javascript", "compute-operator", "robot-app.js")?;
    typescript(project)
}

/// A component of this world, by a module beside the scripts in Python.
fn python(project: &Project, name: &str, world: &str, module: &str) -> Result<()> {
    let source = "tests/guests/loop-python";
    let program = COMPONENTIZE_PY.program(project).context("bug: componentize-py has no path")?;
    let component = project.target.join(PLACE).join(name).with_extension("wasm");
    let sources = [source, PYTHON_SDK].map(Path::new);
    componentize(project, &format!("the guest `{name}`"), &program, &sources, &component, |command, aside| {
        command.args(["-d", "wit", "-w", world, "componentize", "-p", source, "-p", PYTHON_SDK, module, "-o"]);
        command.arg(aside);
    })
}

/// A component of this world, by a module beside the scripts in JavaScript.
fn javascript(project: &Project, name: &str, world: &str, module: &str) -> Result<()> {
    let source = Path::new("tests/guests/loop-javascript");
    let program = COMPONENTIZE_QJS.program(project).context("bug: componentize-qjs has no path")?;
    let component = project.target.join(PLACE).join(name).with_extension("wasm");
    let sources = [source, Path::new(JAVASCRIPT_SDK)];
    let package = project.target.join(PLACE).join("javascript");
    let what = format!("the guest `{name}`");
    let wit = project.root.join("wit");
    with_sdk(project, source, &package)?;
    componentize(project, &what, &program, &sources, &component, |command, aside| {
        command.args(["--sync", "--stub-wasi", "-n", world, "--module-root", ".", "-j", module, "-w"]).arg(&wit);
        command.arg("-o").arg(aside).current_dir(&package);
    })
}

/// The scripts that are written in TypeScript.
fn typescript(project: &Project) -> Result<()> {
    let source = Path::new("tests/guests/loop-typescript");
    let program = TYPESCRIPT.program(project).context("bug: tsc has no path")?;
    let package = project.target.join(PLACE).join("typescript");
    let sources = [&project.root.join(source), &project.root.join(JAVASCRIPT_SDK), &program];
    // the one that is written last
    if newer_than_all(&package.join("built/robot.js"), &sources.map(PathBuf::as_path))? {
        return Ok(());
    }
    say("building the guests in TypeScript");
    with_sdk(project, source, &package)?;
    let mut tsc = project.command(program);
    run(tsc.env("PATH", with_node(project)).current_dir(&package))
}

/// Makes a package of npm's, with sources of this clone and the SDK where `matterstack` is looked for.
fn with_sdk(project: &Project, source: &Path, package: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(package);
    for (from, to) in
        [(source, package.to_owned()), (Path::new(JAVASCRIPT_SDK), package.join("node_modules/matterstack"))]
    {
        let context = || format!("`{}` cannot be copied", from.display());
        fs::create_dir_all(&to).with_context(context)?;
        for entry in fs::read_dir(project.root.join(from)).with_context(context)? {
            let entry = entry.with_context(context)?;
            fs::copy(entry.path(), to.join(entry.file_name())).with_context(context)?;
        }
    }
    Ok(())
}

/// Has a program make a component, where it is missing or older than the program, the contract and its sources, whose
/// paths are in the clone.
pub(crate) fn componentize(
    project: &Project,
    what: &str,
    program: &Path,
    sources: &[&Path],
    component: &Path,
    arguments: impl FnOnce(&mut Command, &Path),
) -> Result<()> {
    let places = [Path::new("wit")].into_iter().chain(sources.iter().copied()).map(|source| project.root.join(source));
    let places: Vec<PathBuf> = places.chain([program.to_owned()]).collect();
    if newer_than_all(component, &places.iter().map(PathBuf::as_path).collect::<Vec<_>>())? {
        return Ok(());
    }
    say(&format!("building {what}"));
    let directory = component.parent().context("bug: a component without a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("`{}` cannot be made", directory.display()))?;
    // put in place when it is whole: a build that was cut short leaves nothing that looks new
    let aside = component.with_extension("part.wasm");
    let mut command = project.command(program);
    command.env("PATH", with_node(project));
    // what Python leaves beside the sources would be newer than the component, and is of no use to another
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    arguments(&mut command, &aside);
    run(&mut command)?;
    fs::rename(&aside, component).with_context(|| format!("`{}` cannot be put in place", component.display()))
}

/// Builds the campaign of a workspace and puts it where its config.json looks for it.
pub(crate) fn build_campaign(project: &Project, package: &str, place: &Path) -> Result<()> {
    run(&mut project.guest_cargo("build", &[package]))?;
    let built = project.component(package);
    let bytes = fs::read(&built).with_context(|| format!("`{}` cannot be read", built.display()))?;
    if fs::read(place).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    fs::write(place, bytes).with_context(|| format!("`{}` cannot be written", place.display()))
}

/// Whether a file exists and nothing in these places was changed after it.
pub(crate) fn newer_than_all(file: &Path, sources: &[&Path]) -> Result<bool> {
    let Ok(built) = fs::metadata(file).and_then(|metadata| metadata.modified()) else { return Ok(false) };
    for source in sources {
        if last_change(source)? > built {
            return Ok(false);
        }
    }
    Ok(true)
}

/// When the newest file in this place was changed.
fn last_change(place: &Path) -> Result<SystemTime> {
    let context = || format!("`{}` cannot be read", place.display());
    let metadata = fs::metadata(place).with_context(context)?;
    if !metadata.is_dir() {
        return metadata.modified().with_context(context);
    }
    let entries: Vec<PathBuf> = fs::read_dir(place)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(context)?;
    // Python leaves its own traces beside the sources
    let sources = entries.iter().filter(|path| !path.ends_with("__pycache__"));
    sources.map(|path| last_change(path)).try_fold(SystemTime::UNIX_EPOCH, |newest, next| Ok(newest.max(next?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_component_is_old_when_any_of_its_sources_is_newer() {
        let scratch = Project::here().expect("a project").target.join("xtask-test-age");
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(scratch.join("source/inner")).expect("a directory");
        let (component, source) = (scratch.join("a.wasm"), scratch.join("source/inner/app.py"));
        let touch = |path: &Path, at: u64| {
            let file = fs::File::create(path).expect("a file");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at)).expect("a time");
        };
        let fresh = || newer_than_all(&component, &[&scratch.join("source")]).expect("readable");
        touch(&source, 100);
        assert!(!fresh(), "missing");
        touch(&component, 200);
        assert!(fresh());
        touch(&source, 300);
        assert!(!fresh(), "older than its source");
        fs::remove_dir_all(&scratch).expect("removed");
    }
}
