//! What the campaign is asked and what becomes of its answers: a decision is recorded whole, with what it was given, in
//! the transaction that does what it says. A crash before that leaves the question open.
pub(super) mod ask;
pub(super) mod close;
pub(super) mod decision;
pub(super) mod follow;
pub(super) mod proposal;

use super::TickError;
use crate::model::workflow::WorkflowError;
use crate::plugin::PluginError;
use crate::store::StoreError;

/// Why a plan was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The campaign could not answer.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// It answered with something the contract does not allow.
    #[error("plan: {0}")]
    Workflow(WorkflowError),
    /// The store or the machine failed.
    #[error(transparent)]
    Tick(#[from] TickError),
}

impl From<WorkflowError> for PlanError {
    fn from(error: WorkflowError) -> Self {
        Self::Workflow(error)
    }
}

impl From<StoreError> for PlanError {
    fn from(error: StoreError) -> Self {
        Self::Tick(error.into())
    }
}
