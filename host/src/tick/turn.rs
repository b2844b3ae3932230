//! How long a tick may take, and whose turn it is where one was cut short: then no operator and no kind of work waits
//! for more than the one call that each of the others has under way. Where a crash keeps a tick from leaving a turn,
//! that of the tick before holds, and no work is lost by it.
use super::{Moment, Run, Tick, TickError};
use crate::store::{Durability, Waiting};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long a tick goes on beginning something.
pub const BUDGET: Duration = Duration::from_secs(2);
/// What documents a tick holds before it commits what it learnt and drops them, in bytes.
pub(super) const HELD_MAX_BYTES: u64 = 16 * 1024 * 1024;
/// What a tick learns before it commits that.
pub(super) const HELD_MAX: usize = 500;

/// The parts of a tick that call plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Asks what became of submits whose answer was lost.
    Reconcile,
    /// Tells the outside to stop what is not wanted.
    Stop,
    /// Asks about live attempts.
    Poll,
    /// Starts what is ready, and asks the campaign.
    Advance,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Reconcile, Self::Stop, Self::Poll, Self::Advance];

    /// The parts of a tick, beginning with this one.
    pub(super) fn round_from(self) -> impl Iterator<Item = Self> {
        let first = Self::ALL.iter().position(|phase| *phase == self).unwrap_or(0);
        (0..Self::ALL.len()).map(move |n| Self::ALL[(first + n) % Self::ALL.len()])
    }

    fn next(self) -> Self {
        self.round_from().nth(1).unwrap_or(self)
    }
}

/// Whose turn it is, as one tick that was cut short leaves it to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Turn {
    /// The part to begin with.
    first: Option<Phase>,
    /// The operator that was served last in each part.
    served: BTreeMap<Phase, String>,
}

impl Turn {
    /// Reads what the last tick left.
    pub(super) fn read(run: &Run) -> Result<Self, TickError> {
        // A turn that cannot be read is nobody's, and the round begins anew.
        Ok(run.store.turn()?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// The parts of this tick, in their order.
    pub(super) fn phases(&self) -> Vec<Phase> {
        self.first.unwrap_or(Phase::Reconcile).round_from().collect()
    }

    /// The operator that was served last in a part.
    pub(super) fn served(&self, phase: Phase) -> Option<&str> {
        self.served.get(&phase).map(String::as_str)
    }

    /// Leaves to the next tick what this one did: where it was cut short, or that it was not.
    pub(super) fn leave(mut self, run: &mut Run, tick: &Tick) -> Result<(), TickError> {
        let before = self.clone();
        match &tick.cut {
            None => self = Self::default(),
            // a part in which nobody was served has its turn still
            Some(Cut { phase, served: None }) => self.first = Some(*phase),
            Some(Cut { phase, served: Some(operator) }) => {
                self.first = Some(phase.next());
                self.served.insert(*phase, operator.clone());
            }
        }
        if self != before {
            let text = |turn: &Self| {
                serde_json::to_string(turn).unwrap_or_else(|error| panic!("bug: a turn has no JSON: {error}"))
            };
            let text = (self != Self::default()).then(|| text(&self));
            run.store.transaction(Durability::Lazy, |writer| writer.set_turn(text.as_deref()))?;
        }
        Ok(())
    }
}

/// Where a tick was cut short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(super) phase: Phase,
    /// The operator that was served last.
    pub(super) served: Option<String>,
}

impl Tick {
    /// Notes that time is up; the first place where it was counts.
    pub(super) fn cut_short(&mut self, phase: Phase, served: Option<String>) {
        self.cut.get_or_insert(Cut { phase, served });
    }
}

/// What is to be seen to in one part of a tick: of every operator one in turn, beginning after the one that was served
/// last.
#[derive(Debug)]
pub(super) struct Round {
    phase: Phase,
    queues: VecDeque<(String, VecDeque<Waiting>)>,
    served: Option<String>,
}

impl Round {
    pub(super) fn new(phase: Phase, turn: &Turn, waiting: impl IntoIterator<Item = Waiting>) -> Self {
        let mut by_operator: BTreeMap<String, VecDeque<Waiting>> = BTreeMap::new();
        for one in waiting {
            match by_operator.get_mut(&one.operator) {
                Some(queue) => queue.push_back(one),
                None => {
                    by_operator.insert(one.operator.clone(), VecDeque::from([one]));
                }
            }
        }
        let served = turn.served(phase);
        let after = |operator: &String| served.is_none_or(|served| operator.as_str() > served);
        let (first, last): (Vec<_>, Vec<_>) = by_operator.into_iter().partition(|(operator, _)| after(operator));
        Self { phase, queues: first.into_iter().chain(last).collect(), served: None }
    }

    /// The next of them, if there is one and time is left; where there is none left, the tick is cut short here.
    pub(super) fn next(&mut self, moment: Moment<'_>, tick: &mut Tick) -> Option<Waiting> {
        if self.queues.is_empty() {
            return None;
        }
        if moment.is_over(tick) {
            tick.cut_short(self.phase, self.served.take());
            return None;
        }
        let (operator, mut queue) = self.queues.pop_front()?;
        let one = queue.pop_front();
        if queue.is_empty() {
            self.served = Some(operator);
        } else {
            self.served = Some(operator.clone());
            self.queues.push_back((operator, queue));
        }
        one
    }

    /// Those that were not reached.
    pub(super) fn left(self) -> impl Iterator<Item = Waiting> {
        self.queues.into_iter().flat_map(|(_, queue)| queue)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, Phase, Round, Turn};
    use crate::model::id::AttemptId;
    use crate::store::Waiting;
    use crate::tick::{Moment, Tick};
    use std::cell::Cell;
    use std::time::Duration;

    fn waiting(operators: &[&str]) -> Vec<Waiting> {
        let of =
            |(key, operator): (usize, &&str)| Waiting { key: key as i64, operator: (*operator).to_owned(), seen_ms: 0 };
        operators.iter().enumerate().map(of).collect()
    }

    #[test]
    fn operators_take_turns_and_the_one_served_last_comes_last() {
        let (elapsed, new_id) = (Cell::new(Duration::ZERO), || AttemptId(String::new()));
        let spent = || elapsed.get();
        let moment = Moment { now_ms: 0, new_id: &new_id, spent: &spent, user_name: &|user| user.to_string() };
        let turn = Turn { first: None, served: [(Phase::Poll, "a".to_owned())].into() };
        let mut round = Round::new(Phase::Poll, &turn, waiting(&["a", "a", "a", "b", "c"]));
        let mut tick = Tick::default();
        let mut order = String::new();
        for _ in 0..4 {
            order += &round.next(moment, &mut tick).expect("time is left").operator;
        }
        assert_eq!((order.as_str(), tick.cut.clone()), ("bcaa", None));
        elapsed.set(super::BUDGET);
        assert!(round.next(moment, &mut tick).is_none());
        assert_eq!(tick.cut, Some(Cut { phase: Phase::Poll, served: Some("a".to_owned()) }));
        assert_eq!(round.left().count(), 1);
    }

    #[test]
    fn every_part_of_a_tick_has_its_turn() {
        assert_eq!(Phase::Advance.next(), Phase::Reconcile);
        for first in Phase::ALL {
            let mut round: Vec<Phase> = first.round_from().collect();
            assert_eq!(round[0], first);
            round.sort();
            assert_eq!(round, Phase::ALL);
        }
    }
}
