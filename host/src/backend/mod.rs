//! Compute systems that the host owns. Operators reach them only through the `compute` import.
use crate::model::config::{BackendConfig, RunConfig};
use std::path::Path;

mod check;
mod clean;
mod clock;
mod compute;
mod exit;
mod job;
mod kept;
pub mod local;
mod news;
mod program;
mod registry;
mod setup;
pub mod slurm;
pub mod staging;
pub mod transport;

pub use check::{Check, Step, check};
pub use clean::{CleanError, Cleaned, Left};
pub use clock::Clock;
pub use compute::{Compute, JobKey, Unacknowledged};
pub use kept::{LeftThere, RanAt};
pub use local::{Apart, Carried, Reckoned, run_apart};
pub use local::{Held, PoolLook, StoppedSupervisor, StrandedSupervisor, Stranding, look_at_pool, stranded_supervisors};
pub use news::{CARRY, carry_news, send_news};
pub use program::{Ended, run_in, sign_with_ssh, start_and_wait};
pub use registry::{BackendTrouble, Backends, Changes};

/// Looks for supervisors of a run on this machine that somebody stopped. Changes nothing.
pub fn stopped_supervisors(run: &Path, config: &RunConfig) -> Vec<StoppedSupervisor> {
    let locals = config.backends.iter().filter(|(_, backend)| matches!(backend, BackendConfig::Local(_)));
    locals.filter_map(|(name, _)| local::stopped_supervisor(run, name)).collect()
}
