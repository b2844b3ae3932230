//! How many tasks of which operator may start: pure rules over counts. Which tasks those are, and whether it is time to
//! start any, is decided elsewhere.
use std::cmp::Reverse;
use std::collections::BinaryHeap;

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

/// What an operator could start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Its live attempts.
    pub live: u64,
    /// How many more it could have.
    pub wanted: u64,
}

/// How operators share the room that there is: each place goes to the one that has the fewest live attempts.
pub fn shares(room: u64, claims: &[Claim]) -> Vec<u64> {
    let mut shares = vec![0; claims.len()];
    let mut queue: BinaryHeap<Reverse<(u64, usize)>> = claims
        .iter()
        .enumerate()
        .filter(|(_, claim)| claim.wanted > 0)
        .map(|(n, claim)| Reverse((claim.live, n)))
        .collect();
    let mut left = room;
    while left > 0
        && let Some(Reverse((live, n))) = queue.pop()
    {
        // alone, it gets what it wants at once
        let given = if queue.is_empty() { (claims[n].wanted - shares[n]).min(left) } else { 1 };
        shares[n] += given;
        left -= given;
        if shares[n] < claims[n].wanted {
            queue.push(Reverse((live.saturating_add(given), n)));
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::{Capacity, Claim, room, shares};

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

    #[test]
    fn operators_share_the_room_whatever_their_names() {
        type Case<'a> = (u64, &'a [(u64, u64)], &'a [u64]);
        let cases: [Case<'_>; 7] = [
            (10, &[(0, 100), (0, 100)], &[5, 5]),
            (10, &[(0, 2), (0, 100)], &[2, 8]),
            (10, &[(8, 100), (0, 100)], &[1, 9]),
            (1, &[(499, 100), (0, 1)], &[0, 1]),
            (0, &[(0, 1)], &[0]),
            (u64::MAX, &[(0, 3), (0, 4)], &[3, 4]),
            (7, &[(0, 0), (3, 9), (0, 9)], &[0, 2, 5]),
        ];
        for (room, claims, expected) in cases {
            let claims: Vec<Claim> = claims.iter().map(|&(live, wanted)| Claim { live, wanted }).collect();
            assert_eq!(shares(room, &claims), expected, "{room} {claims:?}");
        }
    }
}
