//! What ticks know of attempts: the end of the journal, kept in memory and brought up to date from where it was read
//! last; behind it, on demand, the rest of the journal, what is kept of ended attempts, and the queue.
use super::ended::Ended;
use super::record::{Entry, Header, Order, Process, existing, read_lines, records};
use super::{aside, journal, queue};
use crate::backend::exit::ExitRecord;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;

/// Where an attempt stands.
#[derive(Debug, Clone)]
pub(super) enum State {
    Queued,
    Claimed,
    /// The machine has no room to start it now, and why.
    NoRoom(String),
    Started(Process),
    /// Seen to end, and not written everywhere yet.
    Ending(ExitRecord),
    Ended(ExitRecord),
}

/// A place in the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) generation: u64,
    pub(super) offset: u64,
}

/// The attempts that started or ended since some place of the journal.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// Each once, in the order of their first change.
    pub(super) attempts: Vec<String>,
    /// The place is so long ago that there may be others.
    pub(super) more: bool,
}

/// What this process has read.
#[derive(Debug, Default)]
pub(super) struct Index {
    place: Option<Place>,
    /// Which journal was read.
    pair: Option<u64>,
    /// The queue that was read: its generation, and up to where.
    queue: Option<Place>,
    attempts: HashMap<String, State>,
    /// The generation of which the whole journal, and the queue, has been read.
    whole: Option<u64>,
    /// Attempts whose end was told since then and is not kept in memory.
    told: HashSet<String>,
}

impl Index {
    /// Behind the last line read.
    pub(super) fn place(&self) -> Place {
        self.place.unwrap_or_default()
    }

    /// Whether the end of an attempt is in memory: it never changes, so that nothing has to be read for it.
    pub(super) fn has_ended(&self, attempt: &str) -> bool {
        matches!(self.attempts.get(attempt), Some(State::Ended(_)))
    }

    /// Forgets an attempt whose end was told. Whoever asks again makes the whole be read again.
    pub(super) fn forget(&mut self, attempt: &str) {
        self.attempts.remove(attempt);
        self.told.insert(attempt.to_owned());
    }

    /// Notes that what is in memory does not tell everything.
    fn note_gap(&mut self) {
        self.whole = None;
        self.told.clear();
    }

    fn forget_all(&mut self) {
        self.attempts.clear();
        self.note_gap();
    }

    /// Makes the next look at an attempt that nothing in memory names read everything again.
    pub(super) fn look_again(&mut self) {
        self.whole = None;
    }

    /// What changed since a place; no place is known to a process or a boot that has not looked yet.
    pub(super) fn changes(&mut self, directory: &Path, from: Option<Place>) -> io::Result<Since> {
        aside::check_pair(directory)?;
        let Some((journal, header, begin)) = open_journal(directory)? else {
            // of one that was read before, others may have seen more
            let more = from.is_some_and(|from| from != Place::default());
            self.forget_all();
            (self.pair, self.place) = (None, Some(Place::default()));
            return Ok(Since { more, ..Since::default() });
        };
        let length = journal.metadata()?.len();
        let mut since = Since::default();
        if self.pair != header.pair {
            self.forget_all();
            self.pair = header.pair;
        } else if self.place.is_some_and(|place| place.generation != header.generation) {
            // their ends are kept elsewhere by now, and a `loop` of weeks must not remember them all
            self.attempts.retain(|_, state| !matches!(state, State::Ended(_)));
            self.note_gap();
        }
        let from = match from {
            Some(from) if from.generation == header.generation && from.offset <= length => from.offset,
            Some(from) if from.generation + 1 == header.generation => {
                since.more = !self.read_before(directory, from, &mut since)?;
                0
            }
            // where there was none, and this is the first: nothing is missed
            Some(from) if from == Place::default() && header.pair == Some(header.generation) => 0,
            _ => {
                since.more = true;
                0
            }
        };
        if since.more {
            // what was read before may have changed in what is missed
            self.forget_all();
        }
        self.read(&journal, header.generation, from.max(begin), &mut since)?;
        Ok(since)
    }

