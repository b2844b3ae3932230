//! How long the parts of a tick took. They are in memory alone.
use super::decide::Move;
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

    /// Notes how long a move took; of looking outside, the parts are noted by themselves.
    pub(super) fn add(&mut self, made: Move, took: Duration) {
        match made {
            Move::Start => self.start += took,
            Move::Analyze | Move::Plan => self.decide += took,
            Move::Look | Move::Cancel | Move::Hold(_) | Move::Rest => {}
        }
    }

    /// Notes how long a part took that looks outside; in the other, each move is noted.
    pub(super) fn add_part(&mut self, phase: Phase, took: Duration) {
        match phase {
            Phase::Reconcile => self.reconcile += took,
            Phase::Stop => self.stop += took,
            Phase::Poll => self.poll += took,
            Phase::Advance => {}
        }
    }
}

/// Milliseconds with three decimals.
fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_micros() as f64 / 1000.0)
}
