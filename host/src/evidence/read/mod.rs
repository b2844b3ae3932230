//! Reading a bundle of evidence, which may come from anywhere: opening it, looking whether it is what it was, and who
//! signed it.
mod archive;
mod contents;
mod manifest;
mod open;
mod sign;
mod signature;
mod study;
mod verify;

pub(super) use manifest::SIGNATURE;
pub use open::Opened;
pub use sign::{SignedBundle, sign};
pub use signature::Signed;
pub use verify::{Verification, VerifiedRun, VerifiedStudy, What, Wrong, verify};
