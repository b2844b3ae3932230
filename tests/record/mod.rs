//! The record of a run: that it holds all that decisions depended on and what they answered, so that each can be made
//! again by itself, whatever a person did to the run meanwhile.
mod acts;
mod backups;
mod environments;
mod golden;
pub(crate) mod histories;
mod inputs;
mod replays;
mod size;
mod ticking;
mod told;
