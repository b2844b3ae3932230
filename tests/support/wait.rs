//! Waiting for what has to come, without a guess at how long that takes.
use std::time::{Duration, Instant};

/// How long something is waited for that takes no time of its own; only a test that fails waits so long.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// Waits until something is so, generously: tests run beside others on a busy machine.
#[track_caller]
pub(crate) fn until(what: &str, is_so: impl FnMut() -> bool) {
    until_within(LONG, what, is_so);
}

/// Waits until something is so that takes its time, or that must not.
#[track_caller]
pub(crate) fn until_within(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
