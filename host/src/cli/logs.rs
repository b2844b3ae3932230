//! `logs`: what a task wrote, as it grows.
use super::output::{pass_to_stderr, pass_to_stdout, reader_went_away, tell};
use super::show::refuse_to_stay;
use super::tasks::the_task;
use super::{Session, shown};
use crate::failure::Failure;
use crate::ground::files::{is_link, open_regular_path};
use crate::ground::words::positional;
use crate::model::states::AttemptState;
use crate::store::{AttemptRow, Store};
use crate::workspace::read_store;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::time::Duration;

pub(super) fn logs(
    session: &Session,
    name: &str,
    task: &str,
    follow: bool,
    number: Option<u32>,
) -> Result<u8, Failure> {
    let dir = session.run(name)?;
    let mut store = read_store(&dir)?;
    let key = the_task(&store, task)?.key;
    let attempt = the_attempt(&store, key, number)?.ok_or_else(|| match number {
        Some(number) => Failure::input(format!("task `{task}` has no attempt {number}")),
        None => Failure::input(format!("task `{task}` has had no attempt yet")).hint(format!(
            "`matterstack explain {} {}` says why",
            dir.address(),
            positional(task)
        )),
    })?;
    let directory = dir.join(&attempt.directory);
    let mut streams = [Tail::new(directory.join("stdout"), false), Tail::new(directory.join("stderr"), true)];
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
    if streams.iter().all(|stream| stream.offset == 0) {
        tell(&format!("attempt {} has written nothing; its files are in {}", attempt.number, shown(&directory)));
    }
    Ok(0)
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
