//! Takes the return of a kit: survey, check, unpack aside, verify, and only then put it where the operator looks.
use super::sums;
use super::survey::{self, Refusal};
use crate::failure::Failure;
use crate::ground::carriage::allow_to_execute;
use crate::ground::digest::{Hashing, PIECE};
use crate::ground::files::{lock, put};
use crate::ground::files::{open_regular_path, read_regular};
use crate::ground::words::positional;
use crate::model::document::sha256;
use crate::model::workflow::stays_inside;
use crate::run::RunDir;
use crate::run::Signature;
use crate::store::{AttemptRow, Store};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use tar::Archive;

/// The largest `RETURN`, in bytes.
const RETURN_MAX: u64 = 4 * 1024;
/// The largest `SHA256SUMS`, in bytes.
const SUMS_MAX: u64 = 64 * 1024 * 1024;

/// A return that has been taken.
#[derive(Debug, Serialize)]
pub struct Imported {
    /// The run.
    pub run_id: String,
    /// The task.
    pub task: String,
    /// The attempt.
    pub attempt_id: String,
    /// Files in the return.
    pub files: u64,
    /// Whether the same return had been imported before, so that nothing was done.
    pub repeated: bool,
}

/// What `RETURN` says.
#[derive(Debug, Default)]
struct Claim {
    run: String,
    attempt: String,
    seal: String,
}

/// `import.json`: which return was taken, and who brought it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    seal: String,
    #[serde(flatten)]
    by: Signature,
}

/// The attempt that a return claims.
struct Target {
    run: RunDir,
    attempt: AttemptRow,
    token: String,
}

/// Takes one return. `runs` gives the runs with an id; `bytes_max` is what a return may unpack to.
///
/// # Errors
/// If the file is no whole and unaltered return of a kit that is out; the message names the file. Then nothing was
/// taken.
pub fn import(
    file: &Path,
    runs: &dyn Fn(&str) -> Result<Vec<RunDir>, Failure>,
    bytes_max: u64,
    reason: Option<&str>,
    now_ms: i64,
) -> Result<Imported, Failure> {
    let opened = open_regular_path(file)
        .map_err(|error| Failure::input(format!("return `{}` cannot be read", file.display())).because(error))?;
    survey::survey(&opened, bytes_max).map_err(|refusal| refused(file, refusal))?;
    let decoder = survey::decoder(&opened).map_err(|error| broken(file, error))?;
    let mut archive = Archive::new(decoder);
    let mut entries = archive.entries().map_err(|error| broken(file, error))?;
    let claim = claim(file, &mut entries)?;
    let target = target(file, &claim, runs)?;
    let directory = target.run.join(&target.attempt.directory);
    let written = |error: io::Error| Failure::machine(format!("`{}` cannot be written", directory.display()), error);
    let _lock = lock(&directory.join(".import.lock")).map_err(written)?;
    let mut imported = Imported {
        run_id: target.run.id(),
        task: target.attempt.task_id.clone(),
        attempt_id: target.attempt.id.clone(),
        files: 0,
        repeated: false,
    };
    if taken_before(file, &target, &directory, &claim)? {
        imported.repeated = true;
        return Ok(imported);
    }
    let sums = sealed_sums(file, &mut entries, &claim, &target.token)?;
    imported.files = sums.len() as u64;
    let aside = directory.join(format!(".import.{}", crate::ground::random::new_attempt_id()));
    let done = fs::create_dir(&aside).map_err(written).and_then(|()| {
        unpack(file, &mut entries, sums, &aside)?;
        let by = Signature::of(claim.seal.as_bytes(), reason, now_ms);
        put_in_place(&aside, &directory, &Record { seal: claim.seal, by }).map_err(written)
    });
    // What was unpacked and not put in place is still in the archive.
    let _ = fs::remove_dir_all(&aside);
    done.map(|()| imported)
}

fn broken(file: &Path, error: io::Error) -> Failure {
    refused(file, Refusal::Truncated(error.to_string()))
}

fn refused(file: &Path, refusal: Refusal) -> Failure {
    let name = file.display();
    match refusal {
        Refusal::Truncated(why) => Failure::input(format!("return `{name}` is truncated or damaged"))
            .because(why)
            .hint("copy it again, and compare its size with the original's"),
        Refusal::Foreign(why) => Failure::input(format!("`{name}` is not the return of a kit"))
            .because(why)
            .hint("the `return.sh` of a kit makes the file that is imported"),
        Refusal::TooLarge(why) => Failure::input(format!("return `{name}` is too large"))
            .because(why)
            .hint("if it is meant to be, raise the limit with --max-mb"),
    }
}

