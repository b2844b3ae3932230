//! What is kept of attempts that ended before the journal was begun anew: sorted files in which one attempt is found
//! without reading the rest.
//!
//! A file never changes. Small ones are merged into larger ones, so that there are never many. A crash in between
//! leaves two files that tell the same, and the next merge takes both.
use super::record::{Header, line, named, open_own, read_at_most};
use crate::backend::exit::ExitRecord;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How the names of the files begin; the generations of the journal that they cover follow.
const PREFIX: &str = "ended.";
/// A newer file is merged into an older one that is not larger than this many times its size.
const RATIO: u64 = 4;
/// A part of a file that is read whole instead of being divided further, in bytes.
const WHOLE: u64 = 8 * 1024;
/// How often the place of an attempt is guessed from its id, which is random, before the rest is halved.
const GUESSES: u32 = 4;

/// The files of one backend.
#[derive(Debug)]
pub(super) struct Ended {
    directory: PathBuf,
    files: Vec<Sorted>,
}

#[derive(Debug)]
struct Sorted {
    first: u64,
    last: u64,
    file: File,
    path: PathBuf,
    begin: u64,
    length: u64,
}

impl Ended {
    /// Opens what there is.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let mut ended = Self { directory: directory.to_owned(), files: Vec::new() };
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ended),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let Some((first, last)) = name.to_str().and_then(generations) else { continue };
            let path = directory.join(&name);
            match Sorted::open(&path, first, last) {
                // merged into another one since the directory was listed
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::open(directory),
                file => ended.files.push(file?),
            }
        }
        ended.files.sort_by_key(|file| (file.first, std::cmp::Reverse(file.last)));
        Ok(ended)
    }

    /// How an attempt ended, if it did and its end is kept here.
    pub(super) fn find(&self, attempt: &str) -> io::Result<Option<ExitRecord>> {
        for file in self.files.iter().rev() {
            if let Some(record) = file.find(attempt)? {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Keeps what ended in a generation of the journal, durably, and merges what has become small beside it.
    pub(super) fn keep(&mut self, generation: u64, records: Vec<ExitRecord>) -> io::Result<()> {
        // a generation that was kept before a crash and not begun anew is kept again, and more of it
        self.files.retain(|file| file.first != generation);
        if records.is_empty() {
            return Ok(());
        }
        let sorted: BTreeMap<String, ExitRecord> =
            records.into_iter().map(|record| (record.attempt.clone(), record)).collect();
        let lines = sorted.values().map(line);
        let new = self.write(generation, generation, |file| lines.into_iter().try_for_each(|l| file.write_all(&l?)))?;
        self.files.push(new);
        self.merge()
    }

    fn merge(&mut self) -> io::Result<()> {
        while let [.., older, newer] = self.files.as_slice() {
            let covered = older.first <= newer.first && newer.last <= older.last;
            if !covered && older.length > RATIO * newer.length {
                break;
            }
            let (first, last) = (older.first.min(newer.first), older.last.max(newer.last));
            let mut sources = [older.lines()?, newer.lines()?];
            let merged = self.write(first, last, |file| merge(&mut sources, file))?;
            let gone = self.files.split_off(self.files.len() - 2);
            for file in gone.iter().filter(|file| file.path != merged.path) {
                let _ = fs::remove_file(&file.path);
            }
            self.files.push(merged);
        }
        Ok(())
    }

    fn write(
        &self,
        first: u64,
        last: u64,
        content: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> io::Result<Sorted> {
        let (temporary, path) =
            (self.directory.join(".ended.tmp"), self.directory.join(format!("{PREFIX}{first}-{last}")));
        let file = open_own(OpenOptions::new().write(true).create(true).truncate(true), &temporary)?;
        let header = Header::new(&file, last, None)?;
        let mut writer = BufWriter::with_capacity(64 * 1024, file);
        writer.write_all(&line(&header)?)?;
        content(&mut writer)?;
        writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        fs::rename(&temporary, &path)?;
        File::open(&self.directory)?.sync_all()?;
        Sorted::open(&path, first, last)
    }
}

fn generations(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// The attempt of a line; lines begin with it.
fn attempt_of(line: &[u8]) -> Option<&str> {
    let id = line.strip_prefix(br#"{"format":1,"attempt":""#)?;
    std::str::from_utf8(id.get(..id.iter().position(|byte| *byte == b'"')?)?).ok()
}

fn merge(sources: &mut [BufReader<File>; 2], to: &mut BufWriter<File>) -> io::Result<()> {
    let mut lines = [Vec::new(), Vec::new()];
    let next = |source: &mut BufReader<File>, line: &mut Vec<u8>| {
        line.clear();
        source.read_until(b'\n', line)
    };
    for (source, line) in sources.iter_mut().zip(&mut lines) {
        next(source, line)?;
    }
    loop {
        let [older, newer] = lines.each_ref().map(|line| attempt_of(line));
        let take = match (older, newer) {
            (None, None) => return Ok(()),
            (Some(_), None) => 0,
            (Some(older), Some(newer)) if older < newer => 0,
            (Some(older), Some(newer)) if older == newer => {
                next(&mut sources[0], &mut lines[0])?;
                continue;
            }
            (_, Some(_)) => 1,
        };
        to.write_all(&lines[take])?;
        next(&mut sources[take], &mut lines[take])?;
    }
}

impl Sorted {
    fn open(path: &Path, first: u64, last: u64) -> io::Result<Self> {
        let file = open_own(OpenOptions::new().read(true), path)?;
        let begin = Header::read(&file).map_err(|error| named(path, error))?.map_or(0, |(_, begin)| begin);
        let length = file.metadata()?.len();
        Ok(Self { first, last, file, path: path.to_owned(), begin, length })
    }

    fn lines(&self) -> io::Result<BufReader<File>> {
        let mut file = open_own(OpenOptions::new().read(true), &self.path)?;
        file.seek(SeekFrom::Start(self.begin))?;
        Ok(BufReader::with_capacity(64 * 1024, file))
    }

    /// Narrows down where the line can be, first by what a random id tells and then by halves, and reads that.
    fn find(&self, attempt: &str) -> io::Result<Option<ExitRecord>> {
        let (mut low, mut high) = (self.begin, self.length);
        let (mut guesses, mut last_line) = (0, false);
        let mut window = vec![0_u8; 2048];
        while high - low > WHOLE {
            let share = if guesses < GUESSES { share_of(attempt) } else { 0.5 };
            let (from, over) =
                if guesses < GUESSES { (self.begin, self.length - self.begin) } else { (low, high - low) };
            // a little before the guess and a little behind it by turns, so that both sides close in
            let lean = if guesses % 2 == 0 { WHOLE as i64 / 3 } else { -(WHOLE as i64) / 3 };
            let lean = if guesses < GUESSES { lean } else { 0 };
            guesses += 1;
            let middle = (from as f64 + share * over as f64) as i64 + lean;
            let middle = (middle.max(0) as u64).clamp(low + 1, high - 1);
            let filled = read_at_most(&self.file, &mut window, middle)?;
            let Some((start, end)) = next_line(&window[..filled]) else {
                if (filled as u64) < window.len() as u64 {
                    // only the end of the last line lies behind the middle
                    (high, last_line) = (middle, true);
                } else {
                    window.resize(window.len() * 2, 0);
                }
                continue;
            };
            match attempt_of(&window[start..end]).map(|found| found.cmp(attempt)) {
                Some(std::cmp::Ordering::Equal) => return Ok(serde_json::from_slice(&window[start..end]).ok()),
                Some(std::cmp::Ordering::Less) => low = middle + end as u64,
                // the line that begins before the middle may be the one
                Some(std::cmp::Ordering::Greater) => (high, last_line) = (middle + start as u64, false),
                None => return Err(named(&self.path, io::Error::other("it is damaged"))),
            }
            if high <= low || guesses > 64 {
                break;
            }
        }
        self.scan(low, if last_line { self.length } else { high.max(low) }, attempt)
    }

    /// Looks at every line that begins between two places.
    fn scan(&self, low: u64, high: u64, attempt: &str) -> io::Result<Option<ExitRecord>> {
        let mut bytes = vec![0_u8; usize::try_from(high - low).map_err(io::Error::other)?];
        let filled = read_at_most(&self.file, &mut bytes, low)?;
        let mut lines = bytes[..filled].split(|byte| *byte == b'\n');
        let found = lines.find(|line| attempt_of(line) == Some(attempt));
        Ok(found.and_then(|line| serde_json::from_slice(line).ok()))
    }
}

/// The first whole line that begins in a window, without its line feed.
fn next_line(window: &[u8]) -> Option<(usize, usize)> {
    let start = window.iter().position(|byte| *byte == b'\n')? + 1;
    let end = start + window.get(start..)?.iter().position(|byte| *byte == b'\n')?;
    Some((start, end))
}

/// Which share of all random ids comes before this one.
fn share_of(attempt: &str) -> f64 {
    let digits = attempt.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    digits.map_or(0.5, |digits| f64::from(digits) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::Ended;
    use crate::backend::exit::{ExitRecord, Reason};

    fn record(attempt: &str, code: i32) -> ExitRecord {
        ExitRecord {
            code: Some(code),
            ..ExitRecord::new(attempt.to_owned(), Reason::Exited, "2026-01-01T00:00:00Z".to_owned())
        }
    }

    fn id(number: u64) -> String {
        crate::model::document::sha256(&number.to_le_bytes())[..32].to_owned()
    }

    /// Every attempt of many generations is found, none other is, and there are few files at any time.
    #[test]
    fn what_ended_is_found_and_nothing_else() {
        for plain in [false, true] {
            let name = |number: u64| if plain { format!("a{number}") } else { id(number) };
            let directory = tempfile::tempdir().expect("a directory");
            let mut ended = Ended::open(directory.path()).expect("opened");
            for generation in 0..40 {
                let records = (0..50).map(|n| record(&name(generation * 50 + n), generation as i32));
                ended.keep(generation, records.collect()).expect("kept");
                assert!(ended.files.len() <= 6, "{} files", ended.files.len());
            }
            let fresh = Ended::open(directory.path()).expect("opened");
            for number in 0..2000 {
                let found = fresh.find(&name(number)).expect("looked").unwrap_or_else(|| panic!("{number} is missing"));
                assert_eq!((found.attempt, found.code), (name(number), Some(number as i32 / 50)));
            }
            for number in 2000..3000 {
                assert!(fresh.find(&name(number)).expect("looked").is_none(), "{number}");
            }
            let files = std::fs::read_dir(directory.path()).expect("a directory").count();
            assert_eq!(files, fresh.files.len(), "nothing else is left");
        }
    }

    /// A generation that was kept, and again with more after a crash, tells what is newer.
    #[test]
    fn a_generation_kept_twice_tells_the_newer() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut ended = Ended::open(directory.path()).expect("opened");
        ended.keep(0, vec![record("a", 1)]).expect("kept");
        ended.keep(1, vec![record("b", 1)]).expect("kept");
        let mut again = Ended::open(directory.path()).expect("opened");
        again.keep(1, vec![record("b", 2), record("c", 2)]).expect("kept");
        let codes = ["a", "b", "c"].map(|id| again.find(id).expect("looked").and_then(|record| record.code));
        assert_eq!(codes, [Some(1), Some(2), Some(2)]);
    }
}
