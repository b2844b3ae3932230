//! The life of an attempt within a tick: started, watched, stopped, collected. Each step commits its intent before the
//! effect and its record after it, so that a crash leaves what the next tick finds and goes on with.
pub(super) mod again;
pub(super) mod carry;
pub(super) mod collect;
pub(super) mod consumed;
pub(super) mod gather;
pub(super) mod handover;
pub(super) mod inputs;
pub(super) mod job_end;
pub(super) mod poll;
pub(super) mod reconcile;
pub(super) mod reuse;
pub(super) mod stage;
pub(super) mod start;
pub(super) mod stop;
pub(super) mod submit;
pub(super) mod verdict;
pub(super) mod walk;
