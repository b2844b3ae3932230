//! Opening a bundle: the folder itself, or an archive, of which what is needed is unpacked into a folder that goes when
//! this does.
use super::archive::{Archive, FILES_MAX, Unpacking};
use super::manifest::SIGNATURE;
use crate::evidence::study;
use crate::failure::Failure;
use crate::ground::digest::{Hashing, digest};
use crate::ground::files::{new_file, open_directory, open_regular};
use crate::ground::machine;
use crate::ground::words::one_line;
use crate::run::{MANIFEST, RunDir};
use crate::store::Store;
use cap_std::fs::Dir;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// What is left free where an archive is unpacked, in bytes.
const LEFT_FREE: u64 = 16 * 1024 * 1024;
/// The largest manifest, in bytes.
const MANIFEST_MAX: u64 = 512 * 1024 * 1024;
/// The largest signature: one of a certificate is longer than a key's.
const SIGNATURE_MAX: u64 = 64 * 1024;

/// A bundle that is open to be read.
#[derive(Debug)]
pub struct Opened {
    dir: RunDir,
    source: Source,
    /// What it was opened by.
    pub(super) path: PathBuf,
    /// Sorted by name.
    pub(super) files: Vec<Entry>,
    /// Removes what was unpacked.
    scratch: Option<TempDir>,
}

#[derive(Debug)]
enum Source {
    Folder(Dir),
    /// An archive, and the place in it of the first file.
    Archive(Arc<Archive>, usize),
}

/// A file of a bundle, as it was found.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
    /// Why it is no file to be read.
    pub(super) odd: Option<&'static str>,
}

/// Why a file of a bundle has no digest.
#[derive(Debug)]
pub(super) enum Unread {
    /// It says so itself.
    Damaged(String),
    /// It cannot be said.
    Failed(Failure),
}