type Decoder = flate2::read::GzDecoder<io::BufReader<File>>;
type Entries<'a> = tar::Entries<'a, Decoder>;

/// The next file of the archive: its path below the top folder, and a reader of its content.
fn next_file<'a>(file: &Path, entries: &mut Entries<'a>) -> Result<Option<(String, tar::Entry<'a, Decoder>)>, Failure> {
    for entry in entries {
        let entry = entry.map_err(|error| broken(file, error))?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let path = String::from_utf8(entry.path_bytes().into_owned())
            .map_err(|_| refused(file, Refusal::Foreign("it has a file name that is not UTF-8".to_owned())))?;
        let escapes = || refused(file, Refusal::Foreign(format!("`{path}` leaves its folder")));
        let (top, rest) = path.split_once('/').ok_or_else(escapes)?;
        if !stays_inside(top) || !stays_inside(rest) {
            return Err(escapes());
        }
        return Ok(Some((rest.to_owned(), entry)));
    }
    Ok(None)
}

/// The text of the next file, which must have this name.
fn expect(file: &Path, entries: &mut Entries<'_>, name: &str, max: u64) -> Result<String, Failure> {
    let missing = || refused(file, Refusal::Foreign(format!("`{name}` is not where it belongs")));
    let (path, entry) = next_file(file, entries)?.ok_or_else(missing)?;
    if path != name {
        return Err(missing());
    }
    let mut text = String::new();
    entry.take(max + 1).read_to_string(&mut text).map_err(|error| broken(file, error))?;
    if text.len() as u64 > max {
        return Err(refused(file, Refusal::TooLarge(format!("`{name}` has more than {max} bytes"))));
    }
    Ok(text)
}

fn claim(file: &Path, entries: &mut Entries<'_>) -> Result<Claim, Failure> {
    let text = expect(file, entries, "RETURN", RETURN_MAX)?;
    let mut claim = Claim::default();
    let mut format = "";
    for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
        match key {
            "format" => format = value,
            "run" => value.clone_into(&mut claim.run),
            "attempt" => value.clone_into(&mut claim.attempt),
            "seal" => value.clone_into(&mut claim.seal),
            _ => {}
        }
    }
    if format != "matterstack-return-1" || claim.run.is_empty() || claim.attempt.is_empty() {
        return Err(refused(file, Refusal::Foreign("`RETURN` does not say whose it is".to_owned())));
    }
    Ok(claim)
}

/// Finds the attempt that the return claims, with the token that its operator gave it.
fn target(file: &Path, claim: &Claim, runs: &dyn Fn(&str) -> Result<Vec<RunDir>, Failure>) -> Result<Target, Failure> {
    for run in runs(&claim.run)? {
        let store = Store::read(&run.database())?;
        let Some(attempt) = store.attempt(&claim.attempt)? else { continue };
        let handle: Option<Value> = attempt.handle.as_deref().and_then(|handle| serde_json::from_str(handle).ok());
        let token = handle.as_ref().and_then(|handle| handle.get("token")?.as_str()).map(str::to_owned);
        if let Some(token) = token {
            return Ok(Target { run, attempt, token });
        }
    }
    let (run, attempt) = (&claim.run, &claim.attempt);
    Err(Failure::input(format!(
        "return `{}` is foreign: it belongs to attempt `{attempt}` of run `{run}`, which gave out no kit here",
        file.display()
    ))
    .hint("give the workspaces root with --workspaces DIR, or the run itself with --run RUN"))
}

/// Whether this return was taken before; an attempt that is over, or has another answer, takes none.
fn taken_before(file: &Path, target: &Target, directory: &Path, claim: &Claim) -> Result<bool, Failure> {
    let record = read_regular(&directory.join("import.json"), 64 * 1024).ok().flatten();
    let record: Option<Record> = record.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let there = directory.join("status.json").symlink_metadata().is_ok();
    let (name, task) = (file.display(), &target.attempt.task_id);
    let again = format!("`matterstack rerun {} {}` makes a new kit", target.run.address(), positional(task));
    match record {
        Some(record) if record.seal == claim.seal && (there || target.attempt.state.ended()) => Ok(true),
        Some(record) if there || target.attempt.state.ended() => {
            let what =
                format!("return `{name}` comes second: another one of task `{task}` was imported by {}", record.by);
            Err(Failure::input(what).hint(again))
        }
        _ if target.attempt.state.ended() => {
            let state = target.attempt.state;
            Err(Failure::input(format!("return `{name}` comes too late: the attempt of task `{task}` is {state}"))
                .hint(again))
        }
        _ if there => {
            let what = format!(
                "return `{name}` is not needed: somebody has put `status.json` into the attempt of task `{task}`"
            );
            Err(Failure::input(what).hint(format!("`matterstack step {}` takes it", target.run.address())))
        }
        _ => Ok(false),
    }
}

