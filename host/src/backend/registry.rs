//! The backends of one run, by name.
use super::clock::Clock;
use super::local::{LocalBackend, LocalSettings, inherited};
use super::slurm::{SlurmBackend, Way};
use super::transport::here::Here;
use super::transport::ssh::Ssh;
use super::transport::{NoWay, Transport};
use super::{Compute, JobKey, Unacknowledged};
use crate::model::code::Code;
use crate::model::config::SlurmConfig;
use crate::model::contract::{Detail, Found, GuestError, StatusReport};
use crate::model::id::AttemptId;
use crate::model::inputs::Inputs;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The files of one backend cannot be used, of which the other backends know nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what} of backend `{backend}`")]
pub struct BackendTrouble {
    /// Its name.
    pub backend: String,
    /// What was being done.
    pub what: &'static str,
    /// Why it failed.
    #[source]
    pub error: Arc<io::Error>,
}

impl BackendTrouble {
    /// What failed, and why.
    pub fn told(&self) -> String {
        format!("{self} failed: {}", self.error)
    }
}

/// What happened since the last look.
#[derive(Debug, Default)]
pub struct Changes {
    /// Attempts whose job started or ended, each once.
    pub attempts: Vec<AttemptId>,
    /// There may be others, so that every live attempt is worth a question: the last look was too long ago.
    pub more: bool,
    /// Where the next look begins, by backend; to be kept with what was made of the changes.
    pub cursors: BTreeMap<String, String>,
    /// The backends that do not tell, because their files cannot be read.
    pub troubles: Vec<BackendTrouble>,
}

/// What local jobs inherit of the environment.
#[derive(Debug, Default)]
enum Inherited {
    /// What this process would hand down.
    #[default]
    OfThisProcess,
    Pinned(BTreeMap<String, String>),
    /// Nobody has said it for this machine.
    Unpinned,
}

/// The backends that the configuration of a run names.
#[derive(Debug)]
pub struct Backends {
    pub(super) run_directory: PathBuf,
    /// Names the run's directory on clusters.
    run_id: String,
    program: Option<PathBuf>,
    clock: Clock,
    /// What local jobs inherit, by name.
    environment: Inherited,
    local: BTreeMap<String, LocalBackend>,
    pub(super) slurm: BTreeMap<String, SlurmBackend>,
    /// Attempts that went without what they were to carry over, and that nobody has asked about yet.
    pub(super) bare: Mutex<BTreeSet<String>>,
}

impl Backends {
    /// The backends of the run in this directory; none yet.
    pub fn new(run_directory: &Path) -> Self {
        Self {
            run_directory: run_directory.to_owned(),
            run_id: run_directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            program: None,
            clock: Clock::default(),
            environment: Inherited::default(),
            local: BTreeMap::new(),
            slurm: BTreeMap::new(),
            bare: Mutex::default(),
        }
    }

    /// Names the `matterstack` binary that supervises local jobs; without it, the running program.
    pub fn set_program(&mut self, program: &Path) {
        self.program = Some(program.to_owned());
    }

    /// Gives the clock by which clusters are asked; before backends are added.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// Gives the run's id, which stays the same when its directory is renamed; before backends are added.
    pub fn set_run_id(&mut self, id: &str) {
        id.clone_into(&mut self.run_id);
    }

    /// Gives what local jobs inherit of the environment; before backends are added.
    pub fn set_environment(&mut self, variables: BTreeMap<String, String>) {
        self.environment = Inherited::Pinned(variables);
    }

    /// Says that nothing is pinned here of what local jobs inherit, so that none is handed in; before backends are
    /// added.
    pub fn set_unpinned(&mut self) {
        self.environment = Inherited::Unpinned;
    }

    /// Adds a backend that runs jobs on this machine.
    pub fn add_local(&mut self, name: &str, settings: LocalSettings) {
        let environment = match &self.environment {
            Inherited::OfThisProcess => Some(inherited(&[])),
            Inherited::Pinned(variables) => Some(variables.clone()),
            Inherited::Unpinned => None,
        };
        self.local.insert(name.to_owned(), LocalBackend::new(&self.run_directory, name, settings, environment));
    }

