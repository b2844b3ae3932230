//! The pool of the machine, as the supervisor of one run sees it: what the jobs of all runs of a user take together.
//!
//! A job starts with its room in hand, all of it or nothing, so that no two wait for each other. What it holds stands
//! in a ledger that all supervisors edit, each for its own jobs; an entry counts as long as its job's process group
//! lives, whoever looks after it. Where there can be no ledger, a run keeps to what the machine has by itself, and
//! nothing stops.
mod ledger;
mod living;
mod look;
mod place;
mod room;
mod sources;

pub use look::{Held, PoolLook, look_at_pool};
pub(super) use room::{LOOKED_AT, Needs, Room, is_overdue};

use super::record::Process;
use crate::ground::files::open_path_with;
use crate::ground::{machine, share};
use ledger::{Holder, Ledger, Record, Ticket};
use place::Place;
use room::{Decision, decide};
use sources::Sources;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often to look whether the ledger is still the one in use, and whether those who hold something live.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How often to look while jobs run and nothing else happens.
pub(super) const KEEP: Duration = Duration::from_secs(5);
/// Between two looks for the dead while jobs wait.
const LOOK_WAITING: Duration = Duration::from_millis(100);
/// The file that is written when somebody who waits may find room.
const BELL: &str = "bell";

/// What a job has in hand.
#[derive(Debug)]
pub(super) struct Grant {
    id: u64,
    /// Its graphics processors.
    pub(super) gpus: Vec<String>,
}

/// What comes of asking for room.
#[derive(Debug)]
pub(super) enum Answer {
    Granted(Grant),
    /// Others hold it, and who.
    Wait(String),
    /// There is not that much, and why.
    Never(String),
}

/// What a job of this run holds.
#[derive(Debug)]
struct Own {
    id: u64,
    needs: Needs,
    gpus: Vec<String>,
    job: Option<Holder>,
    /// Where it stands in the ledger.
    slot: Option<usize>,
    /// Whether the job has ended, which others are told with the next edit.
    free: bool,
}

pub(super) struct Pool {
    /// What all records of this run have in common.
    blank: Record,
    /// The graphics processors of the backend.
    from: Option<Vec<String>>,
    sources: Sources,
    place: Option<Place>,
    ledger: Option<Ledger>,
    bell: Option<File>,
    /// Whether there is another bell to listen to.
    other_bell: bool,
    own: Vec<Own>,
    next: u64,
    /// The slot of the ticket of the first job that waits.
    ticket: Option<usize>,
    /// What was waited for when nobody had edited the ledger since.
    refused: Option<(Needs, String)>,
    looked: Instant,
    looked_for_dead: Option<Instant>,
}

