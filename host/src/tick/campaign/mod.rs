//! What the campaign is asked and what becomes of its answers: a decision is recorded whole, with what it was given, in
//! the transaction that does what it says. A crash before that leaves the question open.
pub(super) mod ask;
pub(super) mod close;
pub(super) mod decision;
pub(super) mod follow;
