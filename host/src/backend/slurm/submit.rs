//! Collects what a tick submits and hands it to `sbatch` as arrays.
use super::array::Member;
use super::claim::remove;
use super::commands::{self, Submitted};
use super::handle::Handle;
use super::ledger::{Doubt, Element};
use super::{Errand, Memory, SlurmBackend, fresh_name, script, unavailable};
use crate::backend::exit::read_exit;
use crate::backend::job::{Command, JobDocument, OutputPatterns};
use crate::backend::{JobKey, Unacknowledged};
use crate::ground::failpoint;
use crate::model::attempt_dir;
use crate::model::code::Code;
use crate::model::contract::{Detail, GuestError};
use crate::model::id::AttemptId;
use crate::model::time::Time;
use crate::model::workflow::Resources;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How long to wait after the cluster was full, in milliseconds; doubled each time up to the second.
const HOLD_MS: (i64, i64) = (5_000, 60_000);
const MINUTE_MS: i64 = 60_000;
const COMMENT: &str = "--comment=";

/// Jobs that need the same, and so become one array.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) name: String,
    resources: Resources,
    options: Vec<String>,
    members: Vec<Member>,
    /// What each member is to find over there.
    errands: Vec<Errand>,
    patterns: Vec<OutputPatterns>,
    /// The tasks of the members, for people who look at the queue.
    tasks: Vec<String>,
}

impl Unsent {
    fn new(name: String, resources: Resources, options: Vec<String>) -> Self {
        let (members, errands, patterns, tasks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { name, resources, options, members, errands, patterns, tasks }
    }

    /// What the queue shows beside the name of a part of the array: the name once more, since administrators rename
    /// jobs, and for people run and task, of several the first and how many follow.
    fn comment(&self, run: &str, from: usize, count: usize, more: &str) -> String {
        let task = self.tasks.get(from).map(|task| plain(task)).unwrap_or_default();
        let others = if count > 1 { format!(" +{}", count - 1) } else { String::new() };
        let more = if more.is_empty() { String::new() } else { format!(" {more}") };
        format!("{} {} {task}{others}{more}", self.name, plain(run))
    }
}

/// A text of somebody else for a line of the queue: what is no plain character is a question mark.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_format(c) { '?' } else { c }).collect()
}

