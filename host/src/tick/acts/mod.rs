//! What people do to a run between its ticks. Each act is one transaction, recorded with who and why: a crash leaves
//! either all of it or nothing.
pub(super) mod adopt;
pub(super) mod amend;
pub(super) mod control;
pub(super) mod mend;
pub(super) mod rerun;
pub(super) mod settlement;
pub(super) mod tell;
