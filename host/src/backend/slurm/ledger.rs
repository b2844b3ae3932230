//! What the backend remembers of its jobs between ticks: one file, replaced whole, first line the head.
//!
//! It is a memory of what the cluster said, never the truth: without it everything is looked at anew. Every change of a
//! job has a number, so that a tick learns what changed behind the number it has seen, also if the last tick died
//! before it made anything of the changes.
use super::rows::{Limits, Seen, Shown};
use super::state::{GONE, Stage, UNSEEN, WITHDRAWN, stage};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;

/// How long a job that left the queue, and whose change has been told, is remembered.
const FORGET_AFTER_MS: i64 = 600_000;

/// One element of an array: its array's name and its index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Element {
    pub(super) array: String,
    pub(super) index: u32,
}

/// What the cluster said of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// `1234_7`
    pub(super) id: String,
    pub(super) word: String,
    pub(super) reason: String,
    /// Whether it was given nodes.
    pub(super) placed: bool,
    /// The number of its last change.
    pub(super) changed: u64,
    pub(super) since_ms: i64,
}

impl Job {
    pub(super) fn stage(&self) -> Stage {
        stage(&self.word, &self.reason, self.placed)
    }
}

/// A submit whose answer was lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Doubt {
    pub(super) since_ms: i64,
    /// When the cluster first answered since.
    pub(super) answered_ms: Option<i64>,
}

/// The format of the file. Of another one nothing is read, and everything is looked at anew.
const FORMAT: u32 = 1;

/// What concerns the cluster as a whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    /// The format of the file: [`FORMAT`].
    pub(super) format: u32,
    /// Names this ledger, so that a number of another one means nothing.
    pub(super) id: String,
    /// How often the file has been written.
    pub(super) written: u64,
    /// The number of the last change of any job.
    pub(super) changes: u64,
    pub(super) polled_ms: i64,
    pub(super) answered_ms: i64,
    /// Why the last poll had no answer.
    pub(super) silent: Option<String>,
    /// Since when the site's accounts have answered whenever they were asked.
    pub(super) accounts_ms: Option<i64>,
    /// Until when the cluster wants nothing more, and for how long that was.
    pub(super) hold: Option<(i64, i64)>,
    /// When `sbatch` was called, in the last minute.
    pub(super) submits: Vec<i64>,
    /// What the cluster's configuration says.
    pub(super) limits: Option<Limits>,
    /// Whether that may have changed.
    pub(super) limits_doubted: bool,
    /// The largest array that the limits of the user allowed last.
    pub(super) array_fits: Option<u32>,
    pub(super) doubts: BTreeMap<String, Doubt>,
    /// How many jobs are queued or running: without any there is nothing to poll for.
    pub(super) open: usize,
    /// Until when a job that has just left the queue may show up again.
    pub(super) watch_until_ms: i64,
}

type Line = (String, u32, String, String, String, bool, u64, i64);

/// The memory of one backend.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    pub(super) head: Head,
    jobs: BTreeMap<Element, Job>,
    loaded: bool,
    dirty: bool,
}