/// Characters that change how the others are shown.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl SlurmBackend {
    pub(in crate::backend) fn submit(&self, key: JobKey<'_>, job: &str, errand: Errand) -> Result<String, GuestError> {
        let job = JobDocument::parse(job)?;
        let attempt = key.attempt_id.as_str();
        let mut memory = self.memory();
        for array in &memory.unsent {
            // the same key again is the same job
            if let Some(index) = array.members.iter().position(|member| member.attempt == attempt) {
                return Handle::of(&Element { array: array.name.clone(), index: index as u32 }, None).text();
            }
        }
        if read_exit(key.directory, attempt).is_some() {
            return Err(GuestError::Ambiguous(Detail::of(Code::Ended, "the attempt has an exit record already")));
        }
        self.refuse_if_full(&mut memory)?;
        let directory = key.directory.strip_prefix(&self.run).ok().and_then(Path::to_str);
        let directory = directory
            .ok_or_else(|| GuestError::Invalid(Detail::of(Code::Job, "the attempt directory is not inside the run")))?;
        let options = script::options(&self.settings, &job.resources);
        let most = memory.ledger.head.limits.map_or(1, |limits| limits.array_size).min(self.settings.array_max).max(1)
            as usize;
        let fits = |array: &Unsent| array.options == options && array.resources == job.resources;
        let place = memory.unsent.iter().rposition(|array| fits(array) && array.members.len() < most);
        let place = match place {
            Some(place) => place,
            None => {
                let name = fresh_name().map_err(|error| unavailable(&error))?;
                memory.unsent.push(Unsent::new(name, job.resources.clone(), options));
                memory.unsent.len() - 1
            }
        };
        let Some(array) = memory.unsent.get_mut(place) else {
            return Err(unavailable(&io::Error::other("bug: an array just made is not there")));
        };
        let element = Element { array: array.name.clone(), index: array.members.len() as u32 };
        let ticket = script::ticket(&element.array, element.index);
        let text = script::job_script(&self.settings, &job, attempt, &array.options, Some(&ticket));
        let text = text.map_err(bad_template)?;
        write_script(&key.directory.join(attempt_dir::JOB_SCRIPT), &text).map_err(|error| unavailable(&error))?;
        self.check_parcel(key.directory)?;
        array.patterns.push(job.patterns());
        array.errands.push(errand);
        array.tasks.push(key.task_id.0.clone());
        let is_argv = matches!(job.command, Command::Argv(_));
        let secrets = script::secrets(&job);
        array.members.push(Member { attempt: attempt.to_owned(), directory: directory.to_owned(), is_argv, secrets });
        Handle::of(&element, None).text()
    }

    /// The job script that a job would get, but for the line that names its array: it has none yet.
    pub(in crate::backend) fn preview(&self, attempt: &str, job: &str) -> Result<String, GuestError> {
        let job = JobDocument::parse(job)?;
        let options = script::options(&self.settings, &job.resources);
        script::job_script(&self.settings, &job, attempt, &options, None).map_err(bad_template)
    }

    /// Turns a submit away, before anything is done, where the cluster would not take it.
    fn refuse_if_full(&self, memory: &mut Memory) -> Result<(), GuestError> {
        memory.ledger.refresh().map_err(|error| unavailable(&error))?;
        let now = self.clock.now_ms();
        let later =
            |code: Code, text: String, after: i64| Err(GuestError::transient_for(code, text, after.max(100) as u64));
        let head = &memory.ledger.head;
        if let Some((until, length)) = head.hold
            && now < until
            && until - now <= length
        {
            return later(Code::ClusterFull, "the cluster takes no more jobs for now".to_owned(), until - now);
        }
        let interval = self.poll_interval().as_millis() as i64;
        if let Some(silence) = head.silent.as_ref().filter(|_| (0..3 * interval).contains(&(now - head.polled_ms))) {
            return later(Code::ClusterSilent, format!("the cluster does not answer: {silence}"), interval);
        }
        if head.limits.is_none() || head.limits_doubted {
            let limits = commands::limits(&*self.transport);
            memory.waited_ms += u64::try_from(self.clock.now_ms() - now).unwrap_or(0);
            match limits {
                Ok(limits) => memory.ledger.head.limits = Some(limits),
                Err(text) => {
                    return later(Code::ClusterSilent, format!("the cluster does not answer: {text}"), interval);
                }
            }
            memory.ledger.head.limits_doubted = false;
            memory.ledger.touch();
        }
        Ok(())
    }

    /// How long submits have waited, since this was asked last, for what the cluster tells of itself, in milliseconds.
    pub(in crate::backend) fn take_waited_ms(&self) -> u64 {
        std::mem::take(&mut self.memory().waited_ms)
    }

    pub(in crate::backend) fn sync(&self) -> io::Result<Unacknowledged> {
        let mut memory = self.memory();
        let all = std::mem::take(&mut memory.unsent);
        let mut unacknowledged = Unacknowledged::new();
        if all.is_empty() {
            return Ok(unacknowledged);
        }
        memory.ledger.refresh()?;
        memory.ledger.load()?;
        for array in all {
            if let Err(error) = self.hand_over(&mut memory, &array, &mut unacknowledged)? {
                let all = array.members.iter().map(|member| (AttemptId(member.attempt.clone()), error.clone()));
                unacknowledged.extend(all);
            }
        }
        memory.ledger.save()?;
        Ok(unacknowledged)
    }

    /// Writes down what an array becomes, carries it to where it runs, and hands it in. The inner error means that none
    /// of it was.
    fn hand_over(
        &self,
        memory: &mut Memory,
        array: &Unsent,
        unacknowledged: &mut Unacknowledged,
    ) -> io::Result<Result<(), GuestError>> {
        let place = match self.seen_from_there(memory, &array.name) {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(error)),
        };
        let wrapper = script::wrapper(&place, &array.name, &array.resources, Time(self.clock.now_ms()));
        memory.arrays.write(&array.name, array.members.clone(), &wrapper)?;
        self.note_patterns(memory, &array.name, array.patterns.clone())?;
        failpoint::hit("slurm.array-written");
        let gone = match self.put(memory, &array.name, &array.members, &array.errands, &wrapper) {
            Ok(gone) => gone,
            Err(error) => return Ok(Err(error)),
        };
        self.hand_in(memory, array, &wrapper, unacknowledged);
        unacknowledged.extend(gone.into_iter().map(|(attempt, why)| {
            // it has no directory over there, so its element of the array finds nothing to start
            (AttemptId(attempt), GuestError::Rejected(Detail::of(Code::InputGone, why)))
        }));
        Ok(Ok(()))
    }

    /// Calls `sbatch` for an array; where a limit does not let the whole of it through, for smaller parts.
    fn hand_in(&self, memory: &mut Memory, array: &Unsent, wrapper: &str, unacknowledged: &mut Unacknowledged) {
        let mut refuse = |members: &[Member], error: &GuestError| {
            unacknowledged.extend(members.iter().map(|m| (AttemptId(m.attempt.clone()), error.clone())));
        };
        let mut from = 0;
        let mut size = memory.ledger.head.array_fits.map_or(array.members.len(), |fits| fits as usize);
        while from < array.members.len() {
            let part = array.members.get(from..array.members.len().min(from + size.max(1))).unwrap_or_default();
            let rest = array.members.get(from..).unwrap_or_default();
            if let Err(error) = self.count_submit(memory) {
                return refuse(rest, &error);
            }
            failpoint::hit("slurm.sbatch.before");
            let arguments = self.arguments(memory, array, from, part.len());
            let wrapper = if self.is_far() { "" } else { wrapper };
            let answer = commands::submit(&*self.transport, &arguments, wrapper);
            failpoint::hit("slurm.sbatch.after");
            let (first, others) = match answer {
                Submitted::Yes(id) => {
                    acknowledged(memory, array, from..from + part.len(), &id, self.clock.now_ms());
                    from += part.len();
                    continue;
                }
                Submitted::Full(_) if part.len() > 1 => {
                    size = part.len().div_ceil(2);
                    memory.ledger.head.array_fits = Some(size as u32);
                    continue;
                }
                Submitted::Full(text) => same(full(memory, &text, self.clock.now_ms())),
                Submitted::Refused(text) => same(refused(memory, text)),
                Submitted::Ambiguous { text, waited } => self.doubted(memory, &array.name, (part.len(), waited), &text),
            };
            refuse(part, &first);
            return refuse(rest.get(part.len()..).unwrap_or_default(), &others);
        }
    }

    /// A submit of so many jobs whose answer was lost: what that means for them, and for those that come after.
    fn doubted(
        &self,
        memory: &mut Memory,
        array: &str,
        (count, waited): (usize, bool),
        text: &str,
    ) -> (GuestError, GuestError) {
        let now = self.clock.now_ms();
        let head = &mut memory.ledger.head;
        head.doubts.insert(array.to_owned(), Doubt { since_ms: now, answered_ms: None });
        if waited {
            // there is none most likely, and a smaller array may find room
            head.array_fits = Some(count.div_ceil(2) as u32);
            hold(memory, now);
        }
        memory.ledger.touch();
        let after = Some(self.poll_interval().as_millis() as u64);
        let later = Detail::of(Code::ClusterSilent, format!("an earlier submit had no answer: {text}"));
        (
            GuestError::Ambiguous(Detail::of(Code::NoAnswer, text)),
            GuestError::Transient { detail: later, retry_after_ms: after },
        )
    }

    /// Counts a call of `sbatch`, or tells when the next one is allowed.
    fn count_submit(&self, memory: &mut Memory) -> Result<(), GuestError> {
        let now = self.clock.now_ms();
        let submits = &mut memory.ledger.head.submits;
        submits.retain(|at| (0..MINUTE_MS).contains(&(now - at)));
        memory.ledger.touch();
        let submits = &mut memory.ledger.head.submits;
        let most = self.settings.submits_per_minute as usize;
        if let Some(at) = submits.len().checked_sub(most).and_then(|place| submits.get(place)) {
            let after = (at + MINUTE_MS - now).max(100) as u64;
            let text = format!("sbatch was called {most} times in a minute (submits_per_minute)");
            return Err(GuestError::transient_for(Code::SubmitRate, text, after));
        }
        submits.push(now);
        Ok(())
    }

    fn arguments(&self, memory: &Memory, array: &Unsent, from: usize, count: usize) -> Vec<String> {
        let name = &array.name;
        let log = self.log_there(memory, name).replace('%', "%%");
        // sites that want a comment get theirs after ours
        let (theirs, options): (Vec<&String>, Vec<&String>) =
            array.options.iter().partition(|option| option.starts_with(COMMENT));
        let comment = theirs.last().and_then(|option| option.strip_prefix(COMMENT)).unwrap_or_default();
        let mut all = vec![
            format!("--job-name={name}"),
            format!("--comment={}", array.comment(&self.run_id, from, count, comment)),
            "--no-requeue".to_owned(),
            "--open-mode=append".to_owned(),
            "--export=NONE".to_owned(),
            "--chdir=/".to_owned(),
            format!("--output={log}"),
        ];
        if has_arrays(memory) {
            all.push(format!("--array={from}-{}", from + count - 1));
        }
        all.extend(options.into_iter().cloned());
        // at a distance it is where it was checked: what arrives of a stream that is cut must not be taken for all of
        // it
        all.extend(self.wrapper_there(memory, name));
        all
    }
}

