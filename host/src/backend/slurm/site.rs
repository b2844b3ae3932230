//! Where a cluster's jobs find their attempt directories: in the run itself, or below `remote_root` at the far end of
//! ssh.
//!
//! A far attempt directory decides over its attempt as a near one does: its claim is made there, by a job or by the
//! host, and what it holds is fetched into the run once its job is over. The directory in the run is then as if the job
//! had run in it. Nothing of it is remembered beyond the process: a fetch may be repeated.
use super::array::{Arrays, Member, is_name};
use super::ledger::Element;
use super::state::Stage;
use super::{Memory, SlurmBackend, script};
use crate::backend::JobKey;
use crate::backend::exit::read_exit;
use crate::backend::job::OutputPatterns;
use crate::backend::staging::{Carrier, Carry, CarryError, Fetched, Kept, Parcel, Put, RemoteFile, Wanted};
use crate::backend::transport::{Exec, NoAnswer};
use crate::ground::words::quoted;
use crate::model::attempt_dir::{self, CLAIM};
use crate::model::code::Code;
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

/// What the cluster itself brings to where a job runs: files that earlier attempts left over there, by their
/// destination, and what the attempt carries over.
#[derive(Debug, Clone, Default)]
pub(in crate::backend) struct Errand {
    pub(in crate::backend) linked: Vec<(String, RemoteFile)>,
    pub(in crate::backend) carry: Carry,
}

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
    /// Attempts that were submitted without what they were to carry over, and that nobody has asked about yet.
    bare: BTreeSet<String>,
    /// What each attempt of an array shall bring, by array.
    patterns: HashMap<String, Vec<OutputPatterns>>,
}

impl Far {
    /// Forgets what arrays other than these shall bring; it would be read again.
    pub(super) fn keep_only(&mut self, arrays: &BTreeSet<String>) {
        self.patterns.retain(|array, _| arrays.contains(array));
    }
}

/// Where the wrapper of an array finds what it needs, as the cluster sees it.
#[derive(Debug)]
pub(super) struct Place {
    /// The directory that the list's directories are relative to.
    pub(super) base: String,
    /// The array's list of attempts.
    pub(super) map: String,
    /// The directory of the marks that jobs leave when they start.
    pub(super) marks: String,
}

/// The backend over whose ssh the job of this attempt directory was handed on, by its name when it was.
pub(in crate::backend) fn ran_behind(run: &Path, directory: &Path) -> Option<String> {
    let (array, _) = script::ticket_in(directory)?;
    let backends = fs::read_dir(run.join("backends")).ok()?.flatten();
    let patterns = |backend: &Path| Arrays::new(backend.join("arrays")).map_path(&array).with_extension(PATTERNS);
    let found = backends.map(|entry| entry.path()).find(|backend| patterns(backend).exists())?;
    Some(found.file_name()?.to_str()?.to_owned())
}

