//! What people answer and what comes back from clusters that cannot be reached: it comes in as files and without the
//! lease.
pub mod answer;
pub mod approval;
pub mod kit;
