//! Bundles kits into one archive for a person to carry.
use crate::failure::Failure;
use crate::ground::digest::Hashed;
use crate::ground::files::{open_regular_path, read_regular};
use crate::ground::words::positional;
use crate::model::workflow::stays_inside;
use crate::run::RunDir;
use crate::run::outside_command;
use crate::store::{AttemptRow, Store};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// The largest manifest of a kit, in bytes.
const MANIFEST_MAX: u64 = 64 * 1024 * 1024;

/// Packs the returns of all kits of a bundle.
const RETURN_ALL: &str = r#"#!/bin/sh
# Packs what every kit in this folder left, where its job has ended; may be run again for the others.
cd "$(dirname "$0")" || exit 2
for kit in kit-*/; do
    if [ -f "$kit/status.json" ]; then
        sh "$kit/return.sh" >/dev/null && mv "$kit"/return-*.tar.gz . || echo "return-all.sh: $kit could not be packed" >&2
    else
        echo "return-all.sh: $kit has not ended" >&2
    fi
done
ls return-*.tar.gz
"#;

/// What was bundled.
#[derive(Debug, Serialize)]
pub struct Exported {
    /// The bundle.
    pub path: PathBuf,
    /// The tasks whose kits it holds.
    pub tasks: Vec<String>,
}

#[derive(Deserialize)]
struct Manifest {
    name: String,
    files: BTreeMap<String, FileOf>,
}

#[derive(Deserialize)]
struct FileOf {
    sha256: String,
    size: u64,
    #[serde(default)]
    executable: bool,
}

/// A kit found in an attempt directory.
struct Found {
    task: String,
    directory: PathBuf,
    manifest: Manifest,
    manifest_text: Vec<u8>,
}

/// Bundles the kits of these tasks, or of every task that waits for one, into `out`.
///
/// # Errors
/// If a task has no kit, a kit was changed since it was made, or `out` exists or cannot be written.
pub fn export(dir: &RunDir, store: &Store, tasks: &[String], out: &Path) -> Result<Exported, Failure> {
    let mut found = Vec::new();
    for attempt in chosen(dir, store, tasks)? {
        found.extend(kit_of(dir, &attempt, !tasks.is_empty())?);
    }
    if found.is_empty() {
        return Err(Failure::input(format!("no task of run `{}` waits for a kit", dir.address()))
            .hint(format!("`matterstack explain {}` says what the tasks wait for", dir.address())));
    }
    let cannot = |error: io::Error| Failure::machine(format!("`{}` cannot be written", out.display()), error);
    if out.symlink_metadata().is_ok() {
        return Err(Failure::input(format!("`{}` exists already", out.display())).hint("name another with --out FILE"));
    }
    let aside = out.with_file_name(format!(".{}.part", crate::ground::random::new_attempt_id()));
    let made = crate::ground::files::new_file(&aside).map_err(cannot).and_then(|file| {
        bundle(&dir.id(), &found, file)?;
        std::fs::hard_link(&aside, out).or_else(|_| std::fs::rename(&aside, out)).map_err(cannot)
    });
    // What could not be finished is of no use, and what was has its own name by now.
    let _ = std::fs::remove_file(&aside);
    made?;
    Ok(Exported { path: out.to_owned(), tasks: found.into_iter().map(|kit| kit.task).collect() })
}

fn chosen(dir: &RunDir, store: &Store, tasks: &[String]) -> Result<Vec<AttemptRow>, Failure> {
    if tasks.is_empty() {
        return Ok(store.live_attempts(u32::MAX)?);
    }
    let mut attempts = Vec::with_capacity(tasks.len());
    for task in tasks {
        let row = store.task(task)?.ok_or_else(|| {
            Failure::input(format!("the run has no task `{task}`"))
                .hint(format!("`matterstack tasks {}` lists them", dir.address()))
        })?;
        let live = store.attempts(row.key)?.pop().filter(|attempt| !attempt.state.ended());
        attempts.push(live.ok_or_else(|| {
            Failure::input(format!("task `{task}` is {} and has no kit out", row.state)).hint(format!(
                "`matterstack explain {} {}` says why",
                dir.address(),
                positional(task)
            ))
        })?);
    }
    Ok(attempts)
}