    /// Reads what was added to the generation before after a place in it; `false` if that is gone.
    fn read_before(&mut self, directory: &Path, from: Place, since: &mut Since) -> io::Result<bool> {
        let Some(file) = existing(&directory.join(journal::BEFORE))? else { return Ok(false) };
        match Header::read(&file)? {
            Some((header, begin)) if header.generation == from.generation => {
                self.read(&file, header.generation, from.offset.max(begin), since)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Reads what was added, in this generation and in the one that follows it.
    pub(super) fn refresh(&mut self, directory: &Path) -> io::Result<()> {
        if let Some(place) = self.place {
            self.changes(directory, Some(place))?;
        }
        Ok(())
    }

    /// Where an attempt stands that the end of the journal does not name: reads the whole journal and queue, once for
    /// all attempts, and of those that ended before only this one.
    pub(super) fn look_up(&mut self, directory: &Path, attempt: &str) -> io::Result<Option<State>> {
        match self.attempts.get(attempt) {
            Some(State::Queued) | None => {}
            state => return Ok(state.cloned()),
        }
        let journal = open_journal(directory)?;
        let generation = journal.as_ref().map_or(0, |(_, header, _)| header.generation);
        if self.whole != Some(generation) || self.told.contains(attempt) || !self.holds_queue(directory)? {
            aside::check_pair(directory)?;
            // what was told already must not come back to stay
            self.attempts.clear();
            self.told.clear();
            // the queue first: what leaves it is in the journal by then
            self.read_queue(directory)?;
            if let Some((journal, header, begin)) = &journal {
                self.read(journal, header.generation, *begin, &mut Since::default())?;
                (self.pair, self.whole) = (header.pair, Some(generation));
            }
        }
        // a process that asks about many attempts looks here for each, and must not remember all
        match self.attempts.get(attempt) {
            Some(State::Queued) | None => {
                let ended = Ended::open(directory)?.find(attempt)?;
                Ok(ended.map(State::Ended).or_else(|| self.attempts.get(attempt).cloned()))
            }
            state => Ok(state.cloned()),
        }
    }

    /// Whether the queue has all that was read from it.
    fn holds_queue(&self, directory: &Path) -> io::Result<bool> {
        let Some(read) = self.queue else { return Ok(true) };
        let Some(file) = existing(&directory.join(queue::NAME))? else { return Ok(false) };
        let header = Header::read(&file)?;
        Ok(header.is_some_and(|(header, _)| header.generation == read.generation)
            && file.metadata()?.len() >= read.offset)
    }

    fn read_queue(&mut self, directory: &Path) -> io::Result<()> {
        self.queue = None;
        let Some(file) = existing(&directory.join(queue::NAME))? else { return Ok(()) };
        let Some((header, begin)) = Header::read(&file)? else { return Ok(()) };
        let (lines, end) = read_lines(&file, begin)?;
        self.queue = Some(Place { generation: header.generation, offset: end });
        for order in records::<Order>(&lines) {
            if let Order::Submit(job) = order {
                self.attempts.entry(job.attempt).or_insert(State::Queued);
            }
        }
        Ok(())
    }

    fn read(&mut self, journal: &File, generation: u64, from: u64, since: &mut Since) -> io::Result<()> {
        let (lines, end) = read_lines(journal, from)?;
        let mut seen: HashSet<String> = since.attempts.iter().cloned().collect();
        let mut note = |attempt: &str| {
            if seen.insert(attempt.to_owned()) {
                since.attempts.push(attempt.to_owned());
            }
        };
        for entry in records::<Entry>(&lines) {
            match entry {
                Entry::Claim { attempts, .. } => {
                    for attempt in attempts {
                        let state = self.attempts.entry(attempt).or_insert(State::Claimed);
                        if matches!(state, State::Queued | State::NoRoom(_)) {
                            *state = State::Claimed;
                        }
                    }
                }
                Entry::Starting { .. } | Entry::Settled { .. } => {}
                Entry::NoRoom { attempt, why } => {
                    note(&attempt);
                    self.attempts.insert(attempt, State::NoRoom(why));
                }
                Entry::Start { attempt, process } => {
                    note(&attempt);
                    self.attempts.insert(attempt, State::Started(process));
                }
                Entry::Seen(record) => {
                    self.attempts.insert(record.attempt.clone(), State::Ending(record));
                }
                Entry::End { attempt, note: text } => {
                    note(&attempt);
                    // how it ended may stand before what was read: then the whole is
                    if let Some(State::Ending(record)) = self.attempts.remove(&attempt) {
                        self.attempts.insert(attempt, State::Ended(record.with_note(text)));
                    } else {
                        self.note_gap();
                    }
                }
            }
        }
        self.place = Some(Place { generation, offset: end });
        Ok(())
    }
}

/// The journal, if there is one, with its header and where its lines begin.
fn open_journal(directory: &Path) -> io::Result<Option<(File, Header, u64)>> {
    let Some(file) = existing(&directory.join(journal::NAME))? else { return Ok(None) };
    Ok(Header::read(&file)?.map(|(header, begin)| (file, header, begin)))
}

#[cfg(test)]
mod tests {
    use super::{Index, State};
    use crate::backend::exit::{ExitRecord, Reason};
    use crate::backend::local::ended::Ended;
    use crate::backend::local::journal::{self, Journal};
    use crate::backend::local::record::Entry;
    use std::fs;
    use std::path::Path;

    /// A backend whose journal was begun anew between the ends of `a` and `b`, and the index of a process that saw
    /// neither.
    fn begun_anew(directory: &Path) -> Index {
        journal::found(directory).expect("made");
        let mut journal = Journal::open(directory).expect("a journal").expect("nobody else has it");
        let mut index = Index::default();
        index.changes(directory, None).expect("read");
        end(&mut journal, "a");
        journal.begin_anew(&mut Ended::open(directory).expect("opened"), &[]).expect("begun anew");
        end(&mut journal, "b");
        index
    }

    fn end(journal: &mut Journal, attempt: &str) {
        let record = ExitRecord::new(attempt.to_owned(), Reason::Exited, "2026-01-01T00:00:00Z".to_owned());
        journal.append(&Entry::Seen(record)).expect("appended");
        journal.append(&Entry::End { attempt: attempt.to_owned(), note: None }).expect("appended");
    }

    #[test]
    fn ends_of_the_generation_before_are_in_memory() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut index = begun_anew(directory.path());
        let since = index.changes(directory.path(), Some(index.place())).expect("read");
        assert_eq!((since.attempts, since.more), (vec!["a".to_owned(), "b".to_owned()], false));
        for entry in fs::read_dir(directory.path()).expect("a directory") {
            fs::remove_file(entry.expect("an entry").path()).expect("removed");
        }
        for attempt in ["a", "b"] {
            assert!(index.has_ended(attempt));
            assert!(matches!(index.look_up(directory.path(), attempt), Ok(Some(State::Ended(_)))), "{attempt}");
        }
    }

    #[test]
    fn an_end_that_was_told_is_found_again_and_makes_nothing_else_be_read_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut index = begun_anew(directory.path());
        index.changes(directory.path(), Some(index.place())).expect("read");
        assert!(index.look_up(directory.path(), "c").expect("looked").is_none());
        let whole = index.whole;
        assert!(whole.is_some());
        for attempt in ["a", "b"] {
            index.forget(attempt);
            assert!(!index.has_ended(attempt));
        }
        assert!(index.look_up(directory.path(), "c").expect("looked").is_none());
        assert_eq!((index.whole, index.told.len()), (whole, 2), "nothing was read again");
        for attempt in ["a", "b"] {
            assert!(matches!(index.look_up(directory.path(), attempt), Ok(Some(State::Ended(_)))), "{attempt}");
        }
    }
}