impl Opened {
    /// Opens a bundle, a folder or an archive.
    ///
    /// # Errors
    /// If there is none at the path, or it is an archive that nobody in good faith makes of one.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let cannot = |error: io::Error| Failure::input(format!("bundle `{shown}` cannot be opened")).because(error);
        let real = std::fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => cannot(error).hint("BUNDLE is a folder or a zip that `evidence` has written"),
            _ => cannot(error),
        })?;
        let opened = if real.is_dir() {
            let folder = open_directory(&real).map_err(cannot)?;
            let files = listed(&real).map_err(cannot)?;
            Self { dir: RunDir::new(real), source: Source::Folder(folder), path: path.to_owned(), files, scratch: None }
        } else {
            let file = crate::ground::files::open_regular_path(&real).map_err(cannot)?;
            let archive = Archive::open(file).map_err(cannot)?;
            let entry = |name: &String, size: u64| Entry { name: name.clone(), size, odd: None };
            let files = archive.members.iter().map(|member| entry(&member.name, member.size)).collect();
            let scratch = scratch()?;
            let dir = RunDir::new(scratch.path());
            let source = Source::Archive(Arc::new(archive), 0);
            Self { dir, source, path: path.to_owned(), files, scratch: Some(scratch) }
        };
        if opened.find(MANIFEST).is_none() {
            let what = format!("`{shown}` is no bundle of evidence: it has no {MANIFEST}");
            return Err(Failure::input(what).hint(opened.where_else()));
        }
        Ok(opened)
    }

    /// What helps who has named something that holds a bundle and is none.
    fn where_else(&self) -> String {
        let ends = |with: &str| self.files.iter().find_map(|file| Some(file.name.strip_suffix(with)?.to_owned()));
        let unpack = if self.archive().is_some() { "unpack it, and " } else { "" };
        match (ends(&format!("/{MANIFEST}")), ends(".zip")) {
            (Some(folder), _) => one_line(&format!("it has one in `{folder}`: {unpack}name that folder")),
            (None, Some(zip)) => one_line(&format!("it holds `{zip}.zip`: {unpack}name that")),
            (None, None) => "`matterstack evidence RUN` makes bundles".to_owned(),
        }
    }

    /// Whether it has a file of this name.
    pub(in crate::evidence) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The run that the bundle is of, to be read; of an archive, as far as it is unpacked.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The manifest, and what signs it, if anything does.
    ///
    /// # Errors
    /// If they cannot be read, or are too large.
    pub(in crate::evidence) fn manifest_and_signature(&self) -> Result<(Vec<u8>, Option<Vec<u8>>), Failure> {
        let manifest = self.read(MANIFEST, MANIFEST_MAX)?.unwrap_or_default();
        Ok((manifest, self.read(SIGNATURE, SIGNATURE_MAX)?))
    }

    /// The archive that it is, if it is one.
    pub(super) fn archive(&self) -> Option<&Archive> {
        match &self.source {
            Source::Folder(_) => None,
            Source::Archive(archive, ..) => Some(archive),
        }
    }

    /// Whether it is a study of many runs, and no bundle of one.
    pub(super) fn is_study(&self) -> bool {
        self.has(study::DOCUMENT) && !self.has("state.sqlite") && !self.has("evidence.json")
    }

    /// The files in a folder of it, by their places; the name of a folder ends with a slash.
    pub(super) fn below(&self, folder: &str) -> Range<usize> {
        let begin = self.files.partition_point(|file| file.name.as_str() < folder);
        let count = self.files[begin..].partition_point(|file| file.name.starts_with(folder));
        begin..begin + count
    }

    /// The bundle in a folder of it, which must hold files.
    pub(super) fn within(&self, folder: &str) -> Result<Self, Failure> {
        let (places, path) = (self.below(folder), self.path.join(folder.trim_end_matches('/')));
        let own = |file: &Entry| Entry { name: file.name[folder.len()..].to_owned(), ..*file };
        let files = self.files[places.clone()].iter().map(own).collect();
        Ok(match &self.source {
            Source::Folder(all) => {
                let inner = all.open_dir(folder.trim_end_matches('/'));
                let inner = inner.map_err(|error| self.unreadable(folder, error))?;
                let dir = RunDir::new(self.dir.join(folder.trim_end_matches('/')));
                Self { dir, source: Source::Folder(inner), path, files, scratch: None }
            }
            Source::Archive(archive, first) => {
                let source = Source::Archive(archive.clone(), first + places.start);
                let scratch = scratch()?;
                Self { dir: RunDir::new(scratch.path()), source, path, files, scratch: Some(scratch) }
            }
        })
    }

    /// Sees to it that everything is there that decisions depend on.
    ///
    /// # Errors
    /// If an archive is damaged, or there is no room for it.
    pub fn make_ready(&mut self) -> Result<(), Failure> {
        if self.is_study() {
            let what = format!("`{}` is a study of many runs, and no bundle of one", self.path.display());
            return Err(Failure::input(what).hint("name a folder below its `runs`; unpack it if it is a zip"));
        }
        let needed = |name: &str| {
            let shown = ["ro-crate-metadata.json", "README.md", "report.html"].contains(&name);
            !name.starts_with("files/") && !shown
        };
        self.unpack(&needed)?;
        if self.scratch.is_some() && self.dir.database().exists() {
            let store = Store::read(&self.dir.database())?;
            if let Some(why) = store.strange_schema()? {
                let what = format!("the database of bundle `{}` is none of ours", self.path.display());
                return Err(Failure::input(what).because(why));
            }
            let mut read = BTreeSet::new();
            for place in 1..=store.decisions_made()? {
                read.extend(store.decision_reads(place)?.into_iter().map(|sha256| format!("files/{sha256}")));
            }
            self.unpack(&|name| read.contains(name))?;
        }
        let id = Store::read(&self.dir.database()).and_then(|store| Ok(store.run()?.run_id));
        if let Ok(id) = id {
            self.dir = RunDir::named(self.dir.root(), &id).addressed_by_path();
        }
        Ok(())
    }

    /// A file by its name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.files.binary_search_by(|file| file.name.as_str().cmp(name)).ok()
    }

    /// What is said of a failure in reading a file.
    fn unreadable(&self, name: &str, error: io::Error) -> Failure {
        let what = format!("`{name}` of bundle `{}` cannot be read", self.path.display());
        match (&self.source, machine::is_trouble(&error)) {
            (_, true) => Failure::io(what, error),
            (Source::Archive(..), false) => Failure::input(what).because(error),
            (Source::Folder(_), false) => Failure::machine(what, error),
        }
    }

    /// The digest of a file.
    pub(super) fn digest(&self, at: usize) -> Result<String, Unread> {
        let name = &self.files[at].name;
        match &self.source {
            Source::Folder(folder) => match open_regular(folder, name).and_then(|mut file| digest(&mut file)) {
                Ok((sha256, _)) => Ok(sha256),
                Err(error) => Err(Unread::Damaged(format!("it cannot be read ({error})"))),
            },
            Source::Archive(archive, first) => {
                let mut hashing = Hashing::new();
                let each = &mut |bytes: &[u8]| {
                    hashing.update(bytes);
                    Ok(())
                };
                archive.read(&archive.members[first + at], each).map_err(|unpacking| self.unread(name, unpacking))?;
                Ok(hashing.finish())
            }
        }
    }

    fn unread(&self, name: &str, unpacking: Unpacking) -> Unread {
        match unpacking {
            Unpacking::Damaged(why) => Unread::Damaged(why),
            Unpacking::Refused(error) => Unread::Failed(self.unreadable(name, error)),
        }
    }

    /// A file whole, of at most so many bytes; nothing if there is none.
    pub(super) fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Failure> {
        let Some(at) = self.find(name) else { return Ok(None) };
        let too_large = || Failure::input(format!("`{name}` of bundle `{}` is too large", self.path.display()));
        if self.files[at].size > most {
            return Err(too_large());
        }
        let mut whole = Vec::new();
        match &self.source {
            Source::Folder(folder) => {
                let read = open_regular(folder, name).and_then(|file| file.take(most + 1).read_to_end(&mut whole));
                read.map_err(|error| self.unreadable(name, error))?;
            }
            Source::Archive(archive, first) => {
                let each = &mut |bytes: &[u8]| {
                    whole.extend_from_slice(bytes);
                    Ok(())
                };
                let read = archive.read(&archive.members[first + at], each);
                read.map_err(|unpacking| match self.unread(name, unpacking) {
                    Unread::Failed(failure) => failure,
                    Unread::Damaged(why) => self.unreadable(name, io::Error::other(why)),
                })?;
            }
        }
        if whole.len() as u64 > most { Err(too_large()) } else { Ok(Some(whole)) }
    }

    /// Unpacks the files of an archive that have such a name.
    pub(super) fn unpack(&self, wanted: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
        let (Source::Archive(archive, first), Some(scratch)) = (&self.source, &self.scratch) else { return Ok(()) };
        let own = self.files.iter().zip(&archive.members[*first..]);
        let wanted: Vec<_> = own.filter(|(file, _)| wanted(&file.name)).collect();
        let needed: u64 = wanted.iter().map(|(file, _)| file.size).sum();
        let place = scratch.path();
        let room = machine::room(place)
            .map_err(|error| Failure::io(format!("the room in `{}` cannot be told", place.display()), error))?;
        if room.bytes < needed.saturating_add(LEFT_FREE) {
            let free = place.parent().unwrap_or(place).display();
            let what =
                format!("unpacking `{}` takes {needed} bytes, and `{free}` has {}", self.path.display(), room.bytes);
            return Err(Failure::input(what).hint("make room, or let TMPDIR name a folder with more of it"));
        }
        for (file, member) in wanted {
            let (name, to) = (&file.name, place.join(&file.name));
            let failed = |error| Failure::io(format!("`{}` cannot be written", to.display()), error);
            to.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
            let mut file: File = new_file(&to).map_err(failed)?;
            archive.read(member, &mut |bytes| file.write_all(bytes)).map_err(|unpacking| {
                match self.unread(name, unpacking) {
                    Unread::Failed(failure) => failure,
                    Unread::Damaged(why) => self.unreadable(name, io::Error::other(why)),
                }
            })?;
        }
        Ok(())
    }
}

/// A folder for what is unpacked.
fn scratch() -> Result<TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("matterstack-evidence-").tempdir();
    made.map_err(|error| Failure::io("no folder for what is unpacked can be made", error))
}

/// Every file below a folder, sorted by name; no link is followed.
fn listed(root: &Path) -> io::Result<Vec<Entry>> {
    let (mut files, mut open) = (Vec::new(), vec![(root.to_owned(), String::new())]);
    while let Some((folder, prefix)) = open.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let (kind, own) = (entry.file_type()?, entry.file_name());
            let name = format!("{prefix}{}", own.to_string_lossy());
            if kind.is_dir() {
                open.push((entry.path(), format!("{name}/")));
                continue;
            }
            let odd = match own.to_str() {
                None => Some("has a name that is no UTF-8"),
                Some(_) if kind.is_symlink() => Some("is a link"),
                Some(_) if !kind.is_file() => Some("is no regular file"),
                Some(_) => None,
            };
            files.push(Entry { name, size: entry.metadata()?.len(), odd });
            if files.len() > FILES_MAX {
                let why = format!("it has more than {FILES_MAX} files");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
        }
    }
    files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}
