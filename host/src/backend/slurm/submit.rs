//! Collects what a tick submits and hands it to `sbatch` as arrays.
use super::batch::Member;
use super::client::{self, Submitted};
use super::ledger::{Doubt, Element};
use super::{Client, Handle, SlurmBackend, fresh_token, now_ms, script, unavailable};
use crate::backend::exit::read_exit;
use crate::backend::job::{Command, JobDocument, OutputPatterns};
use crate::backend::{JobKey, Unacknowledged};
use crate::ground::failpoint;
use crate::model::contract::{Detail, GuestError};
use crate::model::id::AttemptId;
use crate::model::workflow::Resources;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// How long to wait after the cluster was full, in milliseconds; doubled each time up to the second.
const HOLD_MS: (i64, i64) = (5_000, 60_000);
/// What `sbatch` says when it waits for room by itself, until it is given up.
const WAITED: &str = "temporarily unable to accept job";
const MINUTE_MS: i64 = 60_000;

/// Jobs that need the same, and so become one array.
#[derive(Debug)]
pub(super) struct Group {
    token: String,
    resources: Resources,
    options: Vec<String>,
    members: Vec<Member>,
    patterns: Vec<OutputPatterns>,
}

impl SlurmBackend {
    pub(in crate::backend) fn submit(&self, key: JobKey<'_>, job: &str) -> Result<String, GuestError> {
        let job = JobDocument::parse(job)?;
        let attempt = key.attempt_id.as_str();
        let mut client = self.client();
        for group in &client.waiting {
            // the same key again is the same job
            if let Some(index) = group.members.iter().position(|member| member.attempt == attempt) {
                return Handle::of(&Element { batch: group.token.clone(), index: index as u32 }, None).text();
            }
        }
        if read_exit(key.directory, attempt).is_some() {
            return Err(GuestError::Ambiguous(Detail::new("ended", "the attempt has an exit record already")));
        }
        self.refuse_if_full(&mut client)?;
        let directory = key.directory.strip_prefix(&self.run).ok().and_then(Path::to_str);
        let directory = directory
            .ok_or_else(|| GuestError::Invalid(Detail::new("job", "the attempt directory is not inside the run")))?;
        let options = script::options(&self.settings, &job.resources);
        let most = client.ledger.head.array_size.unwrap_or(1).min(self.settings.array_max).max(1) as usize;
        let fits = |group: &Group| group.options == options && group.resources == job.resources;
        let place = client.waiting.iter().rposition(|group| fits(group) && group.members.len() < most);
        let place = match place {
            Some(place) => place,
            None => {
                let token = fresh_token().map_err(|error| unavailable(&error))?;
                let (resources, options) = (job.resources.clone(), options);
                client.waiting.push(Group { token, resources, options, members: Vec::new(), patterns: Vec::new() });
                client.waiting.len() - 1
            }
        };
        let Some(group) = client.waiting.get_mut(place) else {
            return Err(unavailable(&io::Error::other("bug: a group just made is not there")));
        };
        let element = Element { batch: group.token.clone(), index: group.members.len() as u32 };
        let ticket = script::ticket(&element.batch, element.index);
        let text = script::job_script(&self.settings, &job, attempt, &group.options, Some(&ticket));
        let text = text.map_err(bad_template)?;
        write_script(&key.directory.join(script::JOB_SCRIPT), &text).map_err(|error| unavailable(&error))?;
        self.check_parcel(key.directory)?;
        group.patterns.push(job.patterns());
        let is_argv = matches!(job.command, Command::Argv(_));
        group.members.push(Member { attempt: attempt.to_owned(), directory: directory.to_owned(), is_argv });
        Handle::of(&element, None).text()
    }

    /// The job script that a job would get, but for the line that names its array: it has none yet.
    pub(in crate::backend) fn preview(&self, attempt: &str, job: &str) -> Result<String, GuestError> {
        let job = JobDocument::parse(job)?;
        let options = script::options(&self.settings, &job.resources);
        script::job_script(&self.settings, &job, attempt, &options, None).map_err(bad_template)
    }

