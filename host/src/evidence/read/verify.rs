//! Whether a bundle is what it was when it was made, and agrees with itself.
use super::contents::{DOCUMENT, look_into_document, what_the_record_lacks};
use super::manifest::{Listed, SIGNATURE, parse};
use super::open::{Opened, Unread};
use super::signature::{self, Signed};
use super::study;
use crate::failure::Failure;
use crate::ground::threads::share;
use crate::replay::{self, Compilers, Replay};
use crate::run::MANIFEST;
use crate::workspace::{now_ms, read_store};
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::atomic::{self, AtomicUsize};

/// What is wrong with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// A file is not as it was.
    Altered,
    /// A file is not there.
    Missing,
    /// A file is there that the manifest does not name.
    Added,
    /// The manifest is none.
    Manifest,
    /// The signature does not fit, or is not by whom it should be.
    Signature,
    /// evidence.json is not as published.
    Schema,
    /// The database breaks a rule.
    Store,
    /// The record and the files of the bundle do not belong together.
    Record,
    /// A decision comes out otherwise.
    Replay,
}

impl What {
    /// As a person reads it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Manifest => "manifest",
            Self::Signature => "signature",
            Self::Schema => "schema",
            Self::Store => "store",
            Self::Record => "record",
            Self::Replay => "replay",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Wrong {
    /// The file, by its path in the bundle.
    pub path: String,
    /// What is wrong with it.
    pub what: What,
    /// More of it, for a person.
    pub detail: String,
}

/// What came of looking through a bundle.
#[derive(Debug, Default, Serialize)]
pub struct Verification {
    /// The run, once the record could be believed.
    pub run_id: Option<String>,
    /// Files that were compared with the manifest.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Everything that is wrong.
    pub wrong: Vec<Wrong>,
    /// Whether the manifest has a signature beside it.
    pub has_signature: bool,
    /// The key that signed, if the signature is good.
    pub signed: Option<Signed>,
    /// What came of the decisions; nothing where files are altered, which says enough.
    pub replay: Option<Replay>,
    /// What a study has in the place of one run; absent where it is a bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub study: Option<VerifiedStudy>,
}

/// What came of looking through a study, beside what is said of its bundles.
#[derive(Debug, Serialize)]
pub struct VerifiedStudy {
    /// The workspace that it is of.
    pub workspace: String,
    /// Its runs, in their order.
    pub runs: Vec<VerifiedRun>,
}

/// A run of a study.
#[derive(Debug, Serialize)]
pub struct VerifiedRun {
    /// The run.
    pub run_id: String,
    /// What came of its decisions; nothing where its bundle is not as it should be.
    pub replay: Option<Replay>,
}

impl Verification {
    /// Whether nothing but a signature is wrong so far.
    pub(super) fn is_sound(&self) -> bool {
        self.wrong.iter().all(|wrong| wrong.what == What::Signature)
    }

    /// Every replay that there was.
    pub fn replays(&self) -> impl Iterator<Item = &Replay> {
        let of_runs = self.study.iter().flat_map(|study| &study.runs).filter_map(|run| run.replay.as_ref());
        self.replay.iter().chain(of_runs)
    }

