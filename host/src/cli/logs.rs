//! `logs`: what a task wrote, as it grows.
use super::output::{
    JsonList, lines, one_line, pass_to_stderr, pass_to_stdout, print, reader_went_away, tell, was_removed,
};
use super::show::refuse_to_stay;
use super::tasks::the_task;
use super::{Session, shown};
use crate::failure::Failure;
use crate::ground::files::{is_link, open_regular_path};
use crate::ground::words::positional;
use crate::model::evidence::{LogKind, LogRecord};
use crate::model::states::AttemptState;
use crate::run::RunDir;
use crate::store::{AttemptRow, Store};
use crate::workspace::read_store;
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::time::Duration;

/// Bytes of a file that are looked through at once for its last lines.
const TAIL_PIECE: u64 = 64 * 1024;

/// What is printed of a task's logs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Which {
    /// Go on until the attempt ends.
    pub(super) follow: bool,
    /// The attempt's number; the last without one.
    pub(super) attempt: Option<u32>,
    /// Only so many lines from the end.
    pub(super) tail: Option<usize>,
}

/// Prints what plugins have logged, the oldest first.
pub(super) fn of_plugins(session: &Session, name: &str, tail: Option<usize>) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    let path = dir.log();
    let failed = |error| Failure::machine(format!("`{}` cannot be read", path.display()), error);
    let mut list = JsonList::default();
    match open_regular_path(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => tell("no plugin has logged anything"),
        file => {
            let mut file = file.map_err(failed)?;
            let from = tail.map_or(Ok(0), |lines| begin_of_last(&mut file, lines)).map_err(failed)?;
            file.seek(SeekFrom::Start(from)).map_err(failed)?;
            for line in BufReader::new(file).lines() {
                // the last line may be under way
                let Ok(entry) = serde_json::from_str::<Value>(&line.map_err(failed)?) else { continue };
                if session.json {
                    print(&list.rows(&[entry])?)?;
                    continue;
                }
                let word = |key: &str| entry[key].as_str().unwrap_or_default();
                let of = format!("{} {} {}", word("time"), word("level"), word("plugin"));
                let attempt = entry["attempt"].as_str().map(|attempt| format!(" {attempt}")).unwrap_or_default();
                print(&format!("{}: {}\n", one_line(&format!("{of}{attempt}")), lines(word("message"))))?;
            }
        }
    }
    if session.json {
        print(list.end())?;
    }
    Ok(0)
}

/// Where the last lines of a file begin.
fn begin_of_last(file: &mut File, wanted: usize) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let (mut seen, mut last) = (0, true);
    while end > 0 && wanted > 0 {
        let begin = end.saturating_sub(TAIL_PIECE);
        file.seek(SeekFrom::Start(begin))?;
        let mut piece = vec![0; (end - begin) as usize];
        file.read_exact(&mut piece)?;
        for (place, byte) in piece.iter().enumerate().rev() {
            // the line feed at the very end belongs to the last line
            if *byte == b'\n' && !std::mem::replace(&mut last, false) {
                seen += 1;
                if seen == wanted {
                    return Ok(begin + place as u64 + 1);
                }
            }
            last = false;
        }
        end = begin;
    }
    Ok(if wanted == 0 { file.metadata()?.len() } else { 0 })
}