impl Ledger {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, head: Head::default(), jobs: BTreeMap::new(), loaded: false, dirty: false }
    }

    /// Reads the head, and forgets the jobs if another process has written since.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        let head = match File::open(&self.path) {
            Ok(file) => {
                let mut line = String::new();
                BufReader::new(file).read_line(&mut line)?;
                serde_json::from_str(&line).ok().filter(|head: &Head| head.format == FORMAT).unwrap_or_default()
            }
            // not written yet: what is in memory is all there is
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.head.written == 0 && self.loaded => {
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Head::default(),
            Err(error) => return Err(error),
        };
        if (&head.id, head.written) != (&self.head.id, self.head.written) || head.id.is_empty() {
            self.head = head;
            self.jobs.clear();
            self.loaded = false;
            self.dirty = false;
            if self.head.id.is_empty() {
                self.head.id = super::fresh_name()?;
                self.head.format = FORMAT;
                self.loaded = true;
            }
        }
        Ok(())
    }

    /// Reads the jobs, if they are not in memory.
    pub(super) fn load(&mut self) -> io::Result<()> {
        if self.loaded {
            return Ok(());
        }
        let lines = fs::read(&self.path)?;
        for line in lines.split(|byte| *byte == b'\n').skip(1) {
            if let Ok((array, index, id, word, reason, placed, changed, since_ms)) =
                serde_json::from_slice::<Line>(line)
            {
                self.jobs.insert(Element { array, index }, Job { id, word, reason, placed, changed, since_ms });
            }
        }
        self.loaded = true;
        Ok(())
    }

    /// Notes that something is to be written.
    pub(super) fn touch(&mut self) {
        self.dirty = true;
    }

    /// Writes what changed, whole or not at all.
    pub(super) fn save(&mut self) -> io::Result<()> {
        if !self.dirty {
            return Ok(());
        }
        self.load()?;
        self.head.written += 1;
        self.head.open = self.jobs.values().filter(|job| is_open(job)).count();
        let mut text = serde_json::to_vec(&self.head)?;
        for (element, job) in &self.jobs {
            text.push(b'\n');
            let line =
                (&element.array, element.index, &job.id, &job.word, &job.reason, job.placed, job.changed, job.since_ms);
            serde_json::to_writer(&mut text, &line)?;
        }
        text.push(b'\n');
        let temporary = self.path.with_extension("tmp");
        File::create(&temporary)?.write_all(&text)?;
        fs::rename(&temporary, &self.path)?;
        self.dirty = false;
        Ok(())
    }

    /// What is known of a job; the jobs must have been read.
    pub(super) fn job(&self, element: &Element) -> Option<&Job> {
        self.jobs.get(element)
    }

    /// Notes a job that the cluster acknowledged, or that is asked about and not known.
    pub(super) fn expect(&mut self, element: Element, id: String, now_ms: i64) {
        let (word, reason, changed) = (UNSEEN.to_owned(), String::new(), self.head.changes);
        let job = Job { id, word, reason, placed: false, changed, since_ms: now_ms };
        self.jobs.insert(element, job);
        self.dirty = true;
    }

    /// Takes in what a poll showed; `seen` is the number of the last change that has been made something of. Once an
    /// open job is gone, the queue is watched for some times `grace_ms`.
    pub(super) fn take_in(&mut self, poll: Shown, seen: u64, now_ms: i64, grace_ms: i64) {
        let number = self.head.changes + 1;
        let Shown { jobs: rows, arrays, withdrawn, shown_ms, waited_ms, .. } = poll;
        let answered_ms = std::mem::replace(&mut self.head.answered_ms, now_ms);
        // after a clock was set back nothing may wait until it has caught up
        for job in self.jobs.values_mut() {
            job.since_ms = job.since_ms.min(now_ms);
        }
        self.head.accounts_ms = self.head.accounts_ms.map(|at| at.min(now_ms));
        let shown = self.take_in_rows(rows, now_ms);
        for (element, id) in withdrawn {
            let (word, reason) = (WITHDRAWN.to_owned(), String::new());
            self.jobs.entry(element).or_insert(Job {
                id,
                word,
                reason,
                placed: false,
                changed: number,
                since_ms: now_ms,
            });
        }
        for (element, job) in &mut self.jobs {
            if has_left(job) || shown.contains(element) {
                continue;
            }
            if is_open(job) {
                self.head.watch_until_ms = now_ms.saturating_add(grace_ms.saturating_mul(3));
            }
            let waited = matches!(job.stage(), Stage::Queued | Stage::Stuck) && !job.placed;
            let stands = job.id.split_once('_').is_some_and(|(array, _)| arrays.contains(array));
            // what ended since it was last known to wait would still be shown
            let unbroken = (0..shown_ms).contains(&(now_ms + waited_ms - answered_ms.max(job.since_ms)));
            let word = if unbroken && waited && stands { WITHDRAWN } else { GONE };
            *job = Job { word: word.to_owned(), changed: number, since_ms: now_ms, ..job.clone() };
        }
        self.jobs.retain(|_, job| {
            !has_left(job) || job.changed > seen || now_ms.saturating_sub(job.since_ms) < FORGET_AFTER_MS
        });
        self.head.changes = number;
        self.dirty = true;
    }

    /// Takes in the jobs that a poll showed, as its change. Returns their elements.
    fn take_in_rows(&mut self, rows: Vec<(Element, Seen)>, now_ms: i64) -> HashSet<Element> {
        let changed = self.head.changes + 1;
        let mut shown = HashSet::with_capacity(rows.len());
        for (element, Seen { id, word, reason, placed }) in rows {
            // another job under this name is somebody's copy
            if self.jobs.get(&element).is_some_and(|old| !old.id.is_empty() && old.id != id) {
                continue;
            }
            let new = Job { id, word, reason, placed, changed, since_ms: now_ms };
            match self.jobs.get_mut(&element) {
                // of two jobs with one name, a live one tells more
                Some(old) if shown.contains(&element) && !matches!(old.stage(), Stage::Ended(_)) => {}
                Some(old) if tells_the_same(old, &new) => {
                    *old = Job { changed: old.changed, since_ms: old.since_ms, ..new };
                }
                Some(old) => *old = new,
                None => drop(self.jobs.insert(element.clone(), new)),
            }
            shown.insert(element);
        }
        shown
    }

    /// The arrays of which any job is remembered.
    pub(super) fn arrays(&self) -> BTreeSet<String> {
        self.jobs.keys().map(|element| element.array.clone()).collect()
    }

    /// The jobs that changed behind a number.
    pub(super) fn changed_since(&self, seen: u64) -> Vec<Element> {
        self.jobs.iter().filter(|(_, job)| job.changed > seen).map(|(element, _)| element.clone()).collect()
    }

    /// Some jobs that may still change.
    pub(super) fn some_open(&self, most: usize) -> Vec<Element> {
        let open = self.jobs.iter().filter(|(_, job)| is_open(job));
        open.take(most).map(|(element, _)| element.clone()).collect()
    }
}

