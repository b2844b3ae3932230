//! Which tasks may start: a pure rule over counts, and its reading from the store.
use super::{Run, TickError};

/// What bounds the attempts that are live at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Live attempts in the run.
    pub run_live: u64,
    /// `limits.max_active`.
    pub run_max: u64,
    /// Live attempts of the operator.
    pub operator_live: u64,
    /// `operators.<key>.max_active`, if set.
    pub operator_max: Option<u64>,
}

/// How many more attempts of an operator may be live.
pub fn room(capacity: Capacity) -> u64 {
    let run = capacity.run_max.saturating_sub(capacity.run_live);
    let operator = capacity.operator_max.map(|max| max.saturating_sub(capacity.operator_live));
    operator.map_or(run, |operator| operator.min(run))
}

/// How many more attempts of an operator may be live now, given those just chosen.
pub(super) fn room_now(run: &Run, operator: &str, run_live: u64) -> Result<u64, TickError> {
    Ok(room(Capacity {
        run_live,
        run_max: run.config.limits.max_active,
        operator_live: run.store.live_count(Some(operator))?,
        operator_max: run.config.operators.get(operator).and_then(|settings| settings.max_active),
    }))
}

/// Whether any task is ready, room or not.
pub(super) fn anything_ready(run: &Run) -> Result<bool, TickError> {
    for operator in run.config.operators.keys() {
        if !run.store.ready_tasks(operator, 1)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::{Capacity, room};

    #[test]
    fn room_is_what_every_bound_leaves() {
        let cases = [
            ((0, 500, 0, None), 500),
            ((499, 500, 0, None), 1),
            ((500, 500, 0, Some(10)), 0),
            ((5, 500, 5, Some(7)), 2),
            ((5, 500, 9, Some(7)), 0),
            ((600, 500, 0, None), 0),
        ];
        for ((run_live, run_max, operator_live, operator_max), expected) in cases {
            assert_eq!(room(Capacity { run_live, run_max, operator_live, operator_max }), expected);
        }
    }
}
