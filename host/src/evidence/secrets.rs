//! Which files of a run hold a secret: they are left out of what is given to others, with their digests kept. Secrets
//! are read where the bundle is written, and forgotten with it.
use crate::ground::files::open_regular_path;
use crate::ground::secret::read_secret;
use crate::model::evidence::{AttemptRecord, TaskRecord, Withheld};
use crate::model::workflow::{Task, Variable};
use crate::run::RunDir;
use memchr::memmem::Finder;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

/// How much of a file is searched at once, in bytes.
const PIECE: usize = 256 * 1024;

/// The secrets of tasks, and what each holds.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    /// The names that any version of a task has.
    of_tasks: BTreeMap<String, BTreeSet<String>>,
    held: BTreeMap<String, Option<Vec<u8>>>,
    /// Files that hold one.
    pub(super) found: u64,
}

impl Secrets {
    /// Learns which secrets a task has had.
    pub(super) fn learn(&mut self, task: &TaskRecord) {
        let specs = std::iter::once(&task.spec).chain(task.versions.iter().map(|version| &version.spec));
        // most tasks have none, and a look at the text says so
        for spec in specs.map(|spec| spec.0.get()).filter(|text| text.contains("\"secret\"")) {
            let Ok(task_then) = serde_json::from_str::<Task>(spec) else { continue };
            let names = task_then.env.values().filter_map(Variable::secret).map(str::to_owned);
            self.of_tasks.entry(task.id.clone()).or_default().extend(names);
        }
    }

    /// Names the files of an attempt that hold a secret of its task.
    pub(super) fn mark(&mut self, run: &RunDir, attempt: &mut AttemptRecord) {
        let Some(names) = self.of_tasks.get(&attempt.task) else { return };
        let logs = attempt.logs.iter().map(|log| log.kind.file().to_owned());
        let outputs = attempt.outputs.iter().filter(|output| output.remote.is_none()).map(|output| output.path.clone());
        let files: BTreeSet<String> = logs.chain(outputs).collect();
        for name in names.iter().filter(|_| !files.is_empty()) {
            let held = self.held.entry(name.clone()).or_insert_with(|| read_secret(name).ok());
            let Some(held) = held else {
                let why =
                    format!("the secret `{name}` cannot be read here, so nobody can tell whether the files hold it");
                attempt.withheld.push(Withheld { file: None, why });
                continue;
            };
            for file in &files {
                let why = match holds(&run.join(&attempt.directory).join(file), held) {
                    Ok(false) => continue,
                    Ok(true) => format!("holds the secret `{name}`"),
                    Err(error) => format!("cannot be searched for the secret `{name}`: {error}"),
                };
                self.found += 1;
                attempt.withheld.push(Withheld { file: Some(file.clone()), why });
            }
        }
    }
}

/// Whether a file holds some bytes.
fn holds(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = match open_regular_path(path) {
        // what is gone holds nothing, and is told as a finding
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    let (finder, overlap) = (Finder::new(bytes), bytes.len().saturating_sub(1));
    let (mut buffer, mut kept) = (vec![0; overlap + PIECE], 0);
    loop {
        let count = match file.read(&mut buffer[kept..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        let filled = kept + count;
        if count == 0 || finder.find(&buffer[..filled]).is_some() {
            return Ok(count > 0);
        }
        let start = filled.saturating_sub(overlap);
        buffer.copy_within(start..filled, 0);
        kept = filled - start;
    }
}

#[cfg(test)]
mod tests {
    use super::{PIECE, holds};

    #[test]
    fn a_secret_is_found_wherever_it_lies() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for before in [0, 1, PIECE - 3, PIECE, PIECE + 1, 3 * PIECE - 2] {
            let text = [&vec![b'.'; before][..], b"hush", &[b'.'; 7]].concat();
            std::fs::write(file.path(), text).expect("a file");
            assert!(holds(file.path(), b"hush").expect("a look"), "{before}");
            assert!(!holds(file.path(), b"hushed").expect("a look"), "{before}");
        }
        assert!(!holds(&file.path().join("none"), b"x").unwrap_or(false));
    }
}
