//! Outputs of other runs that tasks are given: looked for wherever a file source stands in the parameters and inputs of
//! a campaign, and brought into the run, so that it needs the other run no more. Nothing is written there; a crash
//! leaves what `init` and `amend` leave.
use super::{is_run_id, pin};
use crate::failure::Failure;
use crate::ground::files::{open_directory, open_regular, read_named};
use crate::ground::machine;
use crate::ground::words::positional;
use crate::model::config::{Pinned, PinnedFile, RunConfig};
use crate::model::pattern::plain_path;
use crate::model::states::TaskState;
use crate::model::workflow::{FileSource, OtherSource, nearest};
use crate::run::RunDir;
use crate::store::{Output, Store};
use memchr::memmem;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

/// The largest input that is looked through, in bytes.
const INPUT_MAX: u64 = 256 * 1024 * 1024;
/// What stands in every text that names another run.
const KEY: &[u8] = b"\"run\"";

/// Looks for every output of another run that the configuration names, as `init` does before it copies them.
pub(super) fn check_outputs(config: &RunConfig, workspace: &Path) -> Result<(), Failure> {
    let inputs = config.campaign.inputs.values().map(|path| workspace.join(path));
    named(config, inputs).values().try_for_each(|source| find(source, workspace).map(drop))
}

/// Copies into the run what is not there yet.
pub(super) fn pin_outputs(
    config: &RunConfig,
    workspace: &Path,
    run: &RunDir,
    pinned: &mut Pinned,
) -> Result<(), Failure> {
    for (name, source) in named(config, pinned.inputs.values().map(|file| run.join(&file.path))) {
        if let Entry::Vacant(place) = pinned.files.entry(name) {
            place.insert(bring(&source, workspace, run)?);
        }
    }
    Ok(())
}

/// What is named in the parameters and in inputs of JSON, one document or one a line, by the name under which it is
/// pinned.
fn named(config: &RunConfig, inputs: impl Iterator<Item = PathBuf>) -> BTreeMap<String, OtherSource> {
    let mut found = BTreeMap::new();
    collect(&config.campaign.params, &mut found);
    for path in inputs {
        // one that cannot be read or is too large is refused, or read, by who wants it
        let Ok(text) = read_named(&path, INPUT_MAX) else { continue };
        if memmem::find(&text, KEY).is_some() {
            let documents = serde_json::Deserializer::from_slice(&text).into_iter::<Value>();
            documents.map_while(Result::ok).for_each(|document| collect(&document, &mut found));
        }
    }
    found
}

fn collect(value: &Value, found: &mut BTreeMap<String, OtherSource>) {
    match value {
        Value::Object(object) => {
            if object.contains_key("run")
                && let Ok(FileSource::Other(source)) = serde_json::from_value(value.clone())
            {
                found.insert(source.pinned_as(), source);
                return;
            }
            object.values().for_each(|value| collect(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An output of another run: its run, the directory of the attempt that left it, and what the record says of it.
fn find(source: &OtherSource, workspace: &Path) -> Result<(RunDir, String, Output), Failure> {
    let OtherSource { run, from, output, .. } = source;
    let what = source.named();
    let dir = RunDir::new(workspace.join("runs").join(run));
    // no link is followed out of the workspace
    let is_here = is_run_id(run) && dir.root().symlink_metadata().is_ok_and(|entry| entry.is_dir());
    if !is_here || !dir.database().is_file() {
        return Err(Failure::input(format!("{what} cannot be taken: the workspace has no run `{run}`"))
            .hint("`matterstack list` shows the runs"));
    }
    let store = Store::read(&dir.database())?;
    let wrong = |why: String| Failure::input(format!("{what} cannot be taken: {why}"));
    let Some(task) = store.task(from.as_str())? else {
        return Err(wrong("that run has no such task".to_owned()).hint(format!("`matterstack tasks {run}` lists them")));
    };
    if task.state != TaskState::Completed {
        return Err(wrong(format!("the task is {}", task.state)).hint("wait until it has completed there"));
    }
    let Some((directory, left)) = store.output_of(from.as_str(), &plain_path(output))? else {
        let paths = store.output_paths(from.as_str())?;
        let near = nearest(output, paths.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
        let hint = near.unwrap_or_else(|| {
            format!("`matterstack attempts {run} {}` lists what it left", positional(from.as_str()))
        });
        return Err(wrong("it left no such file".to_owned()).hint(hint));
    };
    if let Some(remote) = &left.remote {
        return Err(wrong(format!("it stayed on backend `{}`", remote.backend)));
    }
    Ok((dir, directory, left))
}

fn bring(source: &OtherSource, workspace: &Path, run: &RunDir) -> Result<PinnedFile, Failure> {
    let (dir, directory, output) = find(source, workspace)?;
    let directory = dir.join(&directory);
    let from = directory.join(&output.path);
    let opened = open_directory(&directory).and_then(|root| open_regular(&root, &output.path));
    let altered =
        |failure: Failure| failure.hint(format!("`matterstack doctor {}` looks at all that it left", source.run));
    let opened = opened.map_err(|error| match machine::is_trouble(&error) {
        true => Failure::io(format!("`{}` cannot be read", from.display()), error),
        false => altered(Failure::input(format!("{} cannot be taken", source.named())).because(error)),
    })?;
    let name = Path::new(&output.path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let place = format!("inputs/runs/{}/{}/{name}", source.run, &output.sha256[..12]);
    let file = pin::copy_open(opened.into_std(), &from, run, place)?;
    if file.sha256 != output.sha256 {
        let what = format!("`{}` was changed after run `{}` recorded it", from.display(), source.run);
        return Err(altered(Failure::input(what)));
    }
    Ok(file)
}
