//! Jobs of a Slurm cluster: arrays of wrappers that claim attempts, one look at the queue for all of them.
//!
//! What a tick submits is collected and handed to `sbatch` by `SlurmBackend::sync`, one array for all jobs that need
//! the same. Before that the array's list of attempts is on the disk, and every attempt has a job script that names the
//! array and its index; so a crash leaves either nothing or something that can be looked up by name. What runs a
//! command is decided in the attempt directory alone: whoever makes `.claim` there. A job that the cluster lost,
//! started twice or finds again later cannot start a command that another one claimed, or that the host has fenced by
//! the same claim.
//!
//! Nothing here reads a clock of its own: the backend is given one.
mod accounts;
mod array;
mod claim;
mod commands;
mod doubt;
mod handle;
mod ledger;
mod poll;
mod rows;
mod script;
mod site;
mod state;
mod status;
mod submit;

pub use poll::SharedQueue;
pub use script::{TEMPLATE_VARIABLES, check_template};
pub(super) use site::{Errand, ran_behind};

use super::JobKey;
use super::clock::Clock;
use super::exit::read_exit;
use super::transport::Transport;
use crate::ground::random;
use crate::model::code::Code;
use crate::model::config::SlurmConfig;
use crate::model::contract::{Detail, GuestError};
use array::Arrays;
use handle::Handle;
use ledger::Ledger;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

fn fresh_name() -> io::Result<String> {
    Ok(array::name_of(&random::word::<16>()?))
}

/// One Slurm backend of one run, as ticks see it.
#[derive(Debug)]
pub struct SlurmBackend {
    /// The run; its attempts lie below it.
    run: PathBuf,
    run_id: String,
    settings: SlurmConfig,
    transport: Arc<dyn Transport>,
    queue: Arc<SharedQueue>,
    clock: Clock,
    memory: Mutex<Memory>,
}

/// What this process knows of the backend's jobs.
#[derive(Debug)]
struct Memory {
    ledger: Ledger,
    arrays: Arrays,
    /// Arrays that `sbatch` has not been told of.
    unsent: Vec<submit::Unsent>,
    /// Jobs that are to be stopped: array names and job ids.
    cancels: BTreeSet<(String, String)>,
    accounts: accounts::Accounts,
    far: site::Far,
    /// How long submits have waited for what the cluster tells of itself, in milliseconds.
    waited_ms: u64,
    /// The number of the last change that the tick had made something of when this process began to look.
    seen: u64,
}

/// What the backends of a run that go to the same cluster as the same user share.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) queue: Arc<SharedQueue>,
    pub(super) clock: Clock,
}

impl SlurmBackend {
    /// The backend `name` of the run with this directory and id, reached this way.
    pub(super) fn new(run: &Path, run_id: &str, name: &str, settings: SlurmConfig, way: Way) -> Self {
        let directory = run.join("backends").join(name);
        let memory = Memory {
            ledger: Ledger::new(directory.join("queue.jsonl")),
            arrays: Arrays::new(directory.join("arrays")),
            unsent: Vec::new(),
            cancels: BTreeSet::new(),
            accounts: accounts::Accounts::default(),
            far: site::Far::default(),
            waited_ms: 0,
            seen: 0,
        };
        let Way { transport, queue, clock } = way;
        let (run, run_id, memory) = (run.to_owned(), run_id.to_owned(), Mutex::new(memory));
        Self { run, run_id, settings, transport, queue, clock, memory }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The queue that it looks at.
    pub(super) fn queue(&self) -> &Arc<SharedQueue> {
        &self.queue
    }

    /// Whether another backend with these settings goes to the same cluster as the same user.
    pub(super) fn goes_where(&self, other: &SlurmConfig) -> bool {
        self.settings.ssh == other.ssh
    }

    /// The shortest time between two polls.
    pub(super) fn poll_interval(&self) -> Duration {
        Duration::from_secs_f64(self.settings.poll_interval_s)
    }

    /// How long something must be absent before it counts as absent, in milliseconds.
    fn grace_ms(&self) -> i64 {
        Duration::from_secs_f64(self.settings.grace_s).as_millis() as i64
    }

    pub(super) fn collect(&self, key: JobKey<'_>, handle: &str) -> Result<String, GuestError> {
        let mut memory = self.memory();
        let element = Handle::parse(handle)?.element_of(&mut memory, key)?;
        self.fetch_if_over(&mut memory, key, &element)?;
        if let Some(detail) = self.fetch_refusal(&memory, key.attempt_id.as_str()) {
            return Err(GuestError::Rejected(detail));
        }
        drop(memory);
        let record = read_exit(key.directory, key.attempt_id.as_str()).ok_or_else(|| {
            // the verdict has been given, and none will come any more
            GuestError::Other(Detail::of(Code::NoExitRecord, "the job has left no exit record"))
        })?;
        serde_json::to_string(&record).map_err(|error| unavailable(&error.into()))
    }
}

fn unavailable(error: &io::Error) -> GuestError {
    GuestError::transient(Code::SlurmBackend, format!("cannot use the files of the Slurm backend: {error}"))
}