    /// Adds a backend that hands jobs to a Slurm cluster.
    pub fn add_slurm(&mut self, name: &str, settings: SlurmConfig) {
        let transport: Arc<dyn Transport> = match &settings.ssh {
            None => Arc::new(Here),
            Some(ssh) => match Ssh::new(&ssh.host, ssh.config.as_deref().map(Path::new)) {
                Ok(ssh) => Arc::new(ssh),
                // a run whose cluster cannot be reached can still be looked at, and its other backends go on
                Err(trouble) => Arc::new(NoWay(format!("{}; {}", trouble.what, trouble.remedy))),
            },
        };
        let shared = self.slurm.values().find(|other| other.goes_where(&settings)).map(|other| other.queue().clone());
        let way = Way { transport, queue: shared.unwrap_or_default(), clock: self.clock.clone() };
        let backend = SlurmBackend::new(&self.run_directory, &self.run_id, name, settings, way);
        self.slurm.insert(name.to_owned(), backend);
    }

    /// The script that a job (JSON text) would get on a backend that writes one; `attempt` stands for its id.
    pub fn preview(&self, backend: &str, attempt: &str, job: &str) -> Option<Result<String, GuestError>> {
        match self.local.get(backend) {
            Some(local) => local.preview(job),
            None => self.slurm.get(backend).map(|slurm| slurm.preview(attempt, job)),
        }
    }

    /// How many submits are worth collecting before [`Backends::sync`]: a cluster takes an array at the price of a job.
    pub fn batch_size(&self) -> u64 {
        if self.slurm.is_empty() { 256 } else { 1024 }
    }

    /// Tells whose jobs started or ended since `cursors`; costs what changed. Asks clusters, those that may be asked
    /// again. A cluster that does not answer is no trouble.
    pub fn changes(&self, cursors: &BTreeMap<String, String>) -> Changes {
        let mut changes = self.local_changes(cursors);
        for (name, backend) in &self.slurm {
            match backend.changes(cursors.get(name).map(String::as_str)) {
                Ok((attempts, cursor)) => {
                    changes.attempts.extend(attempts);
                    changes.cursors.extend(cursor.map(|cursor| (name.clone(), cursor)));
                }
                Err(error) => changes.troubles.push(trouble(name, READING, error)),
            }
        }
        changes
    }

    /// Hands on what was learnt while asking: jobs that clusters are to stop. Returns the backends whose memory cannot
    /// be written.
    pub fn flush(&self) -> Vec<BackendTrouble> {
        self.slurm.iter().filter_map(|(name, backend)| Some(trouble(name, WRITING, backend.flush().err()?))).collect()
    }

    /// When a cluster is to be asked for its queue, if there is anything to ask for. One whose memory cannot be read is
    /// left to the next tick, which says so.
    pub fn poll_after(&self) -> Option<Duration> {
        self.slurm.values().filter_map(|backend| backend.poll_after().ok()?).min()
    }

    /// Like [`Backends::changes`], of what this machine knows by itself: asks no cluster and needs no lease.
    pub fn local_changes(&self, cursors: &BTreeMap<String, String>) -> Changes {
        let mut changes = Changes::default();
        for (name, backend) in &self.local {
            match backend.changes(cursors.get(name).map(String::as_str)) {
                Ok(local) => {
                    changes.attempts.extend(local.attempts);
                    changes.more |= local.more;
                    changes.cursors.extend(local.cursor.map(|cursor| (name.clone(), cursor)));
                }
                Err(error) => changes.troubles.push(trouble(name, READING, error)),
            }
        }
        changes
    }

    /// Hands the jobs submitted so far to where they are to run, durably. Until then they are remembered in this
    /// process only, so a tick calls it before it commits `submitted`. Tells which were not acknowledged, and the
    /// backends whose files cannot be written: of the jobs of those nothing is known, and [`Compute::find`] tells a
    /// process that begins anew.
    pub fn sync(&self) -> (Unacknowledged, Vec<BackendTrouble>) {
        let (mut unacknowledged, mut troubles) = (Unacknowledged::new(), self.sync_local());
        for (name, backend) in &self.slurm {
            match backend.sync() {
                Ok(mut refused) => unacknowledged.append(&mut refused),
                Err(error) => troubles.push(trouble(name, WRITING, error)),
            }
        }
        (unacknowledged, troubles)
    }

    /// How long submits have waited, since this was asked last, for what clusters tell of themselves: every further
    /// submit has the use of that.
    pub fn take_waited(&self) -> Duration {
        Duration::from_millis(self.slurm.values().map(SlurmBackend::take_waited_ms).sum())
    }

