//! Arrays on disk: which index is which attempt, written and durable before `sbatch` is called.
use super::ledger::Element;
use std::collections::{BTreeSet, HashMap};
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
    /// Variables that are set to a secret, which the wrapper reads, as `VARIABLE=NAME`.
    pub(super) secrets: Vec<String>,
}

impl Member {
    /// Its line of the list that the wrapper reads where the job runs, in the attempt's directory there.
    pub(super) fn line(&self, index: usize, directory: &str) -> String {
        let kind = if self.is_argv { "argv" } else { "shell" };
        let secrets: String = self.secrets.iter().map(|secret| format!(" {secret}")).collect();
        format!("{index} {kind} {} {directory}{secrets}\n", self.attempt)
    }
}

/// Makes the name of an array from random digits.
pub(super) fn name_of(random: &str) -> String {
    format!("{PREFIX}{random}")
}

/// Whether a job's name can be one of ours.
pub(super) fn is_name(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The arrays of one backend.
#[derive(Debug)]
pub(super) struct Arrays {
    directory: PathBuf,
    read: HashMap<String, Option<Vec<Member>>>,
}

impl Arrays {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, read: HashMap::new() }
    }

    /// The file that lists the attempts of an array.
    pub(super) fn map_path(&self, array: &str) -> PathBuf {
        self.directory.join(format!("{array}.map"))
    }

    /// The directory in which every job of an array leaves a mark before it starts its command.
    pub(super) fn marks_path(&self, array: &str) -> PathBuf {
        self.directory.join(format!("{array}.started"))
    }

    /// Whether the job of an element has started its command, or was about to. The mark is out of the command's way:
    /// what vanishes from the attempt directory changes nothing.
    pub(super) fn has_started(&self, element: &Element) -> bool {
        fs::symlink_metadata(self.marks_path(&element.array).join(element.index.to_string())).is_ok()
    }

    /// Where Slurm puts its own messages about the jobs of an array.
    pub(super) fn log_path(&self, array: &str) -> PathBuf {
        self.directory.join(format!("{array}.log"))
    }

    /// Writes an array's list and its wrapper; the list is on the disk afterwards.
    pub(super) fn write(&mut self, array: &str, members: Vec<Member>, wrapper: &str) -> io::Result<()> {
        if !self.directory.is_dir() {
            fs::create_dir_all(&self.directory)?;
            sync_directory(self.directory.parent())?;
        }
        let mut text = String::new();
        for (index, member) in members.iter().enumerate() {
            text += &member.line(index, &member.directory);
        }
        let path = self.map_path(array);
        let mut file = File::create(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::write(path.with_extension("sh"), wrapper)?;
        sync_directory(Some(&self.directory))?;
        self.read.insert(array.to_owned(), Some(members));
        Ok(())
    }

    /// The attempts of an array; nothing if it is not one of this run.
    pub(super) fn members(&mut self, array: &str) -> Option<&[Member]> {
        if !self.read.contains_key(array) {
            let members = fs::read_to_string(self.map_path(array)).ok().map(|text| parse(&text));
            self.read.insert(array.to_owned(), members);
        }
        self.read.get(array)?.as_deref()
    }

    /// Forgets what it has read of other arrays than these; it would be read again.
    pub(super) fn keep_only(&mut self, arrays: &BTreeSet<String>) {
        self.read.retain(|array, _| arrays.contains(array));
    }

    /// The attempt that an element is.
    pub(super) fn member(&mut self, element: &Element) -> Option<&Member> {
        self.members(&element.array)?.get(element.index as usize)
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
            let Some(array) = name.strip_suffix(".map").filter(|name| is_name(name)) else { continue };
            let members = self.members(array).unwrap_or_default();
            if let Some(index) = members.iter().position(|member| member.attempt == attempt) {
                let made = entry.metadata()?.modified()?;
                let element = Element { array: array.to_owned(), index: index as u32 };
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
        let (attempt, directory) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Member { is_argv, attempt, directory, secrets: words.map(str::to_owned).collect() })
    };
    text.lines().map_while(member).collect()
}

fn sync_directory(directory: Option<&Path>) -> io::Result<()> {
    directory.map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