    /// Turns a submit away, before anything is done, where the cluster would not take it.
    fn refuse_if_full(&self, client: &mut Client) -> Result<(), GuestError> {
        client.ledger.refresh().map_err(|error| unavailable(&error))?;
        let now = now_ms();
        let later = |code: &str, text: String, after: i64| {
            Err(GuestError::Transient(Detail::new(code, text), Some(after.max(100) as u64)))
        };
        let head = &client.ledger.head;
        if let Some((until, length)) = head.hold
            && now < until
            && until - now <= length
        {
            return later("cluster-full", "the cluster takes no more jobs for now".to_owned(), until - now);
        }
        let interval = self.poll_interval().as_millis() as i64;
        if let Some(silence) = head.silent.as_ref().filter(|_| (0..3 * interval).contains(&(now - head.polled_ms))) {
            return later("cluster-silent", format!("the cluster does not answer: {silence}"), interval);
        }
        if head.array_size.is_none() {
            match client::array_size(&*self.transport) {
                Ok(size) => client.ledger.head.array_size = Some(size),
                Err(text) => return later("cluster-silent", format!("the cluster does not answer: {text}"), interval),
            }
            client.ledger.touch();
        }
        Ok(())
    }

    pub(in crate::backend) fn sync(&self) -> io::Result<Unacknowledged> {
        let mut client = self.client();
        let groups = std::mem::take(&mut client.waiting);
        let mut unacknowledged = Unacknowledged::new();
        if groups.is_empty() {
            return Ok(unacknowledged);
        }
        client.ledger.refresh()?;
        client.ledger.load()?;
        for group in groups {
            if let Err(error) = self.hand_over(&mut client, &group, &mut unacknowledged)? {
                let all = group.members.iter().map(|member| (AttemptId(member.attempt.clone()), error.clone()));
                unacknowledged.extend(all);
            }
        }
        client.ledger.save()?;
        Ok(unacknowledged)
    }

    /// Writes down what a group becomes, carries it to where it runs, and hands it in. The inner error means that none of
    /// it was.
    fn hand_over(
        &self,
        client: &mut Client,
        group: &Group,
        unacknowledged: &mut Unacknowledged,
    ) -> io::Result<Result<(), GuestError>> {
        let (base, map) = match self.seen_from_there(client, &group.token) {
            Ok(seen) => seen,
            Err(error) => return Ok(Err(error)),
        };
        let wrapper = script::wrapper(&base, &map, &group.token, &group.resources);
        client.batches.write(&group.token, group.members.clone(), &wrapper)?;
        self.note_patterns(client, &group.token, group.patterns.clone())?;
        failpoint::hit("slurm.array-written");
        let gone = match self.put(client, &group.token, &group.members, &wrapper) {
            Ok(gone) => gone,
            Err(error) => return Ok(Err(error)),
        };
        self.hand_in(client, group, &wrapper, unacknowledged);
        unacknowledged.extend(gone.into_iter().map(|(attempt, why)| {
            // it has no directory over there, so its element of the array finds nothing to start
            (AttemptId(attempt), GuestError::Rejected(Detail::new("input-gone", why)))
        }));
        Ok(Ok(()))
    }

    /// Calls `sbatch` for a group; where a limit does not let the whole of it through, for smaller parts.
    fn hand_in(&self, client: &mut Client, group: &Group, wrapper: &str, unacknowledged: &mut Unacknowledged) {
        let mut refuse = |members: &[Member], error: &GuestError| {
            unacknowledged.extend(members.iter().map(|m| (AttemptId(m.attempt.clone()), error.clone())));
        };
        let mut from = 0;
        let mut size = client.ledger.head.array_fits.map_or(group.members.len(), |fits| fits as usize);
        while from < group.members.len() {
            let part = group.members.get(from..group.members.len().min(from + size.max(1))).unwrap_or_default();
            let rest = group.members.get(from..).unwrap_or_default();
            if let Err(error) = self.count_submit(client) {
                return refuse(rest, &error);
            }
            failpoint::hit("slurm.sbatch.before");
            let arguments = self.arguments(client, group, from, part.len());
            let wrapper = if self.is_far() { "" } else { wrapper };
            let answer = client::submit(&*self.transport, &arguments, wrapper);
            failpoint::hit("slurm.sbatch.after");
            let (first, others) = match answer {
                Submitted::Yes(id) => {
                    acknowledged(client, group, from..from + part.len(), &id);
                    from += part.len();
                    continue;
                }
                Submitted::Full(_) if part.len() > 1 => {
                    size = part.len().div_ceil(2);
                    client.ledger.head.array_fits = Some(size as u32);
                    continue;
                }
                Submitted::Full(text) => same(full(client, &text)),
                Submitted::Refused(text) => same(refused(client, text)),
                Submitted::Ambiguous(text) => self.doubted(client, &group.token, part.len(), &text),
            };
            refuse(part, &first);
            return refuse(rest.get(part.len()..).unwrap_or_default(), &others);
        }
    }

