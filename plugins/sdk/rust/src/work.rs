//! The attempt directory, as an operator reaches it: `/work`, and the files in which people, clusters and robots
//! answer.
//!
//! Whoever answers may put anything in the place of a file: a link, a pipe, a directory, half of a document, a
//! gigabyte. What is not a regular file is never opened, so that nothing blocks and nothing else is read; what is too
//! large is not read; what cannot be read yet is not an answer.
use crate::error::Error;
pub use matterstack_document::visible;
use matterstack_document::{self as document, Dialect, FaultKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Answers that are set aside for one file before the operator gives up.
const SET_ASIDE_MAX: u32 = 1_000;

thread_local! {
    static ROOT: RefCell<PathBuf> = RefCell::new(PathBuf::from("/work"));
}

/// A path in the attempt directory.
pub fn path(relative: impl AsRef<Path>) -> PathBuf {
    ROOT.with_borrow(|root| root.join(relative))
}

/// Runs `body` with another directory in the place of `/work` on this thread: for native tests.
pub fn with_directory<T>(directory: &Path, body: impl FnOnce() -> T) -> T {
    let before = ROOT.replace(directory.to_owned());
    let value = body();
    ROOT.set(before);
    value
}

/// SHA-256 of bytes, as 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A SHA-256 in the making. What it has come to can be kept in a state, so that a long document which only grows is not
/// read again for each digest of it.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes that were added, as 64 hexadecimal digits.
    pub fn digest(self) -> String {
        hex(&self.0.finalize())
    }

    /// What it has come to, as a text for [`Hasher::kept`].
    pub fn keep(&self) -> String {
        hex(&self.0.serialize())
    }

    /// The hasher that was kept so; nothing if the text is no such thing.
    pub fn kept(text: &str) -> Option<Self> {
        let digits = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let bytes: Vec<u8> = digits.collect::<Option<_>>()?;
        Sha256::deserialize(bytes.as_slice().try_into().ok()?).ok().map(Self)
    }
}

/// SHA-256 and size of a file, as it is copied to `to`. Fails if it is not a regular file.
pub fn copy_hashed(from: &Path, to: &mut dyn Write) -> io::Result<(String, u64)> {
    let mut file = open(from)?;
    let (mut hasher, mut size, mut buffer) = (Sha256::new(), 0, vec![0_u8; 256 * 1024]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex(&hasher.finalize()), size));
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Refuses a task's own file whose first folder or name is `reserved` for what passes between the operator and the
/// outside: a campaign must not answer its own questions. Fails with `invalid` and the code `reserved`.
pub fn refuse_reserved<'a>(
    files: impl IntoIterator<Item = &'a String>,
    reserved: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let first = |file: &&String| file.split('/').find(|part| !part.is_empty() && *part != ".").is_none_or(&reserved);
    match files.into_iter().find(first) {
        Some(file) => {
            Err(Error::invalid("reserved", format!("file `{file}` has a name that the operator itself needs")))
        }
        None => Ok(()),
    }
}

/// What is at a path, links not followed.
#[derive(Debug)]
pub enum Entry {
    /// Nothing.
    Missing,
    /// A regular file: its size, and when it was last modified in milliseconds since the epoch.
    File(u64, u64),
    /// A directory.
    Directory,
    /// Something that is neither, and what it is in words.
    Other(&'static str),
}

/// Looks at a path without following links or opening anything.
pub fn entry(path: &Path) -> io::Result<Entry> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Entry::Missing),
        Err(error) => return Err(error),
    };
    let kind = metadata.file_type();
    Ok(if kind.is_file() {
        Entry::File(metadata.len(), modified_ms(&metadata))
    } else if kind.is_dir() {
        Entry::Directory
    } else if kind.is_symlink() {
        Entry::Other("a link")
    } else {
        Entry::Other("neither a file nor a directory")
    })
}

fn modified_ms(metadata: &fs::Metadata) -> u64 {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    modified.map_or(0, |since| since.as_millis() as u64)
}

/// Opens a regular file for reading. A pipe is refused before it can block.
pub fn open(path: &Path) -> io::Result<File> {
    match entry(path)? {
        Entry::File(..) => File::open(path),
        Entry::Missing => Err(ErrorKind::NotFound.into()),
        Entry::Directory => Err(io::Error::other("it is a directory")),
        Entry::Other(what) => Err(io::Error::other(format!("it is {what}"))),
    }
}

/// Makes a new file for writing; whatever had its name is gone. Nothing that exists is ever opened.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Writes a file so that nobody ever sees half of it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let aside = beside(path, "part");
    let work = || {
        let mut file = create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    work().map_err(|error| failed("written", path, &error))
}

/// `.NAME.SUFFIX` in the same directory.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    path.with_file_name(format!(".{}.{suffix}", name(path)))
}

/// The name of a file, for messages and for the names of its neighbours.
pub fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// An error of the machine, which may pass.
pub fn failed(what: &str, path: &Path, error: &io::Error) -> Error {
    let detail = crate::Detail::new("io", format!("`{}` cannot be {what}: {error}", name(path)));
    Error::Transient(detail, None)
}

