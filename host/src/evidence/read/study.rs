//! Whether the parts of a study agree, each of which is as its manifest has it: the bundles with themselves, and what
//! is said of all of them with what they say.
use super::manifest::{Listed, SIGNATURE, parse};
use super::open::Opened;
use super::verify::{Verification, VerifiedRun, VerifiedStudy, What, agree};
use crate::evidence::study::{DOCUMENT, Studied, TABLE, document, write_table};
use crate::failure::Failure;
use crate::ground::digest::Hashing;
use crate::model::evidence::RunRecord;
use crate::replay::Compilers;
use crate::results::{Sheet, documents};
use crate::run::{MANIFEST, RunDir};
use crate::workspace::read_store;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// The largest document of a study, in bytes.
const DOCUMENT_MAX: u64 = 512 * 1024 * 1024;
/// The largest table, in bytes.
const TABLE_MAX: u64 = 1 << 30;
/// Where the bundles are.
const RUNS: &str = "runs/";
/// What the document says of itself, which other versions do otherwise.
const FORMAT: &str = "format";

/// What is read of the document of a study before it is believed.
#[derive(Deserialize)]
struct Told {
    workspace: String,
    runs: Vec<ToldRun>,
    #[serde(default)]
    left_out: Value,
}

#[derive(Deserialize)]
struct ToldRun {
    run_id: String,
}

/// Looks through the bundles of a study in their order, and whether its document and its table say what they say.
pub(super) fn agree_all(
    opened: &Opened,
    listed: &[Listed],
    compiler: Compilers<'_>,
    found: &mut Verification,
) -> Result<(), Failure> {
    let text = opened.read(DOCUMENT, DOCUMENT_MAX)?.unwrap_or_default();
    let (value, told) = match (serde_json::from_slice::<Value>(&text), serde_json::from_slice::<Told>(&text)) {
        (Ok(value), Ok(told)) => (value, told),
        (_, Err(error)) | (Err(error), _) => {
            found.add(DOCUMENT, What::Schema, format!("is no document of a study: {error}"));
            return Ok(());
        }
    };
    if !value[FORMAT].as_str().is_some_and(|format| format.starts_with("matterstack study ")) {
        found.add(DOCUMENT, What::Schema, "does not say that it is the document of a study");
    }
    strays(opened, &told, found);
    let (mut sheet, mut all, mut seen) = (Sheet::of_numbers(), Vec::new(), BTreeSet::new());
    let mut study = VerifiedStudy { workspace: told.workspace.clone(), runs: Vec::new() };
    for run_id in told.runs.iter().map(|run| run.run_id.clone()) {
        if !seen.insert(run_id.clone()) {
            found.add(DOCUMENT, What::Record, format!("has run `{run_id}` twice"));
            continue;
        }
        let folder = format!("{RUNS}{run_id}/");
        let mut of_bundle = Verification::default();
        if let Some(record) = bundle(opened, listed, &folder, &run_id, (compiler, &mut sheet), &mut of_bundle)? {
            all.push(Studied::of(record, run_id.clone()));
        }
        for wrong in of_bundle.wrong {
            found.add(&format!("{folder}{}", wrong.path), wrong.what, wrong.detail);
        }
        study.runs.push(VerifiedRun { run_id, replay: of_bundle.replay });
    }
    found.study = Some(study);
    if found.is_sound() {
        let rows = table(opened, &sheet, found)?;
        let made = document(&told.workspace, &all, &told.left_out, (&sheet, rows));
        if let Some(place) = difference(&value, &made) {
            found.add(DOCUMENT, What::Record, format!("at `{place}`: the bundles say otherwise"));
        }
    }
    Ok(())
}

/// Names files that are no part of a study.
fn strays(opened: &Opened, told: &Told, found: &mut Verification) {
    let runs: BTreeSet<&str> = told.runs.iter().map(|run| run.run_id.as_str()).collect();
    let of_run =
        |name: &str| name.strip_prefix(RUNS).and_then(|rest| rest.split_once('/')).map(|(run, _)| run.to_owned());
    for name in opened.files.iter().map(|file| &file.name) {
        let is_known = match of_run(name) {
            Some(run) => runs.contains(run.as_str()),
            None => [DOCUMENT, TABLE, MANIFEST, SIGNATURE].contains(&name.as_str()),
        };
        if !is_known {
            found.add(name, What::Record, "study.json has nothing that it belongs to");
        }
    }
}

