//! Puts the files of a run into its bundle, each once, compared with its digest on the way; what is left out is written
//! down.
use super::contents::{Contents, left};
use super::verify::{Recorded, found};
use crate::ground::digest::{copy_hashed, digest};
use crate::ground::files::open_regular;
use crate::ground::names::Names;
use crate::model::evidence::{AttemptRecord, Integrity, OmittedRecord, OmittedWhy, Withheld};
use crate::model::pattern::Patterns;
use cap_std::fs::Dir;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

/// A file of an attempt, as the record has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) task: &'a str,
    pub(super) attempt_id: &'a str,
    pub(super) directory: &'a str,
    /// Its path in the attempt's directory.
    pub(super) path: &'a str,
    pub(super) recorded: Recorded<'a>,
}

/// What goes into a bundle.
pub(super) struct Packer<'a> {
    folder: PathBuf,
    pub(super) contents: Contents,
    /// What is left out, a row of JSON each.
    omitted: BufWriter<File>,
    pub(super) count_omitted: u64,
    unwanted: Option<&'a Patterns>,
    /// By digest: the same bytes may lie elsewhere too, under a name that tells nothing.
    refused: BTreeMap<String, OmittedWhy>,
    /// Names that were redacted.
    names: &'a Names,
}

impl<'a> Packer<'a> {
    pub(super) fn new(folder: PathBuf, omitted: File, unwanted: Option<&'a Patterns>, names: &'a Names) -> Self {
        let (contents, refused) = (Contents::default(), BTreeMap::new());
        let omitted = BufWriter::new(omitted);
        Self { folder, contents, omitted, count_omitted: 0, unwanted, refused, names }
    }

    /// Learns which files of an attempt are not to go in, wherever else the same bytes may lie: those that hold a
    /// secret, and those that nobody wants.
    pub(super) fn learn(&mut self, attempt: &AttemptRecord) {
        if attempt.withheld.is_empty() && self.unwanted.is_none() {
            return;
        }
        let outputs = attempt.outputs.iter().map(|output| (output.path.as_str(), &output.sha256));
        for (path, sha256) in outputs.chain(attempt.logs.iter().map(|log| (log.kind.file(), &log.sha256))) {
            // where nobody could look, none goes in
            let is = |one: &Withheld| one.file.as_deref().is_none_or(|file| file == path);
            let named = |patterns: &Patterns| {
                patterns.match_path(path) || patterns.match_path(&format!("{}/{path}", attempt.task))
            };
            if attempt.withheld.iter().any(is) {
                self.refused.insert(sha256.clone(), OmittedWhy::Secret);
            } else if self.unwanted.is_some_and(named) {
                self.refused.entry(sha256.clone()).or_insert(OmittedWhy::Asked);
            }
        }
    }

    /// Writes down that a file is left out.
    pub(super) fn omit(&mut self, of: &Left<'_>, why: OmittedWhy) -> io::Result<()> {
        let path = if of.directory.is_empty() { of.path.to_owned() } else { format!("{}/{}", of.directory, of.path) };
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let record = OmittedRecord {
            sha256: of.recorded.sha256.to_owned(),
            size: of.recorded.size,
            path,
            task: some(of.task),
            attempt_id: some(of.attempt_id),
            why,
        };
        self.count_omitted += 1;
        serde_json::to_writer(&mut self.omitted, &record)?;
        self.omitted.write_all(b"\n")
    }

    /// Everything that was left out, and what the bundle holds.
    pub(super) fn finish(self) -> io::Result<(File, Contents)> {
        Ok((self.omitted.into_inner().map_err(io::IntoInnerError::into_error)?, self.contents))
    }

    /// Puts in a file that keeps its path; tells how it differs from what is recorded.
    pub(super) fn named(&mut self, root: &Dir, path: &str, recorded: Recorded<'_>) -> io::Result<Difference> {
        let of = Left { task: "", attempt_id: "", directory: "", path, recorded };
        if self.contents.has(path) {
            return Ok(None);
        }
        let asked = || self.unwanted.is_some_and(|patterns| patterns.match_path(path)).then_some(OmittedWhy::Asked);
        if let Some(why) = self.refused.get(recorded.sha256).copied().or_else(asked) {
            self.omit(&of, why)?;
            return Ok(compared(root, path, recorded));
        }
        let difference = self.carry(root, path, path, recorded)?;
        match &difference {
            None => self.contents.add(path, recorded.sha256, recorded.size),
            Some((integrity, _)) => self.omit(&of, (*integrity).into())?,
        }
        Ok(difference)
    }

    /// Puts in what an attempt left, under its digest; tells how it differs from what is recorded.
    pub(super) fn left(&mut self, directory: &Dir, of: &Left<'_>) -> io::Result<Difference> {
        let Left { path, recorded, .. } = *of;
        if let Some(why) = self.unwanted(directory, of) {
            self.omit(of, why)?;
            return Ok(compared(directory, path, recorded));
        }
        if self.contents.has_left(recorded.sha256) {
            return Ok(compared(directory, path, recorded));
        }
        let difference = self.carry(directory, path, &left(recorded.sha256), recorded)?;
        match &difference {
            None => self.contents.add_left(recorded.sha256, recorded.size),
            Some((integrity, _)) => self.omit(of, (*integrity).into())?,
        }
        Ok(difference)
    }

    /// Why what an attempt left does not go in.
    fn unwanted(&self, directory: &Dir, of: &Left<'_>) -> Option<OmittedWhy> {
        if let Some(why) = self.refused.get(of.recorded.sha256) {
            return Some(*why);
        }
        // what cannot be read is found when it is carried
        let tells = || open_regular(directory, of.path).is_ok_and(|file| self.names.are_in(file).unwrap_or(true));
        (!self.names.is_empty() && tells()).then_some(OmittedWhy::Redacted)
    }

    fn carry(&self, root: &Dir, from: &str, to: &str, recorded: Recorded<'_>) -> io::Result<Difference> {
        let mut source = match open_regular(root, from) {
            Ok(source) => source,
            Err(error) => return Ok(Some(super::verify::trouble(&error))),
        };
        let place = self.folder.join(to);
        let mut target = match File::create_new(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(place.parent().unwrap_or(&self.folder))?;
                File::create_new(&place)?
            }
            target => target?,
        };
        let mut reading = Reading { source: &mut source, failed: false };
        let copied = copy_hashed(&mut reading, &mut target);
        let difference = match copied {
            Ok((sha256, size)) => found(&sha256, size, recorded),
            Err(error) if reading.failed => Some(super::verify::trouble(&error)),
            Err(error) => return Err(error),
        };
        if difference.is_some() {
            std::fs::remove_file(place)?;
        }
        Ok(difference)
    }
}

/// How a file differs from what is recorded of it; nothing if it does not.
pub(super) type Difference = Option<(Integrity, Option<String>)>;

/// How a file differs that is only looked at.
pub(super) fn compared(directory: &Dir, path: &str, recorded: Recorded<'_>) -> Difference {
    match open_regular(directory, path).and_then(|mut file| digest(&mut file)) {
        Ok((sha256, size)) => found(&sha256, size, recorded),
        Err(error) => Some(super::verify::trouble(&error)),
    }
}

/// A source that remembers whether an error was its own.
struct Reading<'a> {
    source: &'a mut cap_std::fs::File,
    failed: bool,
}

impl io::Read for Reading<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer);
        self.failed |= read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        read
    }
}