    pub(super) fn add(&mut self, path: &str, what: What, detail: impl Into<String>) {
        self.wrong.push(Wrong { path: path.to_owned(), what, detail: detail.into() });
    }
}

/// Looks through a bundle: every byte against the manifest, the manifest against its signature, then what the files say
/// against each other. `signers` is the text of a file as `ssh-keygen` takes it.
///
/// # Errors
/// If the bundle cannot be read, or is made to harm.
pub fn verify(opened: &mut Opened, signers: Option<&str>, compiler: Compilers<'_>) -> Result<Verification, Failure> {
    let mut found = Verification::default();
    let (manifest, signature) = opened.manifest_and_signature()?;
    check_signature(&manifest, signature.as_deref(), signers, &mut found);
    match parse(&manifest) {
        Err(why) => found.add(MANIFEST, What::Manifest, why),
        Ok(listed) => {
            compare(opened, &listed, &mut found)?;
            match found.is_sound() {
                true if opened.is_study() => study::agree_all(opened, &listed, compiler, &mut found)?,
                true => agree(opened, compiler, &mut found)?,
                false => {}
            }
        }
    }
    found.wrong.sort();
    Ok(found)
}

fn check_signature(manifest: &[u8], signature: Option<&[u8]>, signers: Option<&str>, found: &mut Verification) {
    let Some(signature) = signature else {
        if signers.is_some() {
            found.add(SIGNATURE, What::Signature, "is missing: nobody has signed the bundle");
        }
        return;
    };
    found.has_signature = true;
    match signature::verify(manifest, signature, signers, now_ms()) {
        Ok(signed) => found.signed = Some(signed),
        Err((signed, why)) => {
            found.signed = signed;
            found.add(SIGNATURE, What::Signature, why);
        }
    }
}

/// Compares every file with the manifest, on all processors.
pub(super) fn compare(opened: &Opened, listed: &[Listed], found: &mut Verification) -> Result<(), Failure> {
    let pairs = paired(opened, listed, found);
    found.files = pairs.len() as u64;
    found.bytes = pairs.iter().map(|(at, _)| opened.files[*at].size).sum();
    let next = AtomicUsize::new(0);
    let altered = share(pairs.len(), || {
        let mut altered = Vec::new();
        while let Some((at, line)) = pairs.get(next.fetch_add(1, atomic::Ordering::Relaxed)) {
            if let Some(why) = altered_from(opened, *at, line)? {
                altered.push(Wrong { path: line.path.clone(), what: What::Altered, detail: why });
            }
        }
        Ok::<_, Failure>(altered)
    })?;
    found.wrong.extend(altered.into_iter().flatten());
    Ok(())
}

/// The files that the manifest names, each with its line; what only one of them has is noted.
fn paired<'a>(opened: &Opened, listed: &'a [Listed], found: &mut Verification) -> Vec<(usize, &'a Listed)> {
    let own = |name: &str| name == MANIFEST || name == SIGNATURE;
    let (mut pairs, mut files, mut lines) = (Vec::new(), 0..opened.files.len(), listed.iter().peekable());
    let mut next_file = || files.find(|at| !own(&opened.files[*at].name));
    let mut file = next_file();
    loop {
        let order = match (file, lines.peek()) {
            (None, None) => return pairs,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(at), Some(line)) => opened.files[at].name.cmp(&line.path),
        };
        match (order, file) {
            (Ordering::Less, Some(at)) => {
                let entry = &opened.files[at];
                found.add(&entry.name, What::Added, entry.odd.unwrap_or("the manifest does not name it"));
                file = next_file();
            }
            (Ordering::Equal, Some(at)) => {
                pairs.extend(lines.next().map(|line| (at, line)));
                file = next_file();
            }
            _ => {
                if let Some(line) = lines.next() {
                    found.add(&line.path, What::Missing, format!("the manifest has it with SHA-256 {}", line.sha256));
                }
            }
        }
    }
}

/// How a file differs from what the manifest has of it.
fn altered_from(opened: &Opened, at: usize, line: &Listed) -> Result<Option<String>, Failure> {
    if let Some(odd) = opened.files[at].odd {
        return Ok(Some(odd.to_owned()));
    }
    if line.path.strip_prefix("files/").is_some_and(|name| name != line.sha256) {
        return Ok(Some(format!("it has the name of another file: its SHA-256 is {}", line.sha256)));
    }
    match opened.digest(at) {
        Ok(sha256) if sha256 == line.sha256 => Ok(None),
        Ok(sha256) => Ok(Some(format!("its SHA-256 is {sha256}, and the manifest has {}", line.sha256))),
        Err(Unread::Damaged(why)) => Ok(Some(why)),
        Err(Unread::Failed(failure)) => Err(failure),
    }
}

/// Looks whether the parts of a bundle agree, each of which is as the manifest has it.
pub(super) fn agree(opened: &mut Opened, compiler: Compilers<'_>, found: &mut Verification) -> Result<(), Failure> {
    let database = "state.sqlite";
    opened.make_ready()?;
    let dir = opened.dir().clone();
    if opened.find(database).is_none() {
        found.add(database, What::Record, "the bundle has no record");
        return Ok(());
    }
    let store = match read_store(&dir) {
        Ok(store) => store,
        Err(failure) => {
            found.add(database, What::Store, failure.to_string());
            return Ok(());
        }
    };
    if let Some(why) = store.strange_schema()? {
        found.add(database, What::Store, why);
        return Ok(());
    }
    for rule in store.check_invariants()? {
        found.add(database, What::Store, rule);
    }
    let omitted = look_into_document(opened, &store, &mut |what, detail| found.add(DOCUMENT, what, detail))?;
    let there: BTreeSet<&str> = opened.files.iter().map(|file| file.name.as_str()).collect();
    what_the_record_lacks(&store, &there, &omitted, &mut |path, detail| found.add(path, What::Record, detail))?;
    if !found.is_sound() {
        return Ok(());
    }
    found.run_id = Some(store.run()?.run_id);
    drop(store);
    let replay = replay::replay(&dir, compiler)?;
    if let Some(first) = &replay.first {
        let more = replay.differing() - 1;
        let others = if more == 0 { String::new() } else { format!(", and so do {more} more") };
        let (fate, what) = (first.aspect.fate(), first.aspect.as_str());
        let detail = format!("decision {} {fate} ({what}){others}", first.decision);
        found.add(database, What::Replay, detail);
    }
    found.replay = Some(replay);
    Ok(())
}
