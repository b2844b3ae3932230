//! What `artifacts.read` may read: the run's inputs, and the outputs of its attempts. Bytes are never handed out under
//! a digest that is not theirs, whatever was done to a file since.
use crate::ground::digest::{Stamp, digest};
use crate::ground::files::open_regular;
use crate::model::code::Code;
use crate::model::config::RunConfig;
use crate::model::contract::{Detail, GuestError};
use crate::model::document::sha256;
use crate::plugin::Artifacts;
use crate::run::RunDir;
use crate::store::{Store, StoreError, kept_path};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Mutex, PoisonError};

/// Up to this size a file is read whole, and its bytes are checked, at every read.
const CHECKED_WHOLE: u64 = 4 * 1024 * 1024;
/// How long before it was read through a file must have been left alone for its stamp to tell every later change, in
/// nanoseconds: clocks of file systems are coarse.
const SETTLED_NS: i128 = 2_000_000_000;
/// Files that may bear one digest and are looked at.
const CANDIDATES: u32 = 100;

/// The files of one run that campaigns and operators may read.
pub(crate) struct RunFiles {
    dir: RunDir,
    inputs: BTreeMap<String, String>,
    open: Mutex<OpenFiles>,
}

#[derive(Default)]
struct OpenFiles {
    store: Option<Store>,
    /// Large files that were read through: where, and the stamp they had.
    verified: BTreeMap<String, (String, Stamp)>,
}

/// Why a file does not serve.
enum Trouble {
    Unreadable(io::Error),
    Changed,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl RunFiles {
    pub(crate) fn new(dir: &RunDir, config: &RunConfig) -> Self {
        let inputs = config.pinned.iter().flat_map(|pinned| pinned.inputs.values());
        let scripts = config.pinned.iter().flat_map(|pinned| pinned.scripts.values());
        let scripts = scripts.flat_map(|script| script.files().map(|(_, file)| file));
        let inputs = inputs.chain(scripts).map(|file| (file.sha256.clone(), file.path.clone())).collect();
        Self { dir: dir.clone(), inputs, open: Mutex::default() }
    }

    /// The paths, relative to the run, of files that were recorded with a digest.
    fn paths_of(&self, open: &mut OpenFiles, digest: &str) -> Result<Vec<String>, StoreError> {
        if let Some(path) = self.inputs.get(digest) {
            return Ok(vec![path.clone()]);
        }
        let store = match open.store.take() {
            Some(store) => store,
            None => Store::read(&self.dir.database())?,
        };
        let paths = open.store.insert(store).files_of_digest(digest, CANDIDATES)?;
        if !self.dir.is_bundle() {
            return Ok(paths);
        }
        // outputs lie there by their digests, and what the campaign has written where it lies in the run
        let kept = kept_path(digest);
        let there = |path: String| if path == kept { path } else { self.dir.left("", "", digest) };
        Ok(paths.into_iter().map(there).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn read_at(
        &self,
        open: &mut OpenFiles,
        digest: &str,
        path: &str,
        offset: u64,
        max: u32,
    ) -> Result<Vec<u8>, Trouble> {
        let root = Dir::open_ambient_dir(self.dir.root(), ambient_authority())?;
        let mut file = open_regular(&root, path)?.into_std();
        let stamp = Stamp::of(&file.metadata()?);
        if stamp.size() <= CHECKED_WHOLE {
            let mut bytes = Vec::new();
            (&mut file).take(CHECKED_WHOLE + 1).read_to_end(&mut bytes)?;
            if sha256(&bytes) != digest {
                return Err(Trouble::Changed);
            }
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let to = from.saturating_add(max as usize).min(bytes.len());
            return Ok(bytes[from..to].to_vec());
        }
        let known = (path.to_owned(), stamp);
        if open.verified.get(digest) != Some(&known) {
            self.verify(&mut file, digest)?;
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        (&mut file).take(u64::from(max)).read_to_end(&mut bytes)?;
        if Stamp::of(&file.metadata()?) != stamp {
            return Err(Trouble::Changed);
        }
        if stamp.changed_before(now_ns() - SETTLED_NS) {
            open.verified.insert(digest.to_owned(), known);
        } else {
            open.verified.remove(digest);
        }
        Ok(bytes)
    }

    fn verify(&self, file: &mut File, expected: &str) -> Result<(), Trouble> {
        let (found, _) = digest(file)?;
        if found == expected { Ok(()) } else { Err(Trouble::Changed) }
    }
}

fn now_ns() -> i128 {
    i128::from(super::now_ms()) * 1_000_000
}

impl Artifacts for RunFiles {
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError> {
        let other = |code: Code, text: String| GuestError::Other(Detail::of(code, text));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let paths =
            self.paths_of(&mut open, digest).map_err(|error| other(Code::StoreUnreadable, error.to_string()))?;
        let mut first = None;
        for path in &paths {
            match self.read_at(&mut open, digest, path, offset, max) {
                Ok(bytes) => return Ok(bytes),
                Err(Trouble::Changed) => {
                    let text = format!("`{path}` was changed after its digest was recorded");
                    first.get_or_insert(other(Code::FileChanged, text));
                }
                Err(Trouble::Unreadable(error)) => {
                    first.get_or_insert(other(Code::FileUnreadable, format!("`{path}` cannot be read: {error}")));
                }
            }
        }
        Err(first.unwrap_or_else(|| {
            GuestError::Denied(Detail::of(
                Code::UnknownDigest,
                format!("the run has no file with the digest `{digest}`"),
            ))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with one input of this many bytes.
    fn run_with(bytes: &[u8]) -> (tempfile::TempDir, RunFiles, String) {
        let directory = tempfile::tempdir().expect("a scratch directory");
        std::fs::write(directory.path().join("input"), bytes).expect("a file");
        let inputs = BTreeMap::from([(sha256(bytes), "input".to_owned())]);
        let files = RunFiles { dir: RunDir::new(directory.path()), inputs, open: Mutex::default() };
        (directory, files, sha256(bytes))
    }

    #[test]
    fn changed_bytes_are_never_served_under_the_old_digest() {
        for size in [10, CHECKED_WHOLE as usize + 10] {
            let good = vec![b'g'; size];
            let (directory, files, digest) = run_with(&good);
            let path = directory.path().join("input");
            assert_eq!(files.read(&digest, 3, 4).expect("read"), b"gggg");
            // the same size and the same times, in place and by another file in its place
            let before = std::fs::metadata(&path).expect("there");
            let mut evil = good.clone();
            evil[5] = b'E';
            for replaced in [false, true] {
                if replaced {
                    std::fs::remove_file(&path).expect("removed");
                }
                std::fs::write(&path, &evil).expect("changed");
                let file = File::options().write(true).open(&path).expect("open");
                let times = std::fs::FileTimes::new().set_modified(before.modified().expect("a time"));
                file.set_times(times).expect("times");
                let error = files.read(&digest, 3, 4).expect_err("changed");
                assert!(
                    matches!(&error, GuestError::Other(detail) if detail.code == "file-changed"
                    && detail.message.contains("`input` was changed")),
                    "{error:?}"
                );
            }
            std::fs::write(&path, &good).expect("as it was");
            assert_eq!(files.read(&digest, size as u64 - 2, 4).expect("read"), b"gg");
            std::fs::remove_file(&path).expect("removed");
            let error = files.read(&digest, 0, 1).expect_err("gone");
            assert_eq!(error.detail().code, "file-unreadable");
        }
    }
}
