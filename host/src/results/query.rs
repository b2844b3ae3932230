//! The runs of a workspace as one database for any tool: written aside, and put in place when it is whole. What cannot
//! be read is left out and named; no run is changed. A crash leaves what was there, and a file beside it that nobody
//! reads.
use super::fields::{flatten, left_document, parameters, returned};
use crate::failure::{Failure, FailureKind};
use crate::ground::files::{new_file, open_regular_path};
use crate::run::RunDir;
use crate::store::{GatherError, GatheredAttempt, GatheredTask, Gathering, StoreError};
use crate::workspace::read_store;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Tasks whose fields are read at once.
const PORTION: u32 = 500;
/// Files that could not be read and are named.
const UNREAD_NAMED: usize = 10;
/// What every run has.
const DATABASE: &str = "state.sqlite";
/// How much of a database tells what it is, in bytes.
const HEAD: u64 = 100;

/// What came of gathering runs.
#[derive(Debug, Default)]
pub struct Gathered {
    /// How many runs are in the database.
    pub runs: usize,
    /// Those that are not, each with the reason.
    pub left_out: Vec<(RunDir, String)>,
    /// JSON outputs whose values are missing, each with the reason; the first of them.
    pub unread: Vec<String>,
    /// How many more of those there are.
    pub unread_more: u64,
    /// The size of the file, in bytes.
    pub size: u64,
}

/// A file in the making, which goes unless it was put in place.
struct Aside(PathBuf);

impl Drop for Aside {
    fn drop(&mut self) {
        for end in ["", "-journal"] {
            let mut name = self.0.clone().into_os_string();
            name.push(end);
            // a part of one is of no use to anybody
            let _ = fs::remove_file(name);
        }
    }
}

/// Writes the runs into one database at `out`, in the place of one that was made so before.
///
/// # Errors
/// If something else is at `out`, or it cannot be written; then what was there is as it was.
pub fn gather(runs: &[RunDir], out: &Path) -> Result<Gathered, Failure> {
    refuse_other(out)?;
    refuse_in_run(out)?;
    let unwritten = |error| Failure::io(format!("`{}` cannot be written", out.display()), error);
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let aside = Aside(out.with_file_name(format!(".{name}.part-{}", std::process::id())));
    new_file(&aside.0).map_err(unwritten)?;
    let mut gathered = Gathered::default();
    gathered.fill(runs, &aside.0).map_err(|error| unmade(out, error))?;
    gathered.size = put_in_place(&aside.0, out).map_err(unwritten)?;
    Ok(gathered)
}

/// Refuses to write over what was not made so.
fn refuse_other(out: &Path) -> Result<(), Failure> {
    let is_one = |out| {
        let mut head = Vec::new();
        open_regular_path(out)?.take(HEAD).read_to_end(&mut head)?;
        Ok::<_, io::Error>(head.is_empty() || Gathering::is_one(&head))
    };
    match fs::symlink_metadata(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(metadata) if metadata.is_file() && is_one(out).unwrap_or(false) => Ok(()),
        Ok(_) | Err(_) => Err(Failure::input(format!("there is something else at `{}`", out.display()))
            .hint("name a file that does not exist, or one that `query` has made: that is made anew")),
    }
}

/// Refuses a place in a run: a name there may be one that its database, or a job, takes for its own.
fn refuse_in_run(out: &Path) -> Result<(), Failure> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // that there is no such folder is told where the file is made
    let folder = fs::canonicalize(folder).unwrap_or_default();
    match folder.ancestors().find(|folder| !folder.as_os_str().is_empty() && folder.join(DATABASE).exists()) {
        Some(run) => Err(Failure::input(format!("`{}` lies in the run `{}`", out.display(), run.display()))
            .hint("name a file outside of runs")),
        None => Ok(()),
    }
}

fn put_in_place(aside: &Path, out: &Path) -> io::Result<u64> {
    let file = File::open(aside)?;
    file.sync_all()?;
    fs::rename(aside, out)?;
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    Ok(file.metadata()?.len())
}

