//! The life of an attempt within a tick: started, watched, stopped, collected. Each step commits its intent before the
//! effect and its record after it, so that a crash leaves what the next tick finds and goes on with.
pub(super) mod again;
pub(super) mod carry;
pub(super) mod collect;
pub(super) mod consumed;
pub(super) mod digests;
pub(super) mod folders;
pub(super) mod gate;
pub(super) mod gather;
pub(super) mod handover;
pub(super) mod inputs;
pub(super) mod job_end;
pub(super) mod poll;
pub(super) mod reconcile;
pub(super) mod reuse;
pub(super) mod rules;
pub(super) mod stage;
pub(super) mod start;
pub(super) mod stop;
pub(super) mod submit;
pub(super) mod verdict;
pub(super) mod walk;

/// When to ask again where an operator gives no hint, in milliseconds: at the next tick.
pub(in crate::tick) const NEXT_TICK_MS: u64 = 0;
/// When to ask again after the outside did not answer, in milliseconds.
pub(in crate::tick) const UNAVAILABLE_MS: u64 = 5_000;
/// When to try again what waits for a plugin that could not be loaded, in milliseconds.
pub(in crate::tick) const UNLOADED_MS: i64 = 1_000;