/// The digests of the files, whose seal proves that they were made with this attempt's token.
fn sealed_sums(
    file: &Path,
    entries: &mut Entries<'_>,
    claim: &Claim,
    token: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    let text = expect(file, entries, "SHA256SUMS", SUMS_MAX)?;
    if sha256(format!("{token}\n{text}").as_bytes()) != claim.seal {
        let what = format!("return `{}` is altered, or was made with the kit of another attempt", file.display());
        return Err(Failure::input(what)
            .because("its seal does not fit `SHA256SUMS` and the token of the attempt")
            .hint("run `return.sh` again in the folder of the kit"));
    }
    sums::read(&text)
        .ok_or_else(|| refused(file, Refusal::Foreign("`SHA256SUMS` is not what `sha256sum` writes".to_owned())))
}

/// Unpacks and verifies every file below `files/` into the directory `aside`.
fn unpack(
    file: &Path,
    entries: &mut Entries<'_>,
    mut sums: BTreeMap<String, String>,
    aside: &Path,
) -> Result<(), Failure> {
    let altered = |path: &str, why: &str| {
        Failure::input(format!("return `{}` is altered: `{path}` {why}", file.display()))
            .hint("run `return.sh` again in the folder of the kit, and copy the file again")
    };
    let writing = |error: io::Error| Failure::machine(format!("`{}` cannot be written", aside.display()), error);
    let root = Dir::open_ambient_dir(aside, ambient_authority()).map_err(writing)?;
    while let Some((path, mut entry)) = next_file(file, entries)? {
        let expected = sums.remove(&path).ok_or_else(|| altered(&path, "is not listed in `SHA256SUMS`"))?;
        let inside = path.strip_prefix("files/").ok_or_else(|| altered(&path, "is not below `files/`"))?;
        if let Some(parent) = Path::new(inside).parent().filter(|parent| !parent.as_os_str().is_empty()) {
            root.create_dir_all(parent).map_err(writing)?;
        }
        let mut options = cap_std::fs::OpenOptions::new();
        let mut copy = root.open_with(inside, options.write(true).create_new(true)).map_err(writing)?;
        let (mut hashing, mut buffer) = (Hashing::new(), vec![0_u8; PIECE]);
        loop {
            let read = entry.read(&mut buffer).map_err(|error| broken(file, error))?;
            if read == 0 {
                break;
            }
            hashing.update(&buffer[..read]);
            copy.write_all(&buffer[..read]).map_err(writing)?;
        }
        if hashing.finish() != expected {
            return Err(altered(&path, "does not have its digest"));
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
        allow_to_execute(&copy, executable).map_err(writing)?;
        copy.sync_all().map_err(writing)?;
    }
    match sums.into_keys().next() {
        Some(path) => Err(altered(&path, "is missing")),
        None if !aside.join("status.json").is_file() => Err(altered("files/status.json", "is missing")),
        None => Ok(()),
    }
}

/// Puts a verified return where the operator looks; `status.json`, which ends the attempt, comes last.
fn put_in_place(aside: &Path, directory: &Path, record: &Record) -> io::Result<()> {
    let status = read_regular(&aside.join("status.json"), u64::MAX)?.unwrap_or_default();
    for entry in fs::read_dir(aside)? {
        let entry = entry?;
        if entry.file_name() == "status.json" {
            continue;
        }
        let to = directory.join(entry.file_name());
        if to.symlink_metadata().is_ok() {
            keep_replaced(&to)?;
        }
        fs::rename(entry.path(), &to)?;
    }
    let text = serde_json::to_string(record)? + "\n";
    put(&directory.join("import.json"), text.as_bytes(), true)?;
    crate::ground::failpoint::hit("import.status");
    put(&directory.join("status.json"), &status, false)
}

/// Renames what a person, or an import that was cut short, had put there: `output.replaced-1`.
fn keep_replaced(path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for number in 1_u64.. {
        let kept = path.with_file_name(format!("{name}.replaced-{number}"));
        if kept.symlink_metadata().is_err() {
            return fs::rename(path, kept);
        }
    }
    Ok(())
}
