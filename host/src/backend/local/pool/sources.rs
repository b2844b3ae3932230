//! What the site and the person say of the machine, read again when one of their files has changed.
use super::room::Room;
use crate::ground::files::read_named;
use crate::ground::{machine, share};
use crate::model::config::CONFIG_MAX;
use crate::model::pool::MachineConfig;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What tells whether a file has changed: its number, its length and its time.
type Marks = Vec<Option<(u64, u64, i64, i64)>>;

/// The files, and what was read from them.
#[derive(Debug)]
pub(super) struct Sources {
    files: Vec<PathBuf>,
    marks: Marks,
    /// What they say, with what there is in all; or what is wrong with them.
    pub(super) said: Result<(MachineConfig, Room), String>,
}

impl Sources {
    pub(super) fn read() -> Self {
        let files = [Some(share::site_settings()), share::user_settings()].into_iter().flatten().collect();
        let mut sources = Self { files, marks: Vec::new(), said: Err(String::new()) };
        sources.read_again();
        sources
    }

    /// Reads the files if one has changed; tells whether.
    pub(super) fn refresh(&mut self) -> bool {
        let changed = self.marks() != self.marks;
        if changed {
            self.read_again();
        }
        changed
    }

    fn marks(&self) -> Marks {
        let mark = |file: fs::Metadata| (file.ino(), file.len(), file.mtime(), file.mtime_nsec());
        self.files.iter().map(|path| fs::metadata(path).ok().map(mark)).collect()
    }

    fn read_again(&mut self) {
        self.marks = self.marks();
        self.said = self.say();
    }

    fn say(&self) -> Result<(MachineConfig, Room), String> {
        let mut texts = Vec::new();
        for path in &self.files {
            match read_named(path, CONFIG_MAX) {
                Ok(text) => texts.push((path.display().to_string(), text)),
                Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {}
                Err(error) => return Err(format!("`{}`: {error}", path.display())),
            }
        }
        let machine = MachineConfig::read(&texts)?;
        let room = Room::of(&machine, machine::usable_cores(), share::usable_memory_mb());
        Ok((machine, room))
    }
}
