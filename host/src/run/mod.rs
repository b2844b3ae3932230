//! A run on disk: the paths in its directory, the lease, and all that a tick works with once it is opened.
mod dir;
mod lease;
mod signature;
mod ticked;

pub use dir::RunDir;
pub use lease::{Lease, LeaseError};
pub use signature::{ANSWER_MAX, Signature};
pub(crate) use signature::{SIGNATURE, sign_what_came_by_hand, signature_of_answer};
pub use ticked::LastTick;

use crate::backend::Backends;
use crate::model::config::RunConfig;
use crate::plugin::Plugins;
use crate::store::Store;
use std::rc::Rc;
use std::sync::Arc;

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
}
