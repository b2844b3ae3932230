//! Supervisors that keep a file system busy which is of no use any more. They stand in no run that could be looked at,
//! so they are looked for among this user's processes.
use crate::ground::files::probe;
use crate::ground::machine;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A supervisor whose run lies where nothing can be done any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrandedSupervisor {
    /// Its process.
    pub pid: i32,
    /// The run's directory, as it was reached.
    pub directory: PathBuf,
    /// What is wrong with it.
    pub trouble: Stranding,
}

/// What is wrong with the directory of a stranded supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranding {
    /// Its file system takes no writes any more.
    DiskGaveUp,
    /// Something else, or nothing, lies at its place: its file system was unmounted or covered.
    Elsewhere,
}

/// Looks for this user's supervisors that are stranded. Leaves nothing behind.
pub fn stranded_supervisors() -> Vec<StrandedSupervisor> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|process| stranded(&process.path())).collect()
}

fn stranded(process: &Path) -> Option<StrandedSupervisor> {
    let pid = process.file_name()?.to_str()?.parse().ok()?;
    let command = fs::read(process.join("cmdline")).ok()?;
    let ours = command.split(|byte| *byte == 0).nth(1) == Some(super::SUPERVISE.as_bytes());
    if !ours || fs::metadata(process).ok()?.uid() != machine::user_id() {
        return None;
    }
    // the link leads to the directory itself, wherever it is reached from now
    let cwd = process.join("cwd");
    let directory = fs::read_link(&cwd).ok()?;
    let mark = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    let trouble = if has_given_up(&cwd) {
        Stranding::DiskGaveUp
    } else if !directory.to_string_lossy().ends_with(" (deleted)")
        && mark(&cwd)? != mark(&directory).unwrap_or_default()
        // of a run that was removed, perhaps just now, it leaves by itself
        && fs::read_link(&cwd).is_ok_and(|now| now == directory)
    {
        Stranding::Elsewhere
    } else {
        return None;
    };
    Some(StrandedSupervisor { pid, directory, trouble })
}

/// Whether the file system of a directory takes no writes, which a disk that has given up says only to whoever writes.
/// One that is merely full is another matter.
fn has_given_up(directory: &Path) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    probe(directory).is_err_and(|error| machine::is_trouble(&error) && !full.contains(&error.kind()))
}
