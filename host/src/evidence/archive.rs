//! A folder as one zip that is the same for the same folder: sorted, with one time and one mode for all.
use super::draft::{Draft, hidden};
use super::read::{Opened, SIGNATURE};
use crate::failure::Failure;
use crate::ground::files::new_file;
use crate::run::MANIFEST;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Refuses to replace what is no zip of the kind that has a file `mark`: somebody's own would be lost.
pub(super) fn refuse_other(out: &Path, mark: &str) -> Result<(), Failure> {
    let shown = out.display();
    match std::fs::metadata(out) {
        Ok(found) if !found.is_file() => Err(Failure::input(format!("`{shown}` is not a file"))),
        Ok(found) if found.len() > 0 && !Opened::open(out).is_ok_and(|earlier| earlier.has(mark)) => {
            let what = format!("`{shown}` exists and is no zip of what is to be written there");
            Err(Failure::input(what).hint("name a new file: whatever is in this one would be replaced"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Packs what is written into a zip, which is put in place whole. Returns whether the one that was there was signed and
/// this one is not, since it is another.
pub(super) fn put_in_place(draft: &Draft, out: &Path) -> Result<bool, Failure> {
    let kept = keep_signature(draft, out).map_err(|error| draft.failed(error))?;
    pack(&draft.path(), out).map_err(|error| draft.failed(error))?;
    Ok(kept == Some(false))
}

/// Takes over the signature of the zip that is there, where what is signed has not changed by a byte; nothing if it has
/// none.
fn keep_signature(draft: &Draft, out: &Path) -> io::Result<Option<bool>> {
    // one that cannot be opened is none of ours
    let earlier = out.is_file().then(|| Opened::open(out).ok()).flatten();
    let Some((manifest, signature)) = earlier.and_then(|earlier| earlier.manifest_and_signature().ok()) else {
        return Ok(None);
    };
    let Some(signature) = signature else { return Ok(None) };
    let is_same = std::fs::read(draft.path().join(MANIFEST))? == manifest;
    if is_same {
        std::fs::write(draft.path().join(SIGNATURE), signature)?;
    }
    Ok(Some(is_same))
}

/// Packs every file below a folder into a zip, which is put in place whole.
fn pack(folder: &Path, out: &Path) -> io::Result<()> {
    let part = hidden(out, "zip");
    // what an earlier one left goes; a link that lies there is not followed
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let packed = pack_into(folder, &part).and_then(|()| std::fs::rename(&part, out));
    if packed.is_err() {
        // half a zip is of no use to anybody
        let _ = std::fs::remove_file(&part);
    }
    packed
}

/// How every file is packed.
pub(super) fn options() -> SimpleFileOptions {
    // the earliest time that a zip can tell
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644)
}

fn pack_into(folder: &Path, part: &Path) -> io::Result<()> {
    let mut zip = ZipWriter::new(BufWriter::with_capacity(256 * 1024, new_file(part)?));
    let options = options();
    let mut buffer = vec![0; 256 * 1024];
    for path in paths(folder)? {
        let mut file = File::open(folder.join(&path))?;
        let large = file.metadata()?.len() >= u64::from(u32::MAX);
        zip.start_file(path.to_string_lossy(), options.large_file(large))?;
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            zip.write_all(&buffer[..count])?;
        }
    }
    let out = zip.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    out.sync_all()
}

/// Every file below a folder, by its path in it, sorted.
fn paths(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(within) = open.pop() {
        for entry in std::fs::read_dir(folder.join(&within))? {
            let entry = entry?;
            let path = within.join(entry.file_name());
            if entry.file_type()?.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}