impl SlurmBackend {
    /// The way to far attempt directories; nothing if the cluster shares this machine's files.
    pub(in crate::backend) fn carrier(&self) -> Option<Carrier<'_>> {
        Carrier::of(&self.settings, &*self.transport, &self.run_id)
    }

    /// The attempts that were submitted, since this was last asked, without what they were to carry over.
    pub(in crate::backend) fn went_bare(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.memory().far.bare)
    }

    /// Fetches what an attempt left over there for another one, into that one's directory. Tells whether its directory
    /// was there.
    pub(in crate::backend) fn fetch_carried(
        &self,
        attempt: &str,
        patterns: &[String],
        directory: &Path,
    ) -> Result<bool, GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(false) };
        let (attempt, directory) = (attempt.to_owned(), directory.to_owned());
        let wanted = Wanted { attempt, directory, outputs: patterns.to_vec(), keep: Vec::new(), own: false };
        let fetched = carrier.fetch(&[wanted]).map_err(|error| unreached(&error, None))?;
        match fetched.into_values().next() {
            Some(Fetched::Yes(_)) => Ok(true),
            Some(Fetched::No(why) | Fetched::Never(_, why)) => {
                Err(GuestError::Rejected(Detail::of(Code::Staging, why)))
            }
            Some(Fetched::Gone) | None => Ok(false),
        }
    }

    /// Whether an array of this name is one of the run's.
    pub(in crate::backend) fn made_array(&self, name: &str) -> bool {
        is_name(name) && self.memory().arrays.map_path(name).is_file()
    }

    /// Whether attempt directories are over there.
    pub(in crate::backend) fn is_far(&self) -> bool {
        self.settings.ssh.is_some()
    }

    /// Fetches one file that was left over there.
    pub(in crate::backend) fn pull(&self, file: &RemoteFile, to: &mut dyn io::Write) -> Result<bool, CarryError> {
        let none = || CarryError::Damaged("the backend keeps no files".to_owned());
        self.carrier().ok_or_else(none)?.pull(file, to)
    }

    /// The files that a fetched attempt left over there, each with its path over there.
    pub(in crate::backend) fn kept(&self, attempt: &str) -> Vec<(Kept, String)> {
        let memory = self.memory();
        let (Some(Fetched::Yes(kept)), Some(carrier)) = (memory.far.fetched.get(attempt), self.carrier()) else {
            return Vec::new();
        };
        let place = format!("{}/{}/{attempt}", carrier.root.trim_end_matches('/'), carrier.run);
        kept.iter().map(|kept| (kept.clone(), format!("{place}/{}", kept.path))).collect()
    }

    /// A new look at the queue: what was fetched before it may have changed.
    pub(super) fn forget_fetched(&self, memory: &mut Memory, changed: &[Element]) {
        if self.is_far() {
            memory.far.fetched.clear();
            memory.far.looked.clear();
            let over =
                changed.iter().filter(|element| memory.ledger.job(element).is_some_and(|job| is_over(job.stage())));
            memory.far.over = over.cloned().collect();
        }
    }

    /// Fetches what the attempt's job left, if the job is over and nothing was fetched since the last look at the
    /// queue. All others that are over come in the same stream.
    pub(super) fn fetch_if_over(
        &self,
        memory: &mut Memory,
        key: JobKey<'_>,
        element: &Element,
    ) -> Result<(), GuestError> {
        let attempt = key.attempt_id.as_str();
        if !self.is_far() || memory.far.fetched.contains_key(attempt) {
            return Ok(());
        }
        let over = memory.ledger.job(element).is_some_and(|job| is_over(job.stage()));
        if !over && read_exit(key.directory, attempt).is_none() {
            return Ok(());
        }
        memory.far.over.insert(element.clone());
        let all = std::mem::take(&mut memory.far.over);
        let fetched = self.fetch(memory, &all, true)?;
        memory.far.fetched.extend(fetched);
        Ok(())
    }

    /// Looks over there who claimed the attempts of an array whose submit had no answer.
    pub(super) fn look(&self, memory: &mut Memory, key: JobKey<'_>, element: &Element) -> Result<(), GuestError> {
        if !self.is_far() || !memory.far.looked.insert(key.attempt_id.0.clone()) {
            return Ok(());
        }
        let members = memory.arrays.members(&element.array).unwrap_or_default();
        let all = (0..members.len() as u32).map(|index| Element { array: element.array.clone(), index }).collect();
        let fetched = self.fetch(memory, &all, false)?;
        memory.far.looked.extend(fetched.into_keys());
        Ok(())
    }

    /// Fetches what attempts left over there; without `outputs` only what tells where they stand.
    fn fetch(
        &self,
        memory: &mut Memory,
        all: &BTreeSet<Element>,
        outputs: bool,
    ) -> Result<BTreeMap<String, Fetched>, GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(BTreeMap::new()) };
        let mut wanted = Vec::with_capacity(all.len());
        for element in all {
            let Some(member) = memory.arrays.member(element).cloned() else { continue };
            let patterns = if outputs { self.patterns(memory, element) } else { OutputPatterns::default() };
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
        let fetched = carrier.fetch(&wanted).map_err(|error| unreached(&error, None))?;
        crate::ground::failpoint::hit("slurm.fetch.after");
        Ok(fetched)
    }

    /// Why the results of an attempt could not be taken, if so.
    pub(super) fn fetch_trouble(&self, memory: &Memory, attempt: &str) -> Option<String> {
        match memory.far.fetched.get(attempt)? {
            Fetched::No(why) => Some(why.clone()),
            Fetched::Yes(_) | Fetched::Never(..) | Fetched::Gone => None,
        }
    }

    /// Why some of the results of an attempt can never be taken, if so.
    pub(super) fn fetch_refusal(&self, memory: &Memory, attempt: &str) -> Option<Detail> {
        match memory.far.fetched.get(attempt)? {
            Fetched::Never(code, why) => Some(Detail::of(*code, why.clone())),
            Fetched::Yes(_) | Fetched::No(_) | Fetched::Gone => None,
        }
    }

    fn patterns(&self, memory: &mut Memory, element: &Element) -> OutputPatterns {
        let path = memory.arrays.map_path(&element.array).with_extension(PATTERNS);
        let read = || serde_json::from_slice(&fs::read(path).ok()?).ok();
        let all = memory.far.patterns.entry(element.array.clone()).or_insert_with(|| read().unwrap_or_default());
        all.get(element.index as usize).cloned().unwrap_or_default()
    }

    /// Notes what the attempts of an array shall bring, beside its list.
    pub(super) fn note_patterns(&self, memory: &mut Memory, array: &str, all: Vec<OutputPatterns>) -> io::Result<()> {
        if self.is_far() {
            fs::write(memory.arrays.map_path(array).with_extension(PATTERNS), serde_json::to_vec(&all)?)?;
            memory.far.patterns.insert(array.to_owned(), all);
        }
        Ok(())
    }

    /// Refuses an attempt directory that cannot be carried, before anything is done.
    pub(super) fn check_parcel(&self, directory: &Path) -> Result<(), GuestError> {
        if !self.is_far() {
            return Ok(());
        }
        crate::backend::staging::check(directory)
            .map_err(|error| GuestError::Invalid(Detail::of(Code::Staging, format!("the attempt directory: {error}"))))
    }

    /// Where the wrapper of an array finds what it needs.
    pub(super) fn seen_from_there(&self, memory: &mut Memory, array: &str) -> Result<Place, GuestError> {
        let Some(carrier) = self.carrier() else {
            let text = |path: &Path| path.to_string_lossy().into_owned();
            let (map, marks) = (memory.arrays.map_path(array), memory.arrays.marks_path(array));
            return Ok(Place { base: text(&self.run), map: text(&map), marks: text(&marks) });
        };
        let place = match &memory.far.place {
            Some(place) => place.clone(),
            None => carrier.make_place().map_err(|error| unreached(&error, None))?,
        };
        memory.far.place = Some(place.clone());
        Ok(Place { map: format!("{place}/{array}/map"), marks: format!("{place}/{array}/started"), base: place })
    }

    /// Where Slurm puts its own messages about an array.
    pub(super) fn log_there(&self, memory: &Memory, array: &str) -> String {
        match &memory.far.place {
            Some(place) if self.is_far() => format!("{place}/{array}/log"),
            _ => memory.arrays.log_path(array).to_string_lossy().into_owned(),
        }
    }

    /// The wrapper where it lies over there, for `sbatch` to read; nothing if it goes along with the call.
    pub(super) fn wrapper_there(&self, memory: &Memory, array: &str) -> Option<String> {
        memory.far.place.as_ref().filter(|_| self.is_far()).map(|place| format!("{place}/{array}/wrapper"))
    }

    /// Carries the attempt directories of an array to the cluster, with its list and wrapper. Returns the attempts that
    /// cannot start, with the reason.
    pub(super) fn put(
        &self,
        memory: &mut Memory,
        array: &str,
        members: &[Member],
        errands: &[Errand],
        wrapper: &str,
    ) -> Result<BTreeMap<String, String>, GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(BTreeMap::new()) };
        let lines = members.iter().enumerate().map(|(index, member)| member.line(index, &member.attempt));
        let map: String = lines.collect();
        let mut parcels = vec![Parcel {
            attempt: array.to_owned(),
            directory: None,
            files: vec![("map".to_owned(), map.into_bytes()), ("wrapper".to_owned(), wrapper.as_bytes().to_vec())],
            linked: Vec::new(),
            carry: Carry::default(),
        }];
        parcels.extend(members.iter().enumerate().map(|(index, member)| {
            let patterns = self.patterns(memory, &Element { array: array.to_owned(), index: index as u32 });
            let note = crate::backend::staging::note_kept(&patterns.keep);
            let errand = errands.get(index).cloned().unwrap_or_default();
            Parcel {
                attempt: member.attempt.clone(),
                directory: Some(self.run.join(&member.directory)),
                files: if note.is_empty() {
                    Vec::new()
                } else {
                    vec![(attempt_dir::AFTER.to_owned(), note.into_bytes())]
                },
                linked: errand.linked,
                carry: errand.carry,
            }
        }));
        crate::ground::failpoint::hit("slurm.put.before");
        let put = carrier.put(&parcels).map_err(|error| unreached(&error, Some(10_000)))?;
        crate::ground::failpoint::hit("slurm.put.after");
        let Put { refused, bare } = put;
        memory.far.bare.extend(bare);
        Ok(refused.into_iter().collect())
    }

    /// Sees to it that nothing over there can start the attempt's command from now on; tells whether nothing has. A
    /// directory that is gone tells nothing: a job may have been in it, or it is looked for in the wrong place. Brings
    /// what a decision needs: the exit record, if it has come meanwhile, and what Slurm itself said. Nothing if the
    /// cluster shares this machine's files.
    pub(super) fn fence_there(
        &self,
        memory: &mut Memory,
        key: JobKey<'_>,
        element: &Element,
    ) -> Result<Option<bool>, GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(None) };
        let script = format!(
            "cd {place} 2>/dev/null || exit 0\n\
             if [ -d ./{a} ]; then\n  cd ./{a} || exit 1\n  if mkdir {CLAIM} 2>/dev/null; then : >{CLAIM}/fenced && sync {CLAIM}/fenced {CLAIM} . || exit 1; fi\n  \
             [ -d {CLAIM} ] || exit 1\n  if [ -e {CLAIM}/fenced ]; then echo fenced; else echo claimed; fi\n  \
             [ ! -e exit.json ] || echo recorded\n  cd ..\nfi\n\
             [ ! -e ./{b}/started/{i} ] || echo started\n\
             echo =\ntail -c 65536 ./{b}/log 2>/dev/null\nexit 0",
            place = carrier.place(),
            a = quoted(key.attempt_id.as_str()),
            b = quoted(&element.array),
            i = element.index,
        );
        let text = self.ask_there(&script)?;
        let (head, log) = text.split_once("=\n").unwrap_or((&text, ""));
        let has = |word: &str| head.lines().any(|line| line == word);
        fs::write(memory.arrays.log_path(&element.array), log).map_err(|error| super::unavailable(&error))?;
        if has("recorded") && read_exit(key.directory, key.attempt_id.as_str()).is_none() {
            memory.far.fetched.remove(key.attempt_id.as_str());
            let text = "its exit record has only just come to light".to_owned();
            return Err(GuestError::transient_for(Code::LateRecord, text, 100));
        }
        Ok(Some(has("fenced") && !has("started")))
    }

    /// Takes the job script away over there, so that a job that comes to light after all finds none.
    pub(super) fn unwant_there(&self, attempt: &str) -> Result<(), GuestError> {
        let Some(carrier) = self.carrier() else { return Ok(()) };
        let directory = format!("{}/{}", carrier.place(), quoted(attempt));
        let script = format!("cd {directory} 2>/dev/null || exit 0; rm -f -- {} && sync .", attempt_dir::JOB_SCRIPT);
        self.ask_there(&script).map(drop)
    }

    fn ask_there(&self, script: &str) -> Result<String, GuestError> {
        let silent = |text: String| GuestError::transient(Code::ClusterSilent, text);
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

/// What the cluster that could not be reached is told as; asked again in this many milliseconds, if that is known.
fn unreached(error: &CarryError, retry_after_ms: Option<u64>) -> GuestError {
    GuestError::Transient { detail: detail(error), retry_after_ms }
}

fn detail(error: &CarryError) -> Detail {
    let code = match error {
        CarryError::NoAnswer(NoAnswer::Unreachable(_) | NoAnswer::Lost(_)) => Code::ClusterSilent,
        CarryError::NoRoom(_) => Code::NoRoom,
        CarryError::Refused(..) | CarryError::Damaged(_) | CarryError::Here(..) => Code::Staging,
    };
    let cause = match error {
        CarryError::Here(_, cause) => format!(": {cause}"),
        _ => String::new(),
    };
    Detail::of(code, format!("{error}{}", if error.to_string().ends_with(&cause) { "" } else { &cause }))
}