/// The kit in an attempt directory; where one is `wanted` it must be there.
fn kit_of(dir: &RunDir, attempt: &AttemptRow, wanted: bool) -> Result<Option<Found>, Failure> {
    let (task, directory) = (attempt.task_id.clone(), dir.join(&attempt.directory));
    let ready = open_regular_path(&directory.join("kit.tar.gz")).is_ok();
    let directory = directory.join("kit");
    let Some(manifest_text) = read_regular(&directory.join("manifest.json"), MANIFEST_MAX)
        .map_err(|error| Failure::machine(format!("the manifest of the kit of task `{task}`"), error))?
        .filter(|_| ready)
    else {
        if !wanted {
            return Ok(None);
        }
        let command = outside_command(attempt.waits_for.as_ref(), dir.address(), &task);
        return Err(Failure::input(format!("task `{task}` has no kit")).hint(format!("try `{command}`")));
    };
    let manifest: Manifest = serde_json::from_slice(&manifest_text).map_err(|error| {
        Failure::input(format!("the manifest of the kit of task `{task}` is damaged")).because(error)
    })?;
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !manifest.name.starts_with("kit-")
        || !manifest.name.chars().all(fine)
        || !manifest.files.keys().all(|path| stays_inside(path))
    {
        return Err(Failure::input(format!("the manifest of the kit of task `{task}` is damaged")).hint(format!(
            "`matterstack rerun {} {}` makes the kit again",
            dir.address(),
            positional(&task)
        )));
    }
    Ok(Some(Found { task, directory, manifest, manifest_text }))
}

fn bundle(run: &str, kits: &[Found], file: File) -> Result<(), Failure> {
    let top = format!("kits-{run}");
    let packing = |error: io::Error| Failure::machine("packing the kits", error);
    let mut builder = Builder::new(GzEncoder::new(io::BufWriter::new(file), Compression::default()));
    add(&mut builder, &format!("{top}/README.md"), readme(run, kits).as_bytes()).map_err(packing)?;
    add(&mut builder, &format!("{top}/return-all.sh"), RETURN_ALL.as_bytes()).map_err(packing)?;
    for kit in kits {
        let folder = format!("{top}/{}", kit.manifest.name);
        add_folder(&mut builder, &format!("{folder}/work")).map_err(packing)?;
        add(&mut builder, &format!("{folder}/manifest.json"), &kit.manifest_text).map_err(packing)?;
        for (path, expected) in &kit.manifest.files {
            let changed = |why: &str| {
                Failure::input(format!("file `{path}` of the kit of task `{}` {why}", kit.task)).hint(format!(
                    "the kit must go out as it was made; `matterstack rerun {run} {}` makes it again",
                    positional(&kit.task)
                ))
            };
            let source = open_regular_path(&kit.directory.join(path))
                .map_err(|error| changed("cannot be read").because(error))?;
            if source.metadata().map_err(packing)?.len() != expected.size {
                return Err(changed("was changed"));
            }
            let mut source = Hashed::new(source, expected.size);
            let mut header = header(EntryType::Regular, expected.size, expected.executable);
            builder.append_data(&mut header, format!("{folder}/{path}"), &mut source).map_err(packing)?;
            if source.finish() != expected.sha256 {
                return Err(changed("was changed"));
            }
        }
    }
    let finish = || {
        let file = builder.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    };
    finish().map_err(packing)
}

fn header(kind: EntryType, size: u64, executable: bool) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if executable || kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_size(size);
    header
}

type Packer = Builder<GzEncoder<io::BufWriter<File>>>;

fn add(builder: &mut Packer, path: &str, bytes: &[u8]) -> io::Result<()> {
    builder.append_data(&mut header(EntryType::Regular, bytes.len() as u64, path.ends_with(".sh")), path, bytes)
}

fn add_folder(builder: &mut Packer, path: &str) -> io::Result<()> {
    builder.append_data(&mut header(EntryType::Directory, 0, true), path, io::empty())
}

fn readme(run: &str, kits: &[Found]) -> String {
    let list: String = kits.iter().map(|kit| format!("- `{}`\n", kit.manifest.name)).collect();
    format!(
        "# Kits of run {run}\n\n{list}\n1. Carry this folder to the cluster.\n2. In each kit's folder, give `job.sh` to the \
         scheduler; its README.md says how.\n3. When jobs have ended: `sh return-all.sh` makes a `return-*.tar.gz` for each.\n\
         4. Carry those home: `matterstack kit import return-*.tar.gz`.\n"
    )
}
