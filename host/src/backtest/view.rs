//! The tasks that are open in a virtual run, of which its campaign is told.
use crate::run::OpenTasks;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The tasks that have not ended.
#[derive(Debug, Default)]
pub(super) struct Open(Mutex<BTreeSet<String>>);

impl Open {
    pub(super) fn all(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenTasks for Open {
    fn behind(&self, after: Option<&str>, max: u32) -> Vec<String> {
        let open = self.all();
        let behind = open.iter().filter(|id| after.is_none_or(|after| id.as_str() > after));
        behind.take(max as usize).cloned().collect()
    }
}