/// Whether nobody need hear of a change: of what is held back or not understood a person is shown the words.
fn tells_the_same(old: &Job, new: &Job) -> bool {
    let shown = matches!(new.stage(), Stage::Stuck | Stage::Unknown);
    old.stage() == new.stage() && (!shown || (&old.word, &old.reason) == (&new.word, &new.reason))
}

/// Whether the last poll did not show it.
fn has_left(job: &Job) -> bool {
    [GONE, WITHDRAWN].contains(&job.word.as_str())
}

fn is_open(job: &Job) -> bool {
    !matches!(job.stage(), Stage::Ended(_) | Stage::Gone)
}

#[cfg(test)]
mod tests {
    use super::super::rows::Row;
    use super::*;

    /// Rows of array `a`, each with number, index, word and reason.
    fn shown(rows: &[(&str, Option<u32>, &str, &str)], shown_ms: i64) -> Shown {
        let row = |(number, index, word, reason): &(&str, Option<u32>, &str, &str)| Row {
            array: "a".to_owned(),
            number: (*number).to_owned(),
            index: *index,
            word: (*word).to_owned(),
            reason: (*reason).to_owned(),
            placed: !["PENDING", "CANCELLED"].contains(word),
        };
        let rows: Vec<Row> = rows.iter().map(row).collect();
        Shown::of(&rows, Some(Limits { array_size: 1001, shown_ms }), |element| element.array == "a")
    }

    fn words(ledger: &Ledger) -> Vec<(u32, &str, Stage)> {
        ledger.jobs.iter().map(|(element, job)| (element.index, job.word.as_str(), job.stage())).collect()
    }

    #[test]
    fn an_element_that_leaves_its_array_alone_was_cancelled() {
        let cancelled = Stage::Ended(super::super::state::End::Withdrawn);
        let pending = |index: u32| ("7", Some(index), "PENDING", "Priority");
        let rest = ("7", None, "CANCELLED", "Priority");
        // what is shown next, after how long, and what becomes of the elements 0 and 1, of which 0 runs
        let cases = [
            (vec![("7", Some(0), "RUNNING", "None")], 1000, [Stage::Running, cancelled]),
            (
                vec![("7", Some(0), "COMPLETED", "None"), rest],
                1000,
                [Stage::Ended(super::super::state::End::Completed), cancelled],
            ),
            (vec![rest], 1000, [Stage::Gone, cancelled]),
            // it may have started, ended and been forgotten
            (vec![("7", Some(0), "RUNNING", "None")], 400_000, [Stage::Running, Stage::Gone]),
            // a controller that lost the whole array
            (vec![], 1000, [Stage::Gone, Stage::Gone]),
            (vec![("8", Some(0), "RUNNING", "None")], 1000, [Stage::Gone, Stage::Gone]),
        ];
        for (rows, after, expected) in cases {
            let directory = tempfile::tempdir().expect("a scratch directory");
            let mut ledger = Ledger::new(directory.path().join("queue.jsonl"));
            ledger.refresh().expect("a ledger");
            for index in [0, 1] {
                ledger.expect(Element { array: "a".to_owned(), index }, format!("7_{index}"), 0);
            }
            ledger.take_in(shown(&[("7", Some(0), "RUNNING", "None"), pending(1)], 300_000), 0, 10, 1000);
            ledger.take_in(shown(&rows, 300_000), 0, 10 + after, 1000);
            let stages: Vec<Stage> = words(&ledger).into_iter().map(|(.., stage)| stage).collect();
            assert_eq!(stages, expected, "{rows:?} after {after}");
            // and it stays so while the queue shows no more of it
            let before: Vec<Stage> =
                words(&ledger).iter().map(|(.., stage)| *stage).filter(|s| *s == cancelled).collect();
            ledger.take_in(Shown::default(), 0, 20 + after, 1000);
            let now: Vec<Stage> = words(&ledger).iter().map(|(.., stage)| *stage).filter(|s| *s == cancelled).collect();
            assert_eq!(now, before, "{rows:?}");
        }
    }