    /// A submit of so many jobs whose answer was lost: what that means for them, and for those that come after.
    fn doubted(&self, client: &mut Client, batch: &str, count: usize, text: &str) -> (GuestError, GuestError) {
        let now = now_ms();
        let head = &mut client.ledger.head;
        head.doubts.insert(batch.to_owned(), Doubt { since_ms: now, answered_ms: None });
        if text.contains(WAITED) {
            // there is none most likely, and a smaller array may find room
            head.array_fits = Some(count.div_ceil(2) as u32);
            hold(client, now);
        }
        client.ledger.touch();
        let after = Some(self.poll_interval().as_millis() as u64);
        let later = Detail::new("cluster-silent", format!("an earlier submit had no answer: {text}"));
        (GuestError::Ambiguous(Detail::new("no-answer", text)), GuestError::Transient(later, after))
    }

    /// Counts a call of `sbatch`, or tells when the next one is allowed.
    fn count_submit(&self, client: &mut Client) -> Result<(), GuestError> {
        let now = now_ms();
        let submits = &mut client.ledger.head.submits;
        submits.retain(|at| (0..MINUTE_MS).contains(&(now - at)));
        client.ledger.touch();
        let submits = &mut client.ledger.head.submits;
        let most = self.settings.submits_per_minute as usize;
        if let Some(at) = submits.len().checked_sub(most).and_then(|place| submits.get(place)) {
            let after = (at + MINUTE_MS - now).max(100) as u64;
            let text = format!("sbatch was called {most} times in a minute (submits_per_minute)");
            return Err(GuestError::Transient(Detail::new("submit-rate", text), Some(after)));
        }
        submits.push(now);
        Ok(())
    }

    fn arguments(&self, client: &Client, group: &Group, from: usize, count: usize) -> Vec<String> {
        let token = &group.token;
        let log = self.log_there(client, token).replace('%', "%%");
        let mut all = vec![
            format!("--job-name={token}"),
            format!("--comment={token}"),
            "--no-requeue".to_owned(),
            "--open-mode=append".to_owned(),
            "--export=NONE".to_owned(),
            "--chdir=/".to_owned(),
            format!("--output={log}"),
        ];
        if has_arrays(client) {
            all.push(format!("--array={from}-{}", from + count - 1));
        }
        all.extend(group.options.iter().cloned());
        // at a distance it is where it was checked: what arrives of a stream that is cut must not be taken for all of it
        all.extend(self.wrapper_there(client, token));
        all
    }
}

/// Notes the jobs that the cluster has taken.
fn acknowledged(client: &mut Client, group: &Group, indices: Range<usize>, id: &str) {
    let now = now_ms();
    for index in indices {
        let element = Element { batch: group.token.clone(), index: index as u32 };
        let id = if has_arrays(client) { format!("{id}_{index}") } else { id.to_owned() };
        client.ledger.expect(element, id, now);
    }
    let head = &mut client.ledger.head;
    head.hold = None;
    // what fitted may be the limit no more
    head.array_fits = head.array_fits.map(|fits| fits.saturating_mul(2));
}

fn full(client: &mut Client, text: &str) -> GuestError {
    let length = hold(client, now_ms());
    client.ledger.touch();
    let text = format!("the cluster takes no more jobs for now: {text}");
    GuestError::Transient(Detail::new("cluster-full", text), Some(length as u64))
}

fn refused(client: &mut Client, text: String) -> GuestError {
    // asked for again, in case it is the size of arrays that has changed
    client.ledger.head.array_size = None;
    client.ledger.touch();
    GuestError::Rejected(Detail::new("refused", text))
}

fn same(error: GuestError) -> (GuestError, GuestError) {
    (error.clone(), error)
}

/// Leaves a full cluster alone for a while, in milliseconds; longer each time.
fn hold(client: &mut Client, now: i64) -> i64 {
    let head = &mut client.ledger.head;
    let length = head.hold.map_or(HOLD_MS.0, |(_, length)| (length * 2).min(HOLD_MS.1));
    head.hold = Some((now + length, length));
    length
}

fn bad_template(text: String) -> GuestError {
    GuestError::Invalid(Detail::new("template", format!("the job script: {text}")))
}

fn has_arrays(client: &Client) -> bool {
    client.ledger.head.array_size.is_none_or(|size| size > 1)
}

fn write_script(path: &Path, text: &str) -> io::Result<()> {
    // a link in its place must not be followed
    super::remove(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?;
    file.write_all(text.as_bytes())?;
    // the mask of the process may take away what the cluster needs
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
}
