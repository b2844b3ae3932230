//! Arrays on disk: which index is which attempt, written and durable before `sbatch` is called.
use super::ledger::Element;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What the names of our arrays begin with.
const PREFIX: &str = "ms-";

/// One attempt in an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) attempt: String,
    /// Relative to the run.
    pub(super) directory: String,
    /// Whether the command is a program with arguments, so that the codes 126 and 127 tell of the program.
    pub(super) is_argv: bool,
}

/// Makes the name of an array from random digits.
pub(super) fn token(random: &str) -> String {
    format!("{PREFIX}{random}")
}

/// Whether a job's name can be one of ours.
pub(super) fn is_token(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The arrays of one backend.
#[derive(Debug)]
pub(super) struct Batches {
    directory: PathBuf,
    read: HashMap<String, Option<Vec<Member>>>,
}

impl Batches {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, read: HashMap::new() }
    }

    /// The file that lists the attempts of an array.
    pub(super) fn map_path(&self, batch: &str) -> PathBuf {
        self.directory.join(format!("{batch}.map"))
    }

    /// Where Slurm puts its own messages about the jobs of an array.
    pub(super) fn log_path(&self, batch: &str) -> PathBuf {
        self.directory.join(format!("{batch}.log"))
    }

    /// Writes an array's list and its wrapper; the list is on the disk afterwards.
    pub(super) fn write(&mut self, batch: &str, members: Vec<Member>, wrapper: &str) -> io::Result<()> {
        if !self.directory.is_dir() {
            fs::create_dir_all(&self.directory)?;
            sync_directory(self.directory.parent())?;
        }
        let mut text = String::new();
        for (index, Member { attempt, directory, is_argv }) in members.iter().enumerate() {
            let kind = if *is_argv { "argv" } else { "shell" };
            text.push_str(&format!("{index} {kind} {attempt} {directory}\n"));
        }
        let path = self.map_path(batch);
        let mut file = File::create(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::write(path.with_extension("sh"), wrapper)?;
        sync_directory(Some(&self.directory))?;
        self.read.insert(batch.to_owned(), Some(members));
        Ok(())
    }

    /// The attempts of an array; nothing if it is not one of this run.
    pub(super) fn members(&mut self, batch: &str) -> Option<&[Member]> {
        if !self.read.contains_key(batch) {
            let members = fs::read_to_string(self.map_path(batch)).ok().map(|text| parse(&text));
            self.read.insert(batch.to_owned(), members);
        }
        self.read.get(batch)?.as_deref()
    }

    /// The attempt that an element is.
    pub(super) fn member(&mut self, element: &Element) -> Option<&Member> {
        self.members(&element.batch)?.get(element.index as usize)
    }

    /// Finds the latest array with an attempt, by reading all of them: for what no job script answers.
    pub(super) fn find(&mut self, attempt: &str) -> io::Result<Option<Element>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut found = None;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(batch) = name.strip_suffix(".map").filter(|name| is_token(name)) else { continue };
            let members = self.members(batch).unwrap_or_default();
            if let Some(index) = members.iter().position(|member| member.attempt == attempt) {
                let made = entry.metadata()?.modified()?;
                let element = Element { batch: batch.to_owned(), index: index as u32 };
                if found.as_ref().is_none_or(|(earlier, _)| *earlier < made) {
                    found = Some((made, element));
                }
            }
        }
        Ok(found.map(|(_, element)| element))
    }
}

fn parse(text: &str) -> Vec<Member> {
    let member = |line: &str| {
        let mut words = line.split(' ').skip(1);
        let is_argv = words.next()? == "argv";
        Some(Member { is_argv, attempt: words.next()?.to_owned(), directory: words.next()?.to_owned() })
    };
    text.lines().map_while(member).collect()
}

fn sync_directory(directory: Option<&Path>) -> io::Result<()> {
    directory.map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
