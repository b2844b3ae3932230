//! Secrets for tests, and the search for what one holds.
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

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
