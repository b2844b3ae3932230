//! What every room stands on: words for shells and terminals, files that others may have touched, the machine,
//! failpoints, randomness. It knows nothing of runs.
pub mod carriage;
pub mod digest;
pub mod failpoint;
pub mod files;
pub mod machine;
pub mod names;
pub mod random;
pub mod secret;
pub mod share;
pub mod shelf;
pub mod threads;
pub mod words;