/// Looks through the bundle in a folder of a study, and adds its tasks to the table; returns its run if it is sound.
fn bundle(
    opened: &Opened,
    listed: &[Listed],
    folder: &str,
    run_id: &str,
    (compiler, sheet): (Compilers<'_>, &mut Sheet),
    found: &mut Verification,
) -> Result<Option<RunRecord>, Failure> {
    if opened.below(folder).is_empty() {
        found.add(MANIFEST, What::Missing, "study.json has the run, and there is no bundle of it");
        return Ok(None);
    }
    let mut inner = opened.within(folder)?;
    if inner.find(MANIFEST).is_none() {
        found.add(MANIFEST, What::Missing, "the bundle has none");
        return Ok(None);
    }
    if inner.is_study() {
        found.add(DOCUMENT, What::Record, "a study lies where a bundle belongs");
        return Ok(None);
    }
    match parse(&inner.manifest_and_signature()?.0) {
        Err(why) => found.add(MANIFEST, What::Manifest, why),
        Ok(own) => compare_lines(&own, listed, folder, found),
    }
    if !found.is_sound() {
        return Ok(None);
    }
    agree(&mut inner, compiler, found)?;
    if let Some(other) = found.run_id.as_ref().filter(|other| *other != run_id) {
        found.add("state.sqlite", What::Record, format!("is the record of run `{other}`"));
    }
    if !found.is_sound() {
        return Ok(None);
    }
    let dir = RunDir::named(inner.dir().root(), run_id);
    let (store, mut wanted) = (read_store(&dir)?, BTreeSet::new());
    documents(&store, |sha256| {
        wanted.insert(format!("files/{sha256}"));
    })?;
    inner.unpack(&|name| wanted.contains(name) && !dir.join(name).exists())?;
    sheet.add(&dir, &store)?;
    Ok(Some(store.snapshot(|view| view.run())?))
}

/// Compares the manifest of a bundle with what that of the study says of the same files, which are as it says.
fn compare_lines(own: &[Listed], listed: &[Listed], folder: &str, found: &mut Verification) {
    let begin = listed.partition_point(|line| line.path.as_str() < folder);
    let there = listed[begin..].iter().map_while(|line| Some((line.path.strip_prefix(folder)?, line.sha256.as_str())));
    let mut there: BTreeMap<&str, &str> = there.collect();
    there.retain(|path, _| ![MANIFEST, SIGNATURE].contains(path));
    for Listed { path, sha256 } in own {
        let by_name = path.strip_prefix("files/").unwrap_or(sha256);
        match there.remove(path.as_str()) {
            None => found.add(path, What::Missing, format!("the manifest of its bundle has it with SHA-256 {sha256}")),
            Some(other) if other != sha256 || by_name != sha256 => {
                found.add(path, What::Altered, format!("its SHA-256 is {other}, and its bundle has {sha256}"));
            }
            Some(_) => {}
        }
    }
    there.keys().for_each(|path| found.add(path, What::Added, "the manifest of its bundle does not name it"));
}

/// Compares the table of a study with the one that its bundles make; returns how many rows that has.
fn table(opened: &Opened, sheet: &Sheet, found: &mut Verification) -> Result<u64, Failure> {
    let mut hashing = Hashed(Hashing::new());
    let rows = write_table(sheet, &mut hashing)?;
    let Some(at) = opened.find(TABLE) else {
        found.add(TABLE, What::Missing, "a study has one");
        return Ok(rows);
    };
    if opened.digest(at).is_ok_and(|sha256| sha256 == hashing.0.finish()) {
        return Ok(rows);
    }
    let told = opened.read(TABLE, TABLE_MAX)?.unwrap_or_default();
    let mut comparing = Comparing { told: &told, line: 1, differs: false };
    write_table(sheet, &mut comparing)?;
    found.add(TABLE, What::Record, format!("line {}: the bundles say otherwise", comparing.line));
    Ok(rows)
}

/// Where a document says otherwise than one that was made anew; what only it has is passed over.
fn difference(told: &Value, made: &Value) -> Option<String> {
    match (told, made) {
        (Value::Object(told), Value::Object(made)) => {
            made.iter().filter(|(key, _)| *key != FORMAT).find_map(|(key, made)| {
                let deeper = told.get(key).map_or(Some(String::new()), |told| difference(told, made));
                deeper.map(|deeper| format!("/{key}{deeper}"))
            })
        }
        (Value::Array(told), Value::Array(made)) if told.len() == made.len() => {
            let mut pairs = told.iter().zip(made).enumerate();
            pairs.find_map(|(at, (told, made))| difference(told, made).map(|deeper| format!("/{at}{deeper}")))
        }
        _ => (told != made).then(String::new),
    }
}

/// Takes the digest of what is written.
struct Hashed(Hashing);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Finds the first line of a text that is not what is written.
struct Comparing<'a> {
    told: &'a [u8],
    line: usize,
    differs: bool,
}

impl Write for Comparing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.differs |= self.told.first() != Some(byte);
            if self.differs {
                break;
            }
            self.line += usize::from(*byte == b'\n');
            self.told = &self.told[1..];
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