impl Pool {
    /// The pool for the run in the working directory, and one of its backends.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let pid = std::process::id() as i32;
        let start = machine::process_start_time(pid).unwrap_or_default();
        let at = std::fs::metadata(directory).map(|found| (found.dev(), found.ino()))?;
        let blank = Record {
            boot: machine::boot_id()?,
            run: Record::named(&std::env::current_dir()?),
            at,
            session: share::leads_session(),
            ..Record::new(Holder { pid, start }, Needs::default())
        };
        let mut pool = Self {
            blank,
            from: None,
            sources: Sources::read(),
            place: None,
            ledger: None,
            bell: None,
            other_bell: false,
            own: Vec::new(),
            next: 0,
            ticket: None,
            refused: None,
            looked: Instant::now(),
            looked_for_dead: None,
        };
        pool.look_for_place();
        Ok(pool)
    }

    /// The file to listen to, if it is another than before.
    pub(super) fn other_bell(&mut self) -> Option<PathBuf> {
        let other = std::mem::take(&mut self.other_bell);
        self.place.as_ref().filter(|_| other).map(|place| place.directory.join(BELL))
    }

    /// Whether a job is to be told that it has no graphics processor, since there are some.
    pub(super) fn has_gpus(&self) -> bool {
        let of_machine = matches!(&self.sources.said, Ok((machine, _)) if machine.gpus.is_some());
        of_machine || self.from.is_some()
    }

    /// Finds the ledger that is in use now: the settings may have changed, and a login makes and ends a directory.
    fn look_for_place(&mut self) {
        self.looked = Instant::now();
        self.sources.refresh();
        let wanted = match &self.sources.said {
            Ok((machine, _)) if machine.pool => place::find(machine).ok(),
            Ok(_) | Err(_) => None,
        };
        let holds = self.ledger.as_ref().is_some_and(Ledger::is_in_place);
        if wanted.is_some() && wanted == self.place && holds {
            return;
        }
        self.leave_ledger();
        let Some(place) = wanted else { return };
        // what cannot be opened is tried again with the next look
        let Ok(ledger) = Ledger::open(&place.directory, place.mode()) else { return };
        self.bell = self.open_bell(&place).ok();
        (self.ledger, self.place, self.other_bell) = (Some(ledger), Some(place), true);
    }

    fn open_bell(&self, place: &Place) -> io::Result<File> {
        use std::os::unix::fs::PermissionsExt;
        let mut options = OpenOptions::new();
        let bell = open_path_with(options.write(true).create(true).truncate(false), &place.directory.join(BELL))?;
        if bell.metadata()?.uid() == machine::user_id() {
            bell.set_permissions(std::fs::Permissions::from_mode(place.mode()))?;
        }
        Ok(bell)
    }

    /// Goes on without a ledger, until the next look finds one.
    fn leave_ledger(&mut self) {
        (self.ledger, self.place, self.bell, self.ticket, self.refused) = (None, None, None, None, None);
        self.own.iter_mut().for_each(|own| own.slot = None);
    }

    /// Asks for what a job needs. The first that waits holds a ticket; others come behind all tickets.
    pub(super) fn ask(&mut self, needs: &Needs, from: Option<&[String]>, first: bool) -> Answer {
        if self.from.as_deref() != from {
            self.from = from.map(<[String]>::to_vec);
        }
        if self.looked.elapsed() >= LOOK {
            self.look_for_place();
        }
        let pool = match &self.sources.said {
            Ok((_, pool)) => pool.clone(),
            Err(why) => return Answer::Never(format!("what the machine has cannot be read: {why}")),
        };
        if let Some(lacks) = pool.lacks(needs, from) {
            return Answer::Never(format!("it asks for {lacks} is all that the machine's pool has (`machine`)"));
        }
        if let Some(grant) = self.hand_over(needs) {
            return Answer::Granted(grant);
        }
        let answered = self.edit(|pool_of, ledger| pool_of.ask_ledger(ledger, &pool, needs, first));
        match answered {
            Some(Ok(grant)) => Answer::Granted(grant),
            Some(Err(why)) => Answer::Wait(why),
            None => self.ask_alone(&pool, needs),
        }
    }

    /// Gives a job what one of this run has just left, if nobody waits: nothing has to be written for that.
    fn hand_over(&mut self, needs: &Needs) -> Option<Grant> {
        let from = self.from.as_deref();
        let left = self.own.iter().position(|own| {
            let allowed = |gpu: &String| from.is_none_or(|from| from.contains(gpu));
            own.free && own.slot.is_some() && own.job.is_none() && own.needs == *needs && own.gpus.iter().all(allowed)
        })?;
        let ledger = self.ledger.as_ref()?;
        if !ledger.is_unchanged() || ledger.records().any(|(_, record)| record.ticket.is_some()) {
            return None;
        }
        let own = &mut self.own[left];
        own.free = false;
        Some(Grant { id: own.id, gpus: own.gpus.clone() })
    }

    /// Does something with the ledger in which all that this run holds stands, and nothing that it does not hold any
    /// more; nothing if there is no ledger.
    fn edit<T>(&mut self, work: impl FnOnce(&mut Self, &mut Ledger) -> io::Result<T>) -> Option<T> {
        let mut ledger = self.ledger.take()?;
        let mut rings = false;
        let done = ledger.edit(|ledger| {
            rings = self.write_own(ledger)?;
            work(self, ledger)
        });
        match done {
            Ok(done) => {
                self.ledger = Some(ledger);
                if rings {
                    self.ring();
                }
                Some(done)
            }
            // a full disk, or a ledger that was taken away
            Err(_) => {
                self.leave_ledger();
                self.own.retain(|own| !own.free);
                None
            }
        }
    }

    /// Writes what is missing of what this run holds, and takes away what it does not hold any more. Tells whether that
    /// may help others.
    fn write_own(&mut self, ledger: &mut Ledger) -> io::Result<bool> {
        let mut left = false;
        for own in &mut self.own {
            let record = own.record(&self.blank);
            let stands = own.slot.filter(|slot| {
                ledger.at(*slot).is_some_and(|found| {
                    found.ticket.is_none()
                        && found.supervisor == record.supervisor
                        && (&found.needs, &found.gpus) == (&record.needs, &record.gpus)
                })
            });
            own.slot = match (own.free, stands) {
                (true, Some(slot)) => {
                    left = true;
                    ledger.set(slot, None)?;
                    None
                }
                (true, None) => None,
                (false, Some(slot)) if ledger.at(slot).is_some_and(|found| found.job == record.job) => Some(slot),
                (false, Some(slot)) => ledger.set(slot, Some(record)).map(|()| Some(slot))?,
                (false, None) => Some(ledger.add(record)?),
            };
        }
        self.own.retain(|own| !own.free);
        if self.ticket.is_some_and(|slot| ledger.at(slot).is_none_or(|found| !self.is_own_ticket(found))) {
            self.ticket = None;
        }
        Ok(left && ledger.records().any(|(_, record)| record.ticket.is_some() && !self.is_own(record)))
    }

    fn is_own(&self, record: &Record) -> bool {
        record.supervisor == self.blank.supervisor
    }

    fn is_own_ticket(&self, record: &Record) -> bool {
        self.is_own(record) && record.ticket.is_some()
    }

    /// Wakes those who wait.
    fn ring(&self) {
        if let Some(bell) = &self.bell {
            // whoever hears nothing looks again after a while
            let _ = bell.write_at(b".", 0);
        }
    }

    fn ask_ledger(
        &mut self,
        ledger: &mut Ledger,
        pool: &Room,
        needs: &Needs,
        first: bool,
    ) -> io::Result<Result<Grant, String>> {
        if ledger.is_being_mended() {
            self.ring();
            return Ok(Err("the ledger of the machine's pool was damaged, and is being written again".to_owned()));
        }
        let mut decision = self.decide(ledger, pool, needs, first);
        if decision.gpus.is_none() && self.looked_for_dead.is_none_or(|at| at.elapsed() >= LOOK_WAITING) {
            self.looked_for_dead = Some(Instant::now());
            if self.drop_dead(ledger)? {
                decision = self.decide(ledger, pool, needs, first);
            }
        }
        self.mark(ledger, &decision)?;
        let Some(gpus) = decision.gpus else {
            if first {
                self.hold_ticket(ledger, needs)?;
            }
            return Ok(Err(look::waits_for(needs, ledger, &self.blank.supervisor, decision.kept)));
        };
        if first {
            self.drop_ticket(ledger)?;
        }
        let id = self.next;
        let mut own = Own { id, needs: needs.clone(), gpus: gpus.clone(), job: None, slot: None, free: false };
        own.slot = Some(ledger.add(own.record(&self.blank))?);
        self.own.push(own);
        self.next += 1;
        Ok(Ok(Grant { id, gpus }))
    }

    fn decide(&self, ledger: &Ledger, pool: &Room, needs: &Needs, first: bool) -> Decision {
        let records: Vec<&Record> = ledger.records().map(|(_, record)| record).collect();
        let own = if first { self.ticket } else { None };
        let number = own.and_then(|slot| Some(ledger.at(slot)?.ticket.as_ref()?.number));
        decide(pool, &records, (needs, self.from.as_deref()), number, share::since_boot_ms())
    }

    /// Notes whom there is room for, and who was passed.
    fn mark(&self, ledger: &mut Ledger, decision: &Decision) -> io::Result<()> {
        if decision.called.is_empty() && decision.passed.is_empty() {
            return Ok(());
        }
        let marked: Vec<(usize, Record)> = ledger
            .records()
            .filter_map(|(slot, record)| {
                let mut record = record.clone();
                let ticket = record.ticket.as_mut()?;
                let (called, passed) =
                    (decision.called.contains(&ticket.number), decision.passed.contains(&ticket.number));
                if called {
                    ticket.called_ms = Some(share::since_boot_ms());
                }
                ticket.passed += u32::from(passed);
                (called || passed).then_some((slot, record))
            })
            .collect();
        marked.into_iter().try_for_each(|(slot, record)| ledger.set(slot, Some(record)))?;
        if !decision.called.is_empty() {
            self.ring();
        }
        Ok(())
    }

    /// Sees to it that this run has a ticket for what its first job needs. A ticket for something else is given up.
    fn hold_ticket(&mut self, ledger: &mut Ledger, needs: &Needs) -> io::Result<()> {
        let held = self.ticket.and_then(|slot| Some((slot, ledger.at(slot)?.clone())));
        if held.is_some_and(|(_, record)| record.needs == *needs && record.from == self.from) {
            return Ok(());
        }
        self.drop_ticket(ledger)?;
        let ticket =
            Ticket { number: ledger.next_ticket(), since_ms: share::since_boot_ms(), called_ms: None, passed: 0 };
        let record =
            Record { needs: needs.clone(), from: self.from.clone(), ticket: Some(ticket), ..self.blank.clone() };
        self.ticket = Some(ledger.add(record)?);
        Ok(())
    }

    fn drop_ticket(&mut self, ledger: &mut Ledger) -> io::Result<()> {
        self.ticket.take().map_or(Ok(()), |slot| ledger.set(slot, None))
    }

    /// Takes away the entries of those who are gone; tells whether there were any.
    fn drop_dead(&self, ledger: &mut Ledger) -> io::Result<bool> {
        let shared = self.place.as_ref().is_some_and(|place| place.shared);
        let dead = living::dead(ledger, &self.blank, shared);
        dead.iter().try_for_each(|slot| ledger.set(*slot, None))?;
        Ok(!dead.is_empty())
    }

    /// What is decided where there is no ledger: by what this run holds itself.
    fn ask_alone(&mut self, pool: &Room, needs: &Needs) -> Answer {
        self.own.retain(|own| !own.free);
        let records: Vec<Record> = self.own.iter().map(|own| own.record(&self.blank)).collect();
        let records: Vec<&Record> = records.iter().collect();
        match decide(pool, &records, (needs, self.from.as_deref()), None, 0).gpus {
            Some(gpus) => Answer::Granted(self.hold(needs.clone(), gpus, None)),
            None => Answer::Wait(format!("waits for {needs}: other jobs of this run hold what the machine has")),
        }
    }

    /// Notes what a job holds that runs already, whether there is room for it or not.
    pub(super) fn hold(&mut self, needs: Needs, gpus: Vec<String>, job: Option<&Process>) -> Grant {
        let id = self.next;
        self.next += 1;
        let job = job.map(|process| Holder { pid: process.pid, start: process.start_time });
        self.own.push(Own { id, needs, gpus: gpus.clone(), job, slot: None, free: false });
        Grant { id, gpus }
    }

    /// Takes the place of earlier supervisors of the same jobs, of which those that live are held by now.
    pub(super) fn succeed(&mut self) {
        self.edit(|pool, ledger| {
            let before = |record: &Record| record.at == pool.blank.at && !pool.is_own(record);
            let before: Vec<usize> =
                ledger.records().filter(|(_, record)| before(record)).map(|(slot, _)| slot).collect();
            before.into_iter().try_for_each(|slot| ledger.set(slot, None))
        });
    }

    /// Notes which process a job is, so that it counts for itself.
    pub(super) fn name(&mut self, grant: &Grant, process: &Process) {
        if let Some(own) = self.own.iter_mut().find(|own| own.id == grant.id) {
            own.job = Some(Holder { pid: process.pid, start: process.start_time });
            self.edit(|_, _| Ok(()));
        }
    }

    /// Gives back what a job had. Others hear of it with the next [`Pool::settle`].
    pub(super) fn give_back(&mut self, grant: &Grant) {
        if let Some(own) = self.own.iter_mut().find(|own| own.id == grant.id) {
            own.free = true;
        }
    }

    /// Sees to it that what this run holds stands in the ledger in use, which may have been damaged or taken away.
    pub(super) fn keep(&mut self) {
        if self.looked.elapsed() >= LOOK {
            self.look_for_place();
        }
        let differs = self.ledger.as_ref().is_some_and(|ledger| !ledger.is_unchanged());
        if differs && !self.own.is_empty() {
            self.edit(|_, _| Ok(()));
        }
    }

    /// Lets others have what was given back, and the place of this run among those who wait if it waits no more.
    pub(super) fn settle(&mut self, waits: bool) {
        let leaves = !waits && self.ticket.is_some();
        if leaves || self.own.iter().any(|own| own.free) {
            self.edit(|pool, ledger| {
                if leaves {
                    pool.drop_ticket(ledger)?;
                    pool.ring();
                }
                Ok(())
            });
        }
    }
}

impl Own {
    fn record(&self, blank: &Record) -> Record {
        Record { needs: self.needs.clone(), gpus: self.gpus.clone(), job: self.job.clone(), ..blank.clone() }
    }
}
