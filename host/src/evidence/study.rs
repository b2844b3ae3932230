//! A study: a bundle for every run of a workspace, and one table of their results. It is written aside and put in place
//! when it is whole, and holds no time of its own: while no run changes, neither does a byte.
use super::archive;
use super::contents::listed;
use super::draft::Draft;
use crate::failure::{Failure, FailureKind};
use crate::ground::digest::digest;
use crate::ground::machine;
use crate::model::code::Word;
use crate::model::document::sha256;
use crate::model::evidence::RunRecord;
use crate::model::result::Summary;
use crate::model::schema::study_format;
use crate::model::states::{RunState, TaskCounts};
use crate::model::time::Time;
use crate::results::{Sheet, plain, write_csv};
use crate::run::{MANIFEST, RunDir};
use crate::workspace::read_store;
use serde::Serialize;
use serde_json::{Value, json};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// What tells a study from other folders.
pub(super) const DOCUMENT: &str = "study.json";
pub(super) const TABLE: &str = "table.csv";
/// The column that says where attempts lay on the machine; files of a bundle lie elsewhere.
const PATH: &str = "path";

/// A study that was written.
#[derive(Debug, Default)]
pub struct Study {
    /// The runs that are in it.
    pub runs: Vec<Studied>,
    /// Those that are not, each with the reason.
    pub left_out: Vec<(RunDir, String)>,
    /// How many tasks the table has.
    pub rows: u64,
    /// Outputs whose numbers are missing in it, each with the reason; the first of them.
    pub unread: Vec<String>,
    /// How many more of those there are.
    pub unread_more: u64,
    /// Whether there are numbers beyond the columns that a table has.
    pub are_more: bool,
    /// SHA-256 of the manifest, which has the digest of every other file.
    pub sha256: String,
    /// Whether the study that it took the place of was signed, and this one is another.
    pub unsigned: bool,
}

/// A run as the document has it; what more there is stands in its bundle.
#[derive(Debug, Serialize)]
pub struct Studied {
    /// The run's id.
    pub run_id: String,
    /// What a person calls it.
    pub label: Option<String>,
    /// Where it stands.
    pub state: RunState,
    /// Why, for a program.
    pub reason_code: Option<Word>,
    /// Why, for a person.
    pub reason: Option<String>,
    /// Whether it has ended.
    pub complete: bool,
    /// The current iteration.
    pub iteration: u32,
    /// How many tasks are in each state.
    pub tasks: TaskCounts,
    /// When it was made.
    pub created_at: Time,
    /// When it ended.
    pub ended_at: Option<Time>,
    /// SHA-256 of its config.json.
    pub config_sha256: String,
    /// How far the campaign has come, in its own words.
    pub summary: Option<Summary>,
    /// The campaign's result, once it completed.
    pub result: Option<Value>,
    /// Its bundle, relative to the study.
    pub path: String,
}

impl Studied {
    pub(super) fn of(run: RunRecord, id: String) -> Self {
        Self {
            path: format!("runs/{id}"),
            run_id: id,
            label: run.label,
            state: run.state,
            reason_code: run.reason_code,
            reason: run.reason,
            complete: run.state.ended(),
            iteration: run.iteration,
            tasks: run.tasks,
            created_at: run.created_at,
            ended_at: run.ended_at,
            config_sha256: run.config_sha256,
            summary: run.summary,
            result: run.result,
        }
    }
}

/// Writes a study of runs to `out`, in the place of an earlier one; `bundle` writes the bundle of a run into a folder
/// that is not there yet.
///
/// # Errors
/// If something else is at `out`, or it cannot be written; then what was there is as it was.
pub fn write_study(
    workspace: &str,
    runs: &[RunDir],
    out: &Path,
    bundle: impl FnMut(&RunDir, &Path) -> Result<RunRecord, Failure>,
) -> Result<Study, Failure> {
    let draft = Draft::begin(out, DOCUMENT)?;
    let mut study = fill(workspace, runs, &draft, bundle)?;
    study.unsigned = draft.put_in_place()?;
    Ok(study)
}

