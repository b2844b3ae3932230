//! The tick, with scripted plugins on real store files that each tick opens anew.
mod life;
mod scripted;
mod simulation;
mod trouble;
