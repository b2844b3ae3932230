//! How long the parts of a tick took.
use super::turn::Phase;
use serde::{Serialize, Serializer};
use std::time::Duration;

/// How long each part of a tick took, or of several ticks together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// Opening the run: configuration, database, plugins.
    #[serde(serialize_with = "milliseconds", rename = "open_ms")]
    pub open: Duration,
    /// Asking what became of submits whose answer was lost; documents have always called it `settle`.
    #[serde(serialize_with = "milliseconds", rename = "settle_ms")]
    pub reconcile: Duration,
    /// Telling the outside to stop what is not wanted.
    #[serde(serialize_with = "milliseconds", rename = "stop_ms")]
    pub stop: Duration,
    /// Asking about live attempts, and collecting what ended.
    #[serde(serialize_with = "milliseconds", rename = "poll_ms")]
    pub poll: Duration,
    /// Staging, preparing and submitting what is ready.
    #[serde(serialize_with = "milliseconds", rename = "start_ms")]
    pub start: Duration,
    /// Asking the campaign, and storing what it planned.
    #[serde(serialize_with = "milliseconds", rename = "decide_ms")]
    pub decide: Duration,
}

impl Timings {
    /// The parts by name, in their order.
    pub fn parts(&self) -> [(&'static str, Duration); 6] {
        let Self { open, reconcile, stop, poll, start, decide } = *self;
        [("open", open), ("settle", reconcile), ("stop", stop), ("poll", poll), ("start", start), ("decide", decide)]
    }

    /// Adds those of another tick.
    pub fn plus(self, other: Self) -> Self {
        Self {
            open: self.open + other.open,
            reconcile: self.reconcile + other.reconcile,
            stop: self.stop + other.stop,
            poll: self.poll + other.poll,
            start: self.start + other.start,
            decide: self.decide + other.decide,
        }
    }

    /// Notes how long a part took. What it decided in between has been noted by then, and is no part of it.
    pub(super) fn add(&mut self, phase: Phase, took: Duration) {
        match phase {
            Phase::Reconcile => self.reconcile += took,
            Phase::Stop => self.stop += took,
            Phase::Poll => self.poll += took,
            Phase::Advance => self.start += took.saturating_sub(self.decide),
        }
    }
}

/// Milliseconds with three decimals.
fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_micros() as f64 / 1000.0)
}
