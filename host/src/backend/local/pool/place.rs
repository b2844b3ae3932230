//! Where the ledger lies, and whether what lies there may be trusted: anybody can put something into `/tmp`.
use crate::ground::machine::{self, FileSystem};
use crate::ground::share;
use crate::model::pool::MachineConfig;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A directory that was found fit for a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    /// Whether other users have entries in it.
    pub(super) shared: bool,
}

impl Place {
    /// The permissions of the files in it.
    pub(super) fn mode(&self) -> u32 {
        if self.shared { 0o660 } else { 0o600 }
    }
}

/// Where the ledger of a machine lies, or why there can be none. Makes the directory of a user's own pool.
pub(super) fn find(machine: &MachineConfig) -> Result<Place, String> {
    if let Some(directory) = &machine.shared {
        check_shared(directory)?;
        return Ok(Place { directory: directory.clone(), shared: true });
    }
    let directory = own_directory();
    let told = |error: io::Error| format!("`{}`: {error}", directory.display());
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(told(error)),
        Ok(()) | Err(_) => {}
    }
    let found = directory.symlink_metadata().map_err(told)?;
    let wrong = if found.is_symlink() {
        Some("is a link".to_owned())
    } else if !found.is_dir() {
        Some("is no directory".to_owned())
    } else if found.uid() != machine::user_id() {
        Some(format!("belongs to {}", machine::user_name_of(found.uid())))
    } else if found.permissions().mode() & 0o022 != 0 {
        Some("may be written by others".to_owned())
    } else {
        None
    };
    if let Some(wrong) = wrong {
        return Err(format!("`{}` {wrong}", directory.display()));
    }
    check_kind(&directory)?;
    Ok(Place { directory, shared: false })
}

/// The directory of this user's own pool.
fn own_directory() -> PathBuf {
    let user = machine::user_id();
    if let Some(place) = share::pool_of_test() {
        return place.join("matterstack-pool");
    }
    let runtime = PathBuf::from(format!("/run/user/{user}"));
    let own = fs::symlink_metadata(&runtime).is_ok_and(|found| found.is_dir() && found.uid() == user);
    if own { runtime.join("matterstack-pool") } else { PathBuf::from(format!("/tmp/matterstack-pool-{user}")) }
}

/// A shared directory is one of a group, and of nobody else.
fn check_shared(directory: &Path) -> Result<(), String> {
    let told = |why: &str| Err(format!("`{}`, which is `machine.shared`, {why}", directory.display()));
    let found = match directory.symlink_metadata() {
        Ok(found) => found,
        Err(error) => return told(&format!("cannot be used: {error}")),
    };
    check_kind(directory)?;
    let mode = found.permissions().mode();
    if !found.is_dir() {
        return told("is no directory");
    }
    if mode & 0o002 != 0 {
        return told("may be written by everybody");
    }
    if mode & 0o2020 != 0o2020 {
        return told("is not a group's: `chmod g+ws` makes it that");
    }
    Ok(())
}

/// Locks of a file that several machines see may hold for one of them only.
fn check_kind(directory: &Path) -> Result<(), String> {
    match machine::file_system(directory) {
        Ok(FileSystem::Local) => Ok(()),
        Ok(FileSystem::Shared) => {
            Err(format!("`{}` lies on a file system that other machines may see", directory.display()))
        }
        Err(error) => Err(format!("`{}`: {error}", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::{check_kind, check_shared};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    #[test]
    fn a_directory_that_is_not_a_groups_alone_is_not_shared() {
        let scratch = tempfile::tempdir().expect("a directory");
        let place = scratch.path().join("pool");
        assert!(check_shared(&place).is_err_and(|why| why.contains("cannot be used")));
        fs::create_dir(&place).expect("a directory");
        for (mode, why) in [(0o2777, "by everybody"), (0o770, "`chmod g+ws`"), (0o2750, "`chmod g+ws`")] {
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("permissions");
            assert!(check_shared(&place).is_err_and(|told| told.contains(why)), "{mode:o}");
        }
        fs::set_permissions(&place, fs::Permissions::from_mode(0o2770)).expect("permissions");
        assert_eq!(check_shared(&place), Ok(()));
        symlink(&place, scratch.path().join("link")).expect("a link");
        assert!(check_shared(&scratch.path().join("link")).is_err_and(|why| why.contains("is no directory")));
    }

    #[test]
    fn locks_are_trusted_on_file_systems_of_one_machine_only() {
        // a kind that is not known to be local stands for one of a network
        assert!(check_kind(Path::new("/proc")).is_err_and(|why| why.contains("other machines may see")));
        assert!(check_shared(Path::new("/proc")).is_err_and(|why| why.contains("other machines may see")));
    }
}
