//! What a campaign may ask of a virtual run: about open tasks it is told what is open there.
use super::Ready;
use crate::model::contract::RunView;
use crate::run::CampaignView;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the campaign may ask of the virtual run.
#[derive(Debug)]
pub(super) struct View {
    view: CampaignView,
    open: Mutex<BTreeSet<String>>,
}

impl View {
    /// Of a virtual run with this id.
    pub(super) fn new(id: &str, ready: &Ready) -> Self {
        Self { view: CampaignView::new(id, &ready.dir, &ready.config, None), open: Mutex::default() }
    }

    /// The tasks that have not ended.
    pub(super) fn open(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunView for View {
    fn id(&self) -> &str {
        self.view.id()
    }

    fn params(&self) -> Result<String, String> {
        self.view.params()
    }

    fn inputs(&self) -> String {
        self.view.inputs()
    }

    fn supplied(&self) -> Option<String> {
        None
    }

    fn open_tasks(&self, after: Option<&str>, max: u32) -> Result<Vec<String>, String> {
        let open = self.open();
        let behind = open.iter().filter(|id| after.is_none_or(|after| id.as_str() > after));
        Ok(behind.take(max as usize).cloned().collect())
    }
}