/// As [`write_study`], as one zip.
///
/// # Errors
/// As there, or if there is a file that is no zip of a study.
pub fn write_study_archive(
    workspace: &str,
    runs: &[RunDir],
    out: &Path,
    bundle: impl FnMut(&RunDir, &Path) -> Result<RunRecord, Failure>,
) -> Result<Study, Failure> {
    archive::refuse_other(out, DOCUMENT)?;
    let draft = Draft::aside(out.to_owned())?;
    let mut study = fill(workspace, runs, &draft, bundle)?;
    study.unsigned = archive::put_in_place(&draft, out)?;
    Ok(study)
}

fn fill(
    workspace: &str,
    runs: &[RunDir],
    draft: &Draft,
    mut bundle: impl FnMut(&RunDir, &Path) -> Result<RunRecord, Failure>,
) -> Result<Study, Failure> {
    let (root, failed) = (draft.path(), |error| draft.failed(error));
    let mut study = Study::default();
    let mut sheet = Sheet::of_numbers();
    fs::create_dir_all(root.join("runs")).map_err(failed)?;
    for dir in runs {
        let folder = root.join("runs").join(dir.id());
        // the table says what the bundle says, and nothing that is left out of that
        let shown = RunDir::named(&folder, &dir.id());
        let added = bundle(dir, &folder).and_then(|run| sheet.add(&shown, &read_store(&shown)?).map(|()| run));
        match added {
            Ok(run) => study.runs.push(Studied::of(run, dir.id())),
            // no room for one is none for the others
            Err(failure) if is_trouble(&failure) => return Err(failure),
            Err(failure) => {
                study.left_out.push((dir.clone(), failure.to_string()));
                fs::remove_dir_all(&folder).or_else(is_gone).map_err(failed)?;
            }
        }
    }
    let mut table = BufWriter::new(File::create_new(root.join(TABLE)).map_err(failed)?);
    study.rows = write_table(&sheet, &mut table)?;
    table.into_inner().map_err(|error| failed(error.into_error()))?;
    let left_out = study.left_out.iter().map(|(dir, reason)| json!({"run_id": dir.id(), "reason": reason})).collect();
    let document = document(workspace, &study.runs, &left_out, (&sheet, study.rows));
    let text = serde_json::to_string_pretty(&document).map_err(|error| failed(error.into()))?;
    fs::write(root.join(DOCUMENT), text + "\n").map_err(failed)?;
    let (unread, more) = sheet.unread();
    (study.unread, study.unread_more, study.are_more) = (unread.to_vec(), more, sheet.are_more());
    study.sha256 = write_manifest(&root).map_err(failed)?;
    Ok(study)
}

/// Whether the disk is the reason, and not the run.
fn is_trouble(failure: &Failure) -> bool {
    let of_disk = |error: &(dyn Error + 'static)| error.downcast_ref().is_some_and(machine::is_trouble);
    failure.kind == FailureKind::Disk || failure.causes().any(of_disk)
}

fn is_gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Writes a row for every task of every run; returns how many there are.
pub(super) fn write_table(sheet: &Sheet, out: impl Write) -> Result<u64, Failure> {
    let columns = sheet.columns();
    let kept: Vec<usize> = (0..columns.len()).filter(|at| columns[*at].name != PATH).collect();
    let heading = kept.iter().map(|at| columns[*at].name.to_owned()).collect();
    let mut count = 0;
    let rows = sheet.rows().map(|cells| {
        count += 1;
        kept.iter().map(|at| plain(cells[*at])).collect()
    });
    write_csv(std::iter::once(heading).chain(rows), out)?;
    Ok(count)
}

/// The document of a study.
pub(super) fn document(workspace: &str, runs: &[Studied], left_out: &Value, (sheet, rows): (&Sheet, u64)) -> Value {
    json!({
        "format": study_format(), "workspace": workspace, "complete": runs.iter().all(|run| run.complete),
        "runs": runs, "left_out": left_out, "table": {"path": TABLE, "rows": rows, "whole": !sheet.are_more()},
    })
}

/// Writes the digest of every other file, as `sha256sum` does; returns the digest of that.
fn write_manifest(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    walk(root, "", &mut files)?;
    files.sort();
    let mut text = String::new();
    for name in files {
        let (sha256, _) = digest(&mut File::open(root.join(&name))?)?;
        text += &listed(&name, &sha256);
    }
    let mut file = File::create(root.join(MANIFEST))?;
    file.write_all(text.as_bytes())?;
    Ok(sha256(text.as_bytes()))
}

fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| io::Error::other(format!("{name:?} is no text in UTF-8")))?;
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &format!("{path}/"), files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