    /// Makes durable what the queues on this machine were told. Returns the backends whose queue cannot be written.
    pub fn sync_local(&self) -> Vec<BackendTrouble> {
        self.local.iter().filter_map(|(name, backend)| Some(trouble(name, WRITING, backend.sync().err()?))).collect()
    }

    /// Lets exit records of local jobs count where no journal tells: for a person who takes over a copy.
    pub fn believe_exit_records(&self) {
        self.local.values().for_each(LocalBackend::believe_exit_records);
    }

    /// Whether jobs may run on this machine, under a supervisor.
    pub fn has_local(&self) -> bool {
        !self.local.is_empty()
    }

    /// How long every core of this machine is busy at least, with what this process has handed in.
    pub fn busy_for(&self) -> Duration {
        self.local.values().map(LocalBackend::busy_for).min().unwrap_or_default()
    }

    /// Sees to it that unsettled work has a supervisor. With `anything_live` the files are looked at even if this
    /// process has submitted nothing. Returns the backends that need one which cannot be started.
    pub fn ensure(&self, anything_live: bool) -> Vec<BackendTrouble> {
        let program = match &self.program {
            Some(program) => program.clone(),
            None => crate::ground::machine::own_program().to_owned(),
        };
        let ensured = |backend: &LocalBackend| backend.ensure(&program, anything_live).err();
        let troubled =
            |(name, backend): (&String, _)| Some(trouble(name, "starting the supervisor", ensured(backend)?));
        self.local.iter().filter_map(troubled).collect()
    }

    /// Files that are written when jobs start or end: a `loop` watches them. They exist afterwards.
    ///
    /// # Errors
    /// If one cannot be created.
    pub fn watch_paths(&self) -> io::Result<Vec<PathBuf>> {
        self.local.values().map(LocalBackend::watch_path).collect()
    }

    fn get(&self, backend: &str) -> Result<Backend<'_>, GuestError> {
        let local = self.local.get(backend).map(Backend::Local);
        local.or_else(|| self.slurm.get(backend).map(Backend::Slurm)).ok_or_else(|| {
            GuestError::Denied(Detail::of(Code::UnknownBackend, format!("no backend is configured as `{backend}`")))
        })
    }
}

/// What is being done with the files of a backend.
const READING: &str = "reading the files";
const WRITING: &str = "writing the files";

fn trouble(backend: &str, what: &'static str, error: io::Error) -> BackendTrouble {
    BackendTrouble { backend: backend.to_owned(), what, error: Arc::new(error) }
}

enum Backend<'a> {
    Local(&'a LocalBackend),
    Slurm(&'a SlurmBackend),
}

impl Compute for Backends {
    fn submit(&self, backend: &str, key: JobKey<'_>, job: &str, inputs: &Inputs) -> Result<String, GuestError> {
        let to = self.get(backend)?;
        let errand = self.bring_inputs(backend, key.attempt_id.as_str(), key.directory, inputs)?;
        match to {
            Backend::Local(local) => local.submit(key, job),
            Backend::Slurm(slurm) => slurm.submit(key, job, errand),
        }
    }

    fn find(&self, backend: &str, key: JobKey<'_>) -> Result<Found, GuestError> {
        match self.get(backend)? {
            Backend::Local(local) => local.find(key),
            Backend::Slurm(slurm) => slurm.find(key),
        }
    }

    fn status(&self, backend: &str, key: JobKey<'_>, handle: &str) -> Result<StatusReport, GuestError> {
        match self.get(backend)? {
            Backend::Local(local) => local.status(key, handle),
            Backend::Slurm(slurm) => slurm.status(key, handle),
        }
    }

    fn collect(&self, backend: &str, key: JobKey<'_>, handle: &str) -> Result<String, GuestError> {
        match self.get(backend)? {
            Backend::Local(local) => local.collect(key, handle),
            Backend::Slurm(slurm) => slurm.collect(key, handle),
        }
    }

    fn cancel(&self, backend: &str, key: JobKey<'_>, handle: &str) -> Result<(), GuestError> {
        match self.get(backend)? {
            Backend::Local(local) => local.cancel(key, handle),
            Backend::Slurm(slurm) => slurm.cancel(key, handle),
        }
    }
}