/// Now, in milliseconds since the epoch, by the clock of the file system that holds `directory`: the clock that also
/// stamps the files in it, so that no difference between two machines matters.
pub fn now_ms(directory: &Path) -> Result<u64, Error> {
    let path = directory.join(".clock");
    let work = || {
        let mut file = create(&path)?;
        file.write_all(b".")?;
        let now = modified_ms(&file.metadata()?);
        fs::remove_file(&path)?;
        Ok(now)
    };
    work().map_err(|error: io::Error| failed("written", &path, &error))
}

/// What was seen of a file that could not be taken yet, and since when it has looked like that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What it looked like.
    pub mark: String,
    /// Since when, by the file system's clock.
    pub since_ms: u64,
}

impl Seen {
    /// Whether something has looked the same for `settle_ms`; keeps in `seen` what it looks like now.
    pub fn settled(seen: &mut Option<Seen>, mark: String, settle_ms: u64, directory: &Path) -> Result<bool, Error> {
        let now = now_ms(directory)?;
        match seen {
            Some(known) if known.mark == mark && now >= known.since_ms => Ok(now - known.since_ms >= settle_ms),
            _ => {
                *seen = Some(Seen { mark, since_ms: now });
                Ok(false)
            }
        }
    }
}

/// What lies in the place where a document is awaited.
#[derive(Debug)]
pub enum Letter {
    /// Nothing.
    None,
    /// Something that may still be in the making; the text says what is wrong with it so far.
    NotYet(String),
    /// Something that will never be an answer; the text says why.
    Wrong(String),
    /// A whole JSON document.
    Document(Document),
}

/// A whole JSON document.
#[derive(Debug)]
pub struct Document {
    /// The document.
    pub value: Value,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// When the file was last modified, in milliseconds since the epoch.
    pub modified_ms: u64,
}