pub(super) fn logs(session: &Session, name: &str, task: &str, which: Which) -> Result<u8, Failure> {
    let Which { follow, attempt: number, tail } = which;
    let dir = session.run(name)?;
    let mut store = read_store(&dir)?;
    let key = the_task(&dir, &store, task)?.key;
    let attempt = the_attempt(&store, key, number)?.ok_or_else(|| match number {
        Some(number) => Failure::input(format!("task `{task}` has no attempt {number}")),
        None => Failure::input(format!("task `{task}` has had no attempt yet")).hint(format!(
            "`matterstack explain {} {}` says why",
            dir.address(),
            positional(task)
        )),
    })?;
    let directory = dir.join(&attempt.directory);
    if let Some(removed) = store.removed_file(attempt.key, "")? {
        return Err(Failure::input(format!("what attempt {} wrote {}", attempt.number, was_removed(&removed))));
    }
    let mut streams = if dir.is_bundle() {
        in_bundle(&dir, &store, &attempt)?
    } else {
        vec![Tail::new(directory.join("stdout"), false), Tail::new(directory.join("stderr"), true)]
    };
    if let Some(lines) = tail {
        streams.iter_mut().for_each(|stream| stream.skip_to_last(lines));
    }
    let mut live = !attempt.state.ended();
    loop {
        for stream in &mut streams {
            if stream.copy_new()?.is_break() {
                return Ok(0);
            }
        }
        if !follow || !live {
            break;
        }
        refuse_to_stay(&store)?;
        // Nobody's log grows because somebody follows a job for days.
        drop(store);
        // The command writes its files without telling anybody whom a watch could be shared with.
        if reader_went_away(Duration::from_millis(200)) {
            return Ok(0);
        }
        store = read_store(&dir)?;
        live = store.attempts(key)?.iter().any(|other| other.id == attempt.id && !other.state.ended())
            && attempt.state != AttemptState::Created;
    }
    if streams.iter().all(|stream| stream.offset == 0) && dir.is_bundle() {
        tell(&format!("attempt {} has written nothing, or what it wrote is not in the bundle", attempt.number));
    } else if streams.iter().all(|stream| stream.offset == 0) {
        tell(&format!("attempt {} has written nothing; its files are in {}", attempt.number, shown(&directory)));
    }
    Ok(0)
}

/// What an attempt wrote, where a bundle has it.
fn in_bundle(dir: &RunDir, store: &Store, attempt: &AttemptRow) -> Result<Vec<Tail>, Failure> {
    let stream = |log: LogRecord| {
        let path = dir.join(&dir.left(&attempt.directory, log.kind.file(), &log.sha256));
        match log.kind {
            LogKind::Stdout => Some(Tail::new(path, false)),
            LogKind::Stderr => Some(Tail::new(path, true)),
            LogKind::Exit => None,
        }
    };
    Ok(store.logs(attempt.key)?.into_iter().filter_map(stream).collect())
}

/// The attempt of a task that has this number; without one, the last.
fn the_attempt(store: &Store, key: i64, number: Option<u32>) -> Result<Option<AttemptRow>, Failure> {
    let mut attempts = store.attempts(key)?;
    attempts.retain(|attempt| number.is_none_or(|number| attempt.number == number));
    Ok(attempts.pop())
}

/// A file that is printed as it grows.
struct Tail {
    path: std::path::PathBuf,
    to_stderr: bool,
    offset: u64,
}

impl Tail {
    fn new(path: std::path::PathBuf, to_stderr: bool) -> Self {
        Self { path, to_stderr, offset: 0 }
    }

    /// Passes over all but the last lines of what is there; what cannot be read is told when it is printed.
    fn skip_to_last(&mut self, lines: usize) {
        let begin = open_regular_path(&self.path).and_then(|mut file| begin_of_last(&mut file, lines));
        self.offset = begin.unwrap_or(0);
    }

    /// Prints what has come since the last call; breaks off when nobody reads any more.
    fn copy_new(&mut self) -> Result<ControlFlow<()>, Failure> {
        let mut file = match open_regular_path(&self.path) {
            Ok(file) => file,
            // What is not there yet may come; a link or a pipe in its place is the job's doing, and is neither followed
            // nor read.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) || is_link(&error) => {
                return Ok(ControlFlow::Continue(()));
            }
            Err(error) => return Err(Failure::machine(format!("`{}` cannot be read", self.path.display()), error)),
        };
        let failed = |error| Failure::machine(format!("`{}` cannot be read", self.path.display()), error);
        file.seek(SeekFrom::Start(self.offset)).map_err(failed)?;
        let mut buffer = vec![0_u8; 64 * 1024];
        loop {
            let read = file.read(&mut buffer).map_err(failed)?;
            if read == 0 {
                return Ok(ControlFlow::Continue(()));
            }
            self.offset += read as u64;
            let flow = if self.to_stderr { pass_to_stderr(&buffer[..read]) } else { pass_to_stdout(&buffer[..read])? };
            if flow.is_break() {
                return Ok(flow);
            }
        }
    }
}