    #[test]
    fn a_controller_that_answers_late_may_have_forgotten_what_ended() {
        for (waited_ms, expected) in [(500, Stage::Ended(super::super::state::End::Withdrawn)), (3000, Stage::Gone)] {
            let directory = tempfile::tempdir().expect("a scratch directory");
            let mut ledger = Ledger::new(directory.path().join("queue.jsonl"));
            ledger.refresh().expect("a ledger");
            for index in [0, 1] {
                ledger.expect(Element { array: "a".to_owned(), index }, format!("7_{index}"), 0);
            }
            let both = [("7", Some(0), "RUNNING", "None"), ("7", Some(1), "PENDING", "Priority")];
            ledger.take_in(shown(&both, 2000), 0, 10, 1000);
            ledger.take_in(Shown { waited_ms, ..shown(&both[..1], 2000) }, 0, 510, 1000);
            assert_eq!(words(&ledger)[1].2, expected, "after {waited_ms} ms");
        }
    }

    #[test]
    fn a_row_under_our_name_with_another_id_is_not_our_job() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let mut ledger = Ledger::new(directory.path().join("queue.jsonl"));
        ledger.refresh().expect("a ledger");
        ledger.expect(Element { array: "a".to_owned(), index: 0 }, "7_0".to_owned(), 0);
        let copy = ("9", Some(0), "FAILED", "NonZeroExitCode");
        ledger.take_in(shown(&[("7", Some(0), "RUNNING", "None"), copy], 300_000), 0, 10, 1000);
        assert_eq!(words(&ledger), [(0, "RUNNING", Stage::Running)]);
        // one whose id nobody has told is known by its name
        ledger.expect(Element { array: "a".to_owned(), index: 1 }, String::new(), 0);
        ledger.take_in(shown(&[("7", Some(0), "RUNNING", "None"), ("8", Some(1), "RUNNING", "None")], 1), 0, 20, 1000);
        assert_eq!(words(&ledger).len(), 2);
        assert_eq!(words(&ledger)[1], (1, "RUNNING", Stage::Running));
    }

    #[test]
    fn a_new_reason_is_told_only_where_a_person_is_shown_it() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let mut ledger = Ledger::new(directory.path().join("queue.jsonl"));
        ledger.refresh().expect("a ledger");
        let row = |reason: &str| shown(&[("7", Some(0), "PENDING", reason)], 0);
        // a scheduler that has not looked closely yet says PartitionConfig of a job that is too long for its partition
        let told = ["Priority", "Resources", "PartitionConfig", "PartitionTimeLimit", "PartitionTimeLimit", "Priority"];
        let told = told.map(|reason| {
            let seen = ledger.head.changes;
            ledger.take_in(row(reason), seen, 0, 0);
            ledger.changed_since(seen).len()
        });
        assert_eq!(told, [1, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_wait() {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let mut ledger = Ledger::new(directory.path().join("queue.jsonl"));
        ledger.refresh().expect("a ledger");
        let element = Element { array: "a".to_owned(), index: 0 };
        ledger.expect(element.clone(), "7_0".to_owned(), 9_000_000);
        ledger.take_in(Shown::default(), 0, 9_000_000, 1000);
        ledger.take_in(Shown::default(), 0, 5000, 1000);
        let job = ledger.job(&element).expect("it is known");
        assert_eq!((job.stage(), job.since_ms), (Stage::Gone, 5000));
    }
}