/// Reads the JSON document at `path`, at most `max_bytes` long. What not every reader would read alike is wrong: a key
/// that stands twice, an integer that no double holds, half a surrogate pair, a byte order mark. What does not parse is
/// taken for half of something until it has stayed the same for `settle_ms` between two looks; `seen` is what the
/// operator's handle keeps from one to the next.
pub fn letter(path: &Path, max_bytes: u64, settle_ms: u64, seen: &mut Option<Seen>) -> Result<Letter, Error> {
    let io = |error: io::Error| failed("read", path, &error);
    let (size, modified_ms) = match entry(path).map_err(io)? {
        Entry::Missing => {
            *seen = None;
            return Ok(Letter::None);
        }
        Entry::File(size, modified_ms) => (size, modified_ms),
        Entry::Directory => return Ok(Letter::Wrong("it is a directory".to_owned())),
        Entry::Other(what) => return Ok(Letter::Wrong(format!("it is {what}"))),
    };
    if size > max_bytes {
        return Ok(Letter::Wrong(format!("it has {size} bytes; at most {max_bytes} are read")));
    }
    let mut bytes = Vec::new();
    open(path).and_then(|file| file.take(max_bytes + 1).read_to_end(&mut bytes)).map_err(io)?;
    if bytes.len() as u64 > max_bytes {
        return Ok(Letter::Wrong(format!("it has more than {max_bytes} bytes")));
    }
    let why = match serde_json::from_slice::<Value>(&bytes) {
        // Digits may go on; everything else in JSON says itself where it ends.
        Ok(Value::Number(_)) if bytes.last().is_some_and(u8::is_ascii_digit) => None,
        Ok(value) => {
            *seen = None;
            return Ok(match document::read(&bytes, Dialect::Strict) {
                Ok(_) => Letter::Document(Document { value, bytes, modified_ms }),
                Err(fault) => Letter::Wrong(fault.to_string()),
            });
        }
        Err(error) => Some(match document::read(&bytes, Dialect::Strict) {
            // What ends as JSON ends, and says what cannot be kept, does not become better by waiting.
            Err(fault) if !error.is_eof() && !fault.kind.is_syntax() && !matches!(fault.kind, FaultKind::Depth(_)) => {
                return Ok(Letter::Wrong(fault.to_string()));
            }
            Err(fault) => format!("it is not JSON: {fault}"),
            Ok(_) => format!("it is not JSON: {error}"),
        }),
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    let settled = Seen::settled(seen, format!("{size} {modified_ms} {}", sha256(&bytes)), settle_ms, directory)?;
    Ok(match (settled, why) {
        (false, why) => Letter::NotYet(why.unwrap_or_else(|| "it may be half of a number".to_owned())),
        (true, Some(why)) => Letter::Wrong(why),
        (true, None) => match document::read(&bytes, Dialect::Strict) {
            Ok(value) => Letter::Document(Document { value, bytes, modified_ms }),
            Err(fault) => Letter::Wrong(fault.to_string()),
        },
    })
}

/// Puts what is no answer aside, as `NAME.invalid-N.EXTENSION`, with a note `NAME.invalid-N.txt` that says why. Returns
/// the name of the note. Nothing is lost: the file keeps its content under its new name.
pub fn set_aside(path: &Path, why: &str, what_helps: &str) -> Result<String, Error> {
    let text = name(path);
    let (stem, extension) = text.rsplit_once('.').unwrap_or((&text, "file"));
    for number in 1..=SET_ASIDE_MAX {
        let aside = path.with_file_name(format!("{stem}.invalid-{number}.{extension}"));
        let note = path.with_file_name(format!("{stem}.invalid-{number}.txt"));
        let free = |path: &Path| matches!(entry(path), Ok(Entry::Missing));
        if !free(&aside) || !free(&note) {
            continue;
        }
        let why = visible(why);
        write(&note, format!("`{text}` was set aside as `{}`: {why}.\n\n{what_helps}\n", name(&aside)).as_bytes())?;
        fs::rename(path, &aside).map_err(|error| failed("set aside", path, &error))?;
        return Ok(name(&note));
    }
    Err(Error::other("too-many-answers", format!("{SET_ASIDE_MAX} files were set aside for `{text}` already")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("sdk-work-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    #[test]
    fn half_of_a_document_is_not_taken_until_it_has_settled() {
        let directory = scratch("half");
        let (file, mut seen) = (directory.join("answer.json"), None);
        let mut look = |settle_ms| letter(&file, 100, settle_ms, &mut seen).unwrap();
        assert!(matches!(look(0), Letter::None));
        fs::write(&file, "{\"a\": ").unwrap();
        assert!(matches!(look(0), Letter::NotYet(_)), "the first look at anything unreadable waits");
        assert!(matches!(look(60_000), Letter::NotYet(_)));
        assert!(matches!(look(0), Letter::Wrong(_)), "it has not changed between two looks");
        fs::write(&file, "{\"a\": 1").unwrap();
        assert!(matches!(look(0), Letter::NotYet(_)), "it has changed");
        fs::write(&file, "{\"a\": 1}").unwrap();
        assert!(matches!(look(60_000), Letter::Document(_)));
        fs::write(&file, "12").unwrap();
        assert!(matches!(look(60_000), Letter::NotYet(_)), "digits may go on");
        fs::write(&file, "123\n").unwrap();
        assert!(matches!(look(60_000), Letter::Document(_)));
    }

    #[test]
    fn what_readers_would_change_is_wrong_at_once_and_named() {
        let directory = scratch("alike");
        let (file, mut seen) = (directory.join("answer.json"), None);
        let cases: [(&[u8], &str); 5] = [
            (b"{\"data\":{\"t_ns\":1764140000123456789}}", "`data.t_ns` is 1764140000123456789"),
            (b"{\"a\":[{\"b\":1,\"b\":2}]}", "`a[0].b` stands twice"),
            (b"{\"a\":\"\\ud800\"}", "`a` holds \\ud800"),
            (b"\xef\xbb\xbf{}", "byte order mark (UTF-8)"),
            (b"\xff\xfe{\0}\0", "byte order mark (UTF-16)"),
        ];
        for (bytes, words) in cases {
            fs::write(&file, bytes).unwrap();
            match letter(&file, 1000, 60_000, &mut seen).unwrap() {
                Letter::Wrong(why) => assert!(why.contains(words), "{why}"),
                other => panic!("{words}: {other:?}"),
            }
        }
        fs::write(&file, "{\r\n  \"a\": 150000000000000000\r\n}\r\n").unwrap();
        assert!(matches!(letter(&file, 1000, 60_000, &mut seen).unwrap(), Letter::Document(_)), "CRLF is white space");
    }

    #[test]
    fn nothing_but_a_small_regular_file_is_read() {
        let directory = scratch("odd");
        let (file, mut seen) = (directory.join("answer.json"), None);
        let mut wrong = |what: &str| match letter(&file, 10, 0, &mut seen).unwrap() {
            Letter::Wrong(why) => assert!(why.contains(what), "{why}"),
            other => panic!("{what}: {other:?}"),
        };
        fs::create_dir(&file).unwrap();
        wrong("directory");
        fs::remove_dir(&file).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        wrong("link");
        fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
        wrong("neither");
        fs::remove_file(&file).unwrap();
        fs::write(&file, "[1,2,3,4,5,6]").unwrap();
        wrong("13 bytes");
    }

    #[test]
    fn what_is_set_aside_keeps_its_content_and_gets_a_number() {
        let directory = scratch("aside");
        let file = directory.join("answer.json");
        for number in 1..=2 {
            fs::write(&file, number.to_string()).unwrap();
            assert_eq!(set_aside(&file, "wrong", "Try again.").unwrap(), format!("answer.invalid-{number}.txt"));
            let aside = directory.join(format!("answer.invalid-{number}.json"));
            assert_eq!(fs::read_to_string(aside).unwrap(), number.to_string());
        }
        assert!(!file.exists());
    }
}
