//! A run on disk: the paths in its directory, the lease, and all that a tick works with once it is opened.
mod approval;
mod dir;
mod lease;
mod outside;
mod signature;
mod ticked;
mod view;

pub use approval::{Approval, Expected, Word, known};
pub use dir::{MANIFEST, RunDir};
pub use lease::{Lease, LeaseError};
pub use outside::{outside_command, taking_command};
pub use signature::{ANSWER_MAX, Signature};
pub(crate) use signature::{
    SIGNATURE, SIGNATURE_MAX, set_aside_answer, sign_what_came_by_hand, signature_of_answer, was_set_aside,
};
pub use ticked::LastTick;
pub use view::{CampaignView, OpenTasks};

use crate::backend::Backends;
use crate::ground::files::read_regular;
use crate::model::config::RunConfig;
use crate::model::contract::AttemptRequest;
use crate::model::document::{canonical, sha256};
use crate::model::id::{AttemptId, RunId, TaskId};
use crate::plugin::Plugins;
use crate::store::{AttemptRow, NewEnvironment, Store};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use view::Params;

/// An opened run: everything a tick works with.
pub struct Run {
    /// Where it lies.
    pub dir: RunDir,
    /// Its resolved configuration.
    pub config: RunConfig,
    /// Its store.
    pub store: Store,
    /// Its plugins.
    pub plugins: Rc<dyn Plugins>,
    /// The compute systems its operators may be granted.
    pub backends: Arc<Backends>,
    /// The machine on which it is open.
    pub machine: Machine,
}

/// What a run may know of the machine on which it is open.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its name.
    pub host: String,
    /// The architecture of its processors.
    pub architecture: &'static str,
    /// The name of a user, by number.
    pub user_name: fn(u32) -> String,
    /// What local jobs have there; none as long as nobody has pinned it.
    pub pinned: Option<NewEnvironment>,
}

impl Run {
    /// `campaign.params` as canonical text.
    ///
    /// # Errors
    /// If the file that holds them cannot be read, or is not the one that was pinned.
    pub fn params(&self) -> io::Result<String> {
        read_params(&self.dir, &Params::of(&self.config))
    }

    /// What an operator is told about an attempt at a task, which is given by its text.
    pub(crate) fn request(&self, attempt: &AttemptRow, task: String) -> AttemptRequest {
        let config = self.config.operators.get(&attempt.operator).map(|operator| operator.config.to_string());
        AttemptRequest {
            run_id: RunId(self.dir.id()),
            attempt_id: AttemptId(attempt.id.clone()),
            task_id: TaskId(attempt.task_id.clone()),
            number: attempt.number,
            task,
            prepared: attempt.prepared.clone(),
            handle: attempt.handle.clone(),
            note: attempt.note.clone(),
            config: config.unwrap_or_else(|| "{}".to_owned()),
            directory: self.dir.join(&attempt.directory),
            inputs: Arc::default(),
            cancelled: attempt.cancel.is_wanted(),
        }
    }
}

/// `campaign.params` of a run's configuration as canonical text, from the file they were pinned as where they are
/// large.
///
/// # Errors
/// If that file cannot be read, or is not the one that was pinned.
fn read_params(dir: &RunDir, params: &Params) -> io::Result<String> {
    let pinned = match params {
        Params::Inline(value) => return canonical(&value.to_string()).map_err(io::Error::other),
        Params::Pinned(file) => file,
    };
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("`{}` {what}", pinned.path));
    let bytes = read_regular(&dir.join(&pinned.path), pinned.size)?.ok_or_else(|| wrong("is missing"))?;
    if sha256(&bytes) != pinned.sha256 {
        return Err(wrong("was changed after it was pinned"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8"))
}
