//! What a campaign may ask of its run in a decision. It reads, and only what it is asked for.
use super::{RunDir, read_params};
use crate::model::config::{PinnedFile, RunConfig};
use crate::model::contract::RunView;
use crate::model::document::canonical_own;
use crate::store::{Store, StoreError};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Who tells which tasks are open, in place of the run's store.
pub trait OpenTasks: std::fmt::Debug + Send + Sync {
    /// As [`RunView::open_tasks`].
    fn behind(&self, after: Option<&str>, max: u32) -> Vec<String>;
}

/// What the campaign of a run may ask of it.
#[derive(Debug)]
pub struct CampaignView {
    id: String,
    dir: RunDir,
    params: Params,
    inputs: BTreeMap<String, PinnedFile>,
    supplied: Option<String>,
    store: Mutex<Option<Store>>,
    told: Option<Arc<dyn OpenTasks>>,
}

/// Where `campaign.params` are.
#[derive(Debug, Clone)]
pub(super) enum Params {
    /// In the configuration.
    Inline(Value),
    /// In a file of their own.
    Pinned(PinnedFile),
}

impl Params {
    pub(super) fn of(config: &RunConfig) -> Self {
        match config.pinned.as_ref().and_then(|pinned| pinned.params.as_ref()) {
            Some(file) => Self::Pinned(file.clone()),
            None => Self::Inline(config.campaign.params.clone()),
        }
    }
}

impl CampaignView {
    /// Of the run `id` in a directory, under a configuration, with what a person supplied (canonical JSON).
    pub fn new(id: &str, dir: &RunDir, config: &RunConfig, supplied: Option<String>) -> Self {
        let inputs = config.pinned.as_ref().map(|pinned| pinned.inputs.clone()).unwrap_or_default();
        let (id, dir) = (id.to_owned(), dir.clone());
        Self { id, dir, params: Params::of(config), inputs, supplied, store: Mutex::default(), told: None }
    }

    /// One to whom this tells which tasks are open.
    #[must_use]
    pub fn told_by(self, told: Arc<dyn OpenTasks>) -> Self {
        Self { told: Some(told), ..self }
    }
}

fn told(error: StoreError) -> String {
    format!("the run's open tasks cannot be read: {error}")
}

impl RunView for CampaignView {
    fn id(&self) -> &str {
        &self.id
    }

    fn params(&self) -> Result<String, String> {
        read_params(&self.dir, &self.params).map_err(|error| format!("campaign.params cannot be read: {error}"))
    }

    fn inputs(&self) -> String {
        let of = |file: &PinnedFile| json!({"sha256": file.sha256, "size": file.size});
        let inputs: serde_json::Map<String, Value> =
            self.inputs.iter().map(|(name, file)| (name.clone(), of(file))).collect();
        canonical_own(&inputs)
    }

    fn supplied(&self) -> Option<String> {
        self.supplied.clone()
    }

    fn open_tasks(&self, after: Option<&str>, max: u32) -> Result<Vec<String>, String> {
        if let Some(told) = &self.told {
            return Ok(told.behind(after, max));
        }
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match store.take() {
            Some(open) => open,
            None => Store::read(&self.dir.database()).map_err(told)?,
        };
        store.insert(open).open_task_ids(after, max).map_err(told)
    }
}
