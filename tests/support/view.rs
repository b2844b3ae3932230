//! A run as a campaign sees it, where a test asks the campaign itself.
use matterstack::model::contract::{Context, RunView};
use serde_json::Value;
use std::sync::Arc;

/// What a campaign is told of its run.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) params: String,
    pub(crate) inputs: String,
    pub(crate) supplied: Option<String>,
    /// The ids of open tasks, sorted.
    pub(crate) open: Vec<String>,
}

impl View {
    pub(crate) fn of(params: &Value) -> Self {
        Self { params: params.to_string(), inputs: "{}".to_owned(), supplied: None, open: Vec::new() }
    }
}

impl RunView for View {
    fn id(&self) -> &str {
        "run"
    }

    fn params(&self) -> Result<String, String> {
        Ok(self.params.clone())
    }

    fn inputs(&self) -> String {
        self.inputs.clone()
    }

    fn supplied(&self) -> Option<String> {
        self.supplied.clone()
    }

    fn open_tasks(&self, after: Option<&str>, max: u32) -> Result<Vec<String>, String> {
        let behind = self.open.iter().filter(|id| after.is_none_or(|after| id.as_str() > after));
        Ok(behind.take(max as usize).cloned().collect())
    }
}

/// The context of a campaign's first plan.
pub(crate) fn first_context(view: View, seed: u64) -> Context {
    Context {
        decision: 1,
        iteration: 1,
        now_ms: 1_700_000_000_123,
        seed,
        asked: vec!["first".to_owned()],
        open_tasks: view.open.len() as u64,
        run: Arc::new(view),
    }
}
