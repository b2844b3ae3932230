//! Secrets for tests, and the search for what one holds.
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a secret holds that must be found nowhere.
pub(crate) const CANARY: &str = "canary-5b1f0c9e-do-not-keep";

/// Puts a secret in its place.
pub(crate) fn keep_secret(place: &Path, name: &str, text: &[u8], mode: u32) {
    std::fs::create_dir_all(place).expect("a directory");
    let path = place.join(name);
    std::fs::write(&path, text).expect("a secret");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
}

/// Every regular file below a directory that holds the canary.
pub(crate) fn find_canary(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            found.extend(find_canary(&path));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).expect("a file");
            if bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()) {
                found.push(path);
            }
        }
    }
    found
}

/// A secret in the home of the user, where jobs look, under a name of this process's own.
pub(crate) struct Kept {
    place: PathBuf,
    pub(crate) name: String,
}

impl Kept {
    /// Names one, and puts it there if it holds anything.
    pub(crate) fn new(name: &str, secret: Option<(&[u8], u32)>) -> Self {
        let home = Command::new("sh").args(["-c", "getent passwd $(id -u) | cut -d : -f 6"]).output().expect("a home");
        let home = PathBuf::from(String::from_utf8(home.stdout).expect("UTF-8").trim());
        let kept = Self {
            place: home.join(".config/matterstack/secrets"),
            name: format!("test-{}-{name}", std::process::id()),
        };
        if let Some((text, mode)) = secret {
            keep_secret(&kept.place, &kept.name, text, mode);
        }
        kept
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // there may be none, and others in the same place
        let _ = std::fs::remove_file(self.place.join(&self.name));
        let _ = std::fs::remove_dir(&self.place);
    }
}
