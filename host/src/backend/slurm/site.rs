//! Where a cluster's jobs find their attempt directories: in the run itself, or below `remote_root` at the far end of ssh.
//!
//! A far attempt directory decides over its attempt as a near one does: its claim is made there, by a job or by the host,
//! and what it holds is fetched into the run once its job is over. The directory in the run is then as if the job had run
//! in it. Nothing of it is remembered beyond the process: a fetch may be repeated.
use super::batch::{Batches, Member};
use super::ledger::Element;
use super::state::Stage;
use super::{Client, SlurmBackend, script};
use crate::backend::JobKey;
use crate::backend::exit::read_exit;
use crate::backend::job::OutputPatterns;
use crate::backend::staging::{CLAIM, Carrier, Carry, CarryError, Fetched, Kept, Parcel, Put, RemoteFile, Wanted};
use crate::backend::transport::{Exec, NoAnswer};
use crate::ground::words::quoted;
use crate::model::contract::{Detail, GuestError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long a short question may take.
const SHORT: Duration = Duration::from_secs(40);
/// The ending of the file beside an array's list with what its attempts shall bring; only arrays over there have one.
const PATTERNS: &str = "outputs";

/// What this process knows of far attempt directories.
#[derive(Debug, Default)]
pub(super) struct Far {
    /// The run's directory over there, once it is known to exist.
    place: Option<String>,
    /// Attempts whose job is over, to be fetched with the next one that is asked about.
    over: BTreeSet<Element>,
    /// Attempts that were fetched since the last look at the queue.
    fetched: HashMap<String, Fetched>,
    /// Attempts whose claims were looked at since then.
    looked: BTreeSet<String>,
    /// Files that are over there already, for attempts about to be submitted.
    linked: HashMap<String, Vec<(String, RemoteFile)>>,
    /// What attempts about to be submitted carry over.
    carries: HashMap<String, Carry>,
    /// Attempts that were submitted without what they were to carry over.
    bare: BTreeSet<String>,
    /// What each attempt of an array shall bring, by array.
    patterns: HashMap<String, Vec<OutputPatterns>>,
}

/// The backend over whose ssh the job of this attempt directory was handed on, by its name when it was.
pub(in crate::backend) fn ran_behind(run: &Path, directory: &Path) -> Option<String> {
    let (batch, _) = script::ticket_in(directory)?;
    let backends = fs::read_dir(run.join("backends")).ok()?.flatten();
    let patterns = |backend: &Path| Batches::new(backend.join("arrays")).map_path(&batch).with_extension(PATTERNS);
    let found = backends.map(|entry| entry.path()).find(|backend| patterns(backend).exists())?;
    Some(found.file_name()?.to_str()?.to_owned())
}

impl SlurmBackend {
    /// The way to far attempt directories; nothing if the cluster shares this machine's files.
    pub(in crate::backend) fn carrier(&self) -> Option<Carrier<'_>> {
        Carrier::of(&self.settings, &*self.transport, &self.run_id)
    }

    /// Notes files that earlier attempts left over there and that this one shall find in its directory.
    pub(in crate::backend) fn link(&self, attempt: &str, linked: Vec<(String, RemoteFile)>, carry: Carry) {
        let far = &mut self.client().far;
        far.linked.insert(attempt.to_owned(), linked);
        far.carries.insert(attempt.to_owned(), carry);
    }

    /// Tells, once, whether an attempt was submitted without what it was to carry over, because it was no longer there.
    pub(in crate::backend) fn went_bare(&self, attempt: &str) -> bool {
        self.client().far.bare.remove(attempt)
    }

    /// Fetches what an attempt left over there for another one, into that one's directory. Tells whether its directory was
    /// there.
    pub(in crate::backend) fn fetch_carried(
        &self,
        attempt: &str,
        patterns: &[String],
        directory: &Path,
    ) -> Result<bool, GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(false) };
        let (attempt, directory) = (attempt.to_owned(), directory.to_owned());
        let wanted = Wanted { attempt, directory, outputs: patterns.to_vec(), keep: Vec::new(), own: false };
        let fetched = carrier.fetch(&[wanted]).map_err(|error| GuestError::Transient(detail(&error), None))?;
        match fetched.into_values().next() {
            Some(Fetched::Yes(_)) => Ok(true),
            Some(Fetched::No(why)) => Err(GuestError::Rejected(Detail::new("staging", why))),
            Some(Fetched::Gone) | None => Ok(false),
        }
    }

    /// Whether attempt directories are over there.
    pub(in crate::backend) fn is_far(&self) -> bool {
        self.settings.ssh.is_some()
    }

    /// Fetches one file that was left over there.
    pub(in crate::backend) fn pull(&self, file: &RemoteFile, to: &mut dyn io::Write) -> Result<(), CarryError> {
        let none = || CarryError::Damaged("the backend keeps no files".to_owned());
        self.carrier().ok_or_else(none)?.pull(file, to)
    }

    /// The files that a fetched attempt left over there, each with its path over there.
    pub(in crate::backend) fn kept(&self, attempt: &str) -> Vec<(Kept, String)> {
        let client = self.client();
        let (Some(Fetched::Yes(kept)), Some(carrier)) = (client.far.fetched.get(attempt), self.carrier()) else {
            return Vec::new();
        };
        let place = format!("{}/{}/{attempt}", carrier.root.trim_end_matches('/'), carrier.run);
        kept.iter().map(|kept| (kept.clone(), format!("{place}/{}", kept.path))).collect()
    }

    /// A new look at the queue: what was fetched before it may have changed.
    pub(super) fn forget_fetched(&self, client: &mut Client, changed: &[Element]) {
        if self.is_far() {
            client.far.fetched.clear();
            client.far.looked.clear();
            let over =
                changed.iter().filter(|element| client.ledger.job(element).is_some_and(|job| is_over(job.stage())));
            client.far.over = over.cloned().collect();
        }
    }

    /// Fetches what the attempt's job left, if the job is over and nothing was fetched since the last look at the queue.
    /// All others that are over come in the same stream.
    pub(super) fn fetch_if_over(
        &self,
        client: &mut Client,
        key: JobKey<'_>,
        element: &Element,
    ) -> Result<(), GuestError> {
        let attempt = key.attempt_id.as_str();
        if !self.is_far() || client.far.fetched.contains_key(attempt) {
            return Ok(());
        }
        let over = client.ledger.job(element).is_some_and(|job| is_over(job.stage()));
        if !over && read_exit(key.directory, attempt).is_none() {
            return Ok(());
        }
        client.far.over.insert(element.clone());
        let all = std::mem::take(&mut client.far.over);
        let fetched = self.fetch(client, &all, true)?;
        client.far.fetched.extend(fetched);
        Ok(())
    }

    /// Looks over there who claimed the attempts of an array whose submit had no answer.
    pub(super) fn look(&self, client: &mut Client, key: JobKey<'_>, element: &Element) -> Result<(), GuestError> {
        if !self.is_far() || !client.far.looked.insert(key.attempt_id.0.clone()) {
            return Ok(());
        }
        let members = client.batches.members(&element.batch).unwrap_or_default();
        let all = (0..members.len() as u32).map(|index| Element { batch: element.batch.clone(), index }).collect();
        let fetched = self.fetch(client, &all, false)?;
        client.far.looked.extend(fetched.into_keys());
        Ok(())
    }

    /// Fetches what attempts left over there; without `outputs` only what tells where they stand.
    fn fetch(
        &self,
        client: &mut Client,
        all: &BTreeSet<Element>,
        outputs: bool,
    ) -> Result<BTreeMap<String, Fetched>, GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(BTreeMap::new()) };
        let mut wanted = Vec::with_capacity(all.len());
        for element in all {
            let Some(member) = client.batches.member(element).cloned() else { continue };
            let patterns = if outputs { self.patterns(client, element) } else { OutputPatterns::default() };
            wanted.push(Wanted {
                directory: self.run.join(&member.directory),
                attempt: member.attempt,
                outputs: patterns.fetch,
                keep: patterns.keep,
                own: true,
            });
        }
        if wanted.is_empty() {
            return Ok(BTreeMap::new());
        }
        crate::ground::failpoint::hit("slurm.fetch.before");
        let fetched = carrier.fetch(&wanted).map_err(|error| GuestError::Transient(detail(&error), None))?;
        crate::ground::failpoint::hit("slurm.fetch.after");
        Ok(fetched)
    }

    /// Why the results of an attempt could not be taken, if so.
    pub(super) fn fetch_trouble(&self, client: &Client, attempt: &str) -> Option<String> {
        match client.far.fetched.get(attempt)? {
            Fetched::No(why) => Some(why.clone()),
            Fetched::Yes(_) | Fetched::Gone => None,
        }
    }

    fn patterns(&self, client: &mut Client, element: &Element) -> OutputPatterns {
        let path = client.batches.map_path(&element.batch).with_extension(PATTERNS);
        let read = || serde_json::from_slice(&fs::read(path).ok()?).ok();
        let all = client.far.patterns.entry(element.batch.clone()).or_insert_with(|| read().unwrap_or_default());
        all.get(element.index as usize).cloned().unwrap_or_default()
    }

    /// Notes what the attempts of an array shall bring, beside its list.
    pub(super) fn note_patterns(&self, client: &mut Client, batch: &str, all: Vec<OutputPatterns>) -> io::Result<()> {
        if self.is_far() {
            fs::write(client.batches.map_path(batch).with_extension(PATTERNS), serde_json::to_vec(&all)?)?;
            client.far.patterns.insert(batch.to_owned(), all);
        }
        Ok(())
    }

    /// Refuses an attempt directory that cannot be carried, before anything is done.
    pub(super) fn check_parcel(&self, directory: &Path) -> Result<(), GuestError> {
        if !self.is_far() {
            return Ok(());
        }
        crate::backend::staging::check(directory)
            .map_err(|error| GuestError::Invalid(Detail::new("staging", format!("the attempt directory: {error}"))))
    }

    /// The directory that a wrapper's list is relative to, and the list, as the cluster sees them.
    pub(super) fn seen_from_there(&self, client: &mut Client, batch: &str) -> Result<(String, String), GuestError> {
        let Some(carrier) = self.carrier() else {
            let map = client.batches.map_path(batch);
            return Ok((self.run.to_string_lossy().into_owned(), map.to_string_lossy().into_owned()));
        };
        let place = match &client.far.place {
            Some(place) => place.clone(),
            None => carrier.make_place().map_err(|error| GuestError::Transient(detail(&error), None))?,
        };
        client.far.place = Some(place.clone());
        Ok((place.clone(), format!("{place}/{batch}/map")))
    }

    /// Where Slurm puts its own messages about an array.
    pub(super) fn log_there(&self, client: &Client, batch: &str) -> String {
        match &client.far.place {
            Some(place) if self.is_far() => format!("{place}/{batch}/log"),
            _ => client.batches.log_path(batch).to_string_lossy().into_owned(),
        }
    }

    /// The wrapper where it lies over there, for `sbatch` to read; nothing if it goes along with the call.
    pub(super) fn wrapper_there(&self, client: &Client, batch: &str) -> Option<String> {
        client.far.place.as_ref().filter(|_| self.is_far()).map(|place| format!("{place}/{batch}/wrapper"))
    }

    /// Carries the attempt directories of an array to the cluster, with its list and wrapper. Returns the attempts that
    /// cannot start, with the reason.
    pub(super) fn put(
        &self,
        client: &mut Client,
        batch: &str,
        members: &[Member],
        wrapper: &str,
    ) -> Result<BTreeMap<String, String>, GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(BTreeMap::new()) };
        let mut map = String::new();
        for (index, member) in members.iter().enumerate() {
            let kind = if member.is_argv { "argv" } else { "shell" };
            map.push_str(&format!("{index} {kind} {0} {0}\n", member.attempt));
        }
        let mut parcels = vec![Parcel {
            attempt: batch.to_owned(),
            directory: None,
            files: vec![("map".to_owned(), map.into_bytes()), ("wrapper".to_owned(), wrapper.as_bytes().to_vec())],
            linked: Vec::new(),
            carry: Carry::default(),
        }];
        parcels.extend(members.iter().enumerate().map(|(index, member)| {
            let patterns = self.patterns(client, &Element { batch: batch.to_owned(), index: index as u32 });
            let note = crate::backend::staging::note_kept(&patterns.keep);
            Parcel {
                attempt: member.attempt.clone(),
                directory: Some(self.run.join(&member.directory)),
                files: if note.is_empty() { Vec::new() } else { vec![(script::AFTER.to_owned(), note.into_bytes())] },
                linked: client.far.linked.remove(&member.attempt).unwrap_or_default(),
                carry: client.far.carries.remove(&member.attempt).unwrap_or_default(),
            }
        }));
        crate::ground::failpoint::hit("slurm.put.before");
        let put = carrier.put(&parcels).map_err(|error| GuestError::Transient(detail(&error), Some(10_000)))?;
        crate::ground::failpoint::hit("slurm.put.after");
        let Put { refused, bare } = put;
        client.far.bare.extend(bare);
        Ok(refused.into_iter().collect())
    }

    /// Sees to it that nothing over there can start the attempt's command from now on; tells whether nothing has. A
    /// directory that is gone tells nothing: a job may have been in it, or it is looked for in the wrong place. Brings
    /// what a decision needs: the exit record, if it has come meanwhile, and what Slurm itself said. Nothing if the
    /// cluster shares this machine's files.
    pub(super) fn fence_there(
        &self,
        client: &mut Client,
        key: JobKey<'_>,
        batch: &str,
    ) -> Result<Option<bool>, GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(None) };
        let script = format!(
            "cd {place} 2>/dev/null || exit 0\n\
             if [ -d ./{a} ]; then\n  cd ./{a} || exit 1\n  if mkdir {CLAIM} 2>/dev/null; then : >{CLAIM}/fenced || exit 1; fi\n  \
             [ -d {CLAIM} ] || exit 1\n  if [ -e {CLAIM}/fenced ]; then echo fenced; else echo claimed; fi\n  \
             [ ! -e exit.json ] || echo recorded\n  cd ..\nfi\n\
             echo =\ntail -c 65536 ./{b}/log 2>/dev/null\nexit 0",
            place = carrier.place(),
            a = quoted(key.attempt_id.as_str()),
            b = quoted(batch),
        );
        let text = self.ask_there(&script)?;
        let (head, log) = text.split_once("=\n").unwrap_or((&text, ""));
        let has = |word: &str| head.lines().any(|line| line == word);
        fs::write(client.batches.log_path(batch), log).map_err(|error| super::unavailable(&error))?;
        if has("recorded") && read_exit(key.directory, key.attempt_id.as_str()).is_none() {
            client.far.fetched.remove(key.attempt_id.as_str());
            let text = "its exit record has only just come to light".to_owned();
            return Err(GuestError::Transient(Detail::new("late-record", text), Some(100)));
        }
        Ok(Some(has("fenced")))
    }

    /// Takes the job script away over there, so that a job that comes to light after all finds none.
    pub(super) fn unwant_there(&self, attempt: &str) -> Result<(), GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(()) };
        let script = format!("rm -f -- {}/{}/{}", carrier.place(), quoted(attempt), script::JOB_SCRIPT);
        self.ask_there(&script).map(drop)
    }

    fn ask_there(&self, script: &str) -> Result<String, GuestError> {
        let silent = |text: String| GuestError::Transient(Detail::new("cluster-silent", text), None);
        let done = self.transport.exec(Exec::of(script, SHORT)).map_err(|error| silent(error.to_string()))?;
        if done.code != 0 {
            return Err(silent(format!("exit code {}: {}", done.code, String::from_utf8_lossy(&done.stderr).trim())));
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

fn is_over(stage: Stage) -> bool {
    matches!(stage, Stage::Ended(_) | Stage::Gone)
}

fn detail(error: &CarryError) -> Detail {
    let code = match error {
        CarryError::NoAnswer(NoAnswer::Unreachable(_) | NoAnswer::Lost(_)) => "cluster-silent",
        CarryError::NoRoom(_) => "no-room",
        CarryError::Refused(..) | CarryError::Damaged(_) | CarryError::Here(..) => "staging",
    };
    let cause = match error {
        CarryError::Here(_, cause) => format!(": {cause}"),
        _ => String::new(),
    };
    Detail::new(code, format!("{error}{}", if error.to_string().ends_with(&cause) { "" } else { &cause }))
}