fn unmade(out: &Path, error: StoreError) -> Failure {
    let what = format!("`{}` cannot be written", out.display());
    let kind = if matches!(error, StoreError::Disk(_)) { FailureKind::Disk } else { FailureKind::Machine };
    let failure = Failure::of(kind, what).because(error);
    if kind == FailureKind::Disk { failure.hint("make room there, then repeat the command") } else { failure }
}

impl Gathered {
    fn fill(&mut self, runs: &[RunDir], file: &Path) -> Result<(), StoreError> {
        let mut gathering = Gathering::create(file)?;
        for dir in runs {
            match self.add(&mut gathering, dir) {
                Ok(()) => self.runs += 1,
                Err(Refused::Run(failure)) => {
                    let reason = failure.to_string();
                    gathering.leave_out(&dir.id(), &dir.root().display().to_string(), &reason)?;
                    self.left_out.push((dir.clone(), reason));
                }
                Err(Refused::Made(error)) => return Err(error),
            }
        }
        gathering.finish()
    }

    fn add(&mut self, gathering: &mut Gathering, dir: &RunDir) -> Result<(), Refused> {
        let (run, unread) = (dir.id(), |error| Refused::Run(Failure::io("its directory cannot be opened", error)));
        let store = read_store(dir)?;
        let root = Dir::open_ambient_dir(dir.root(), ambient_authority()).map_err(unread)?;
        gathering.add(&run, &dir.root().display().to_string(), &store)?;
        // what is open of the run is closed before its files are read, for which it need not stay as it is
        drop(store);
        self.add_fields(gathering, &run, &root).and_then(|()| gathering.keep()).map_err(Refused::Made)
    }

    /// The values of the run's result and of the documents of its tasks.
    fn add_fields(&mut self, gathering: &Gathering, run: &str, root: &Dir) -> Result<(), StoreError> {
        let mut values = Vec::new();
        if let Some(result) = gathering.result(run)?.and_then(|text| serde_json::from_str(&text).ok()) {
            flatten("result".to_owned(), result, &mut |name, value| values.push((name, value)));
        }
        put(gathering, (run, ""), &mut values)?;
        let mut after = 0;
        loop {
            let tasks = gathering.tasks_after(after, PORTION)?;
            let Some((last, _)) = tasks.last() else { return Ok(()) };
            after = *last;
            for (_, task) in &tasks {
                parameters(&task.spec, |name, value| values.push((name, value)));
                if let Some(last) = &task.last {
                    self.read(root, (run, task), last, &mut values);
                }
                put(gathering, (run, &task.task), &mut values)?;
            }
        }
    }

    /// The values of what an attempt left.
    fn read(
        &mut self,
        root: &Dir,
        (run, task): (&str, &GatheredTask),
        last: &GatheredAttempt,
        values: &mut Vec<(String, Value)>,
    ) {
        let mut push = |name, value| values.push((name, value));
        if let Some(data) = returned(&last.id, last.data.as_deref()) {
            flatten("data".to_owned(), data, &mut push);
        }
        for (path, size, sha256) in &last.documents {
            match left_document(root, &format!("{}/{path}", last.directory), (*size, sha256)) {
                Ok(value) => flatten(path.strip_suffix(".json").unwrap_or(path).to_owned(), value, &mut push),
                Err(_) if self.unread.len() == UNREAD_NAMED => self.unread_more += 1,
                Err(why) => self.unread.push(format!("`{path}` of task `{}` in run `{run}` {why}", task.task)),
            }
        }
    }
}

fn put(gathering: &Gathering, (run, task): (&str, &str), values: &mut Vec<(String, Value)>) -> Result<(), StoreError> {
    values.drain(..).try_for_each(|(name, value)| gathering.put_field(run, task, &name, &value))
}

/// Why a run is not added.
enum Refused {
    /// It cannot be read.
    Run(Failure),
    /// What is made of it cannot be written.
    Made(StoreError),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Run(failure)
    }
}

impl From<GatherError> for Refused {
    fn from(error: GatherError) -> Self {
        match error {
            GatherError::Run(error) => Self::Run(error.into()),
            GatherError::Made(error) => Self::Made(error),
        }
    }
}