/// Notes the jobs that the cluster has taken.
fn acknowledged(memory: &mut Memory, array: &Unsent, indices: Range<usize>, id: &str, now: i64) {
    for index in indices {
        let element = Element { array: array.name.clone(), index: index as u32 };
        let id = if has_arrays(memory) { format!("{id}_{index}") } else { id.to_owned() };
        memory.ledger.expect(element, id, now);
    }
    let head = &mut memory.ledger.head;
    head.hold = None;
    // what fitted may be the limit no more
    head.array_fits = head.array_fits.map(|fits| fits.saturating_mul(2));
}

fn full(memory: &mut Memory, text: &str, now: i64) -> GuestError {
    let length = hold(memory, now);
    memory.ledger.touch();
    let text = format!("the cluster takes no more jobs for now: {text}");
    GuestError::transient_for(Code::ClusterFull, text, length as u64)
}

fn refused(memory: &mut Memory, text: String) -> GuestError {
    // asked for again, in case it is the size of arrays that has changed
    memory.ledger.head.limits_doubted = true;
    memory.ledger.touch();
    GuestError::Rejected(Detail::of(Code::Refused, text))
}

fn same(error: GuestError) -> (GuestError, GuestError) {
    (error.clone(), error)
}

/// Leaves a full cluster alone for a while, in milliseconds; longer each time.
fn hold(memory: &mut Memory, now: i64) -> i64 {
    let head = &mut memory.ledger.head;
    let length = head.hold.map_or(HOLD_MS.0, |(_, length)| (length * 2).min(HOLD_MS.1));
    head.hold = Some((now + length, length));
    length
}

fn bad_template(text: String) -> GuestError {
    GuestError::Invalid(Detail::of(Code::Template, format!("the job script: {text}")))
}

fn has_arrays(memory: &Memory) -> bool {
    memory.ledger.head.limits.is_none_or(|limits| limits.array_size > 1)
}

fn write_script(path: &Path, text: &str) -> io::Result<()> {
    // a link in its place must not be followed
    remove(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?;
    file.write_all(text.as_bytes())?;
    // the mask of the process may take away what the cluster needs
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
}
