//! The two objectives, what dominates what, and the hypervolume that measures progress.
use serde::{Deserialize, Serialize};

/// The range of the friction coefficient.
pub const FRICTION: (f64, f64) = (0.01, 0.5);
/// The range of the dissolution rate, in nm/h.
pub const DISSOLUTION: (f64, f64) = (0.1, 10.0);

/// Both measured objectives of a candidate, the smaller the better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Objectives {
    /// Friction coefficient, without unit.
    pub friction: f64,
    /// Dissolution rate, in nm/h.
    pub dissolution: f64,
}

/// Objectives scaled so that 0 is the best and 1 the worst value of their range: friction linearly, the dissolution
/// rate, which spans two decades, by its logarithm.
pub type Scaled = [f64; 2];

impl Objectives {
    /// Scales both into 0 to 1.
    pub fn scaled(&self) -> Scaled {
        let logarithm = (self.dissolution / DISSOLUTION.0).ln() / (DISSOLUTION.1 / DISSOLUTION.0).ln();
        [(self.friction - FRICTION.0) / (FRICTION.1 - FRICTION.0), logarithm]
    }
}

/// Tells whether `a` is nowhere worse and somewhere better than `b` (Pareto dominance).
pub fn dominates(a: &Scaled, b: &Scaled) -> bool {
    a[0] <= b[0] && a[1] <= b[1] && a != b
}

/// The points that no other dominates, by rising first objective; of equal points one stays.
pub fn front(points: &[Scaled]) -> Vec<Scaled> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let mut lowest = f64::INFINITY;
    sorted.retain(|point| {
        let better = point[1] < lowest;
        lowest = lowest.min(point[1]);
        better
    });
    sorted
}

/// The share of the unit box that at least one point dominates, with the worst corner (1, 1) as the reference: the
/// hypervolume indicator (Zitzler and Thiele, Multiobjective evolutionary algorithms, IEEE Trans. Evol. Comput. 3,
/// 1999). Points outside the box count up to its border.
pub fn hypervolume(points: &[Scaled]) -> f64 {
    let inside: Vec<Scaled> = points.iter().map(|point| point.map(|value| value.clamp(0.0, 1.0))).collect();
    let mut ceiling = 1.0;
    let mut volume = 0.0;
    for [first, second] in front(&inside) {
        volume += (1.0 - first) * (ceiling - second);
        ceiling = second;
    }
    volume
}

/// The number of each point's front, from 1: the second front is the front of what the first leaves, and so on
/// (non-dominated sorting; Deb and others, NSGA-II, IEEE Trans. Evol. Comput. 6, 2002).
pub fn front_numbers(points: &[Scaled]) -> Vec<u32> {
    let mut numbers = vec![0; points.len()];
    let mut left: Vec<usize> = (0..points.len()).collect();
    let mut number = 0;
    while !left.is_empty() {
        number += 1;
        let free = |&index: &usize| !left.iter().any(|&other| dominates(&points[other], &points[index]));
        let (front, rest): (Vec<usize>, Vec<usize>) = left.iter().partition(|index| free(index));
        front.into_iter().for_each(|index| numbers[index] = number);
        left = rest;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use matterstack_sdk::Rng;

    #[test]
    fn the_ranges_scale_to_the_unit_box() {
        let near = |objectives: Objectives, expected: Scaled| {
            let scaled = objectives.scaled();
            assert!(scaled.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{scaled:?}");
        };
        near(Objectives { friction: 0.01, dissolution: 0.1 }, [0.0, 0.0]);
        near(Objectives { friction: 0.5, dissolution: 10.0 }, [1.0, 1.0]);
        near(Objectives { friction: 0.255, dissolution: 1.0 }, [0.5, 0.5]);
    }

    #[test]
    fn volumes_known_by_hand() {
        let check = |points: &[Scaled], expected: f64| {
            let volume = hypervolume(points);
            assert!((volume - expected).abs() < 1e-12, "{points:?}: {volume}");
        };
        check(&[], 0.0);
        check(&[[0.0, 0.0]], 1.0);
        check(&[[0.5, 0.5]], 0.25);
        check(&[[1.0, 0.0], [0.0, 1.0]], 0.0);
        check(&[[0.25, 0.75], [0.75, 0.25]], 0.3125);
        // dominated, equal and outside points add nothing
        check(&[[0.25, 0.75], [0.75, 0.25], [0.8, 0.8], [0.25, 0.75], [1.5, 0.1]], 0.3125);
        check(&[[-0.5, 0.5]], 0.5);
    }

    #[test]
    fn the_volume_is_what_sampling_finds() {
        let mut rng = Rng::new(11, 1);
        let points: Vec<Scaled> = (0..12).map(|_| [rng.uniform(), rng.uniform()]).collect();
        let samples = 200_000;
        let dominated = (0..samples)
            .filter(|_| {
                let sample = [rng.uniform(), rng.uniform()];
                points.iter().any(|point| dominates(point, &sample))
            })
            .count();
        assert!((hypervolume(&points) - dominated as f64 / f64::from(samples)).abs() < 0.005);
    }

    #[test]
    fn fronts_are_peeled_off_in_order() {
        let points = [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1], [0.6, 0.6], [0.7, 0.7], [0.5, 0.5]];
        assert_eq!(front_numbers(&points), [1, 1, 1, 2, 3, 1]);
        assert_eq!(front(&points), [[0.1, 0.9], [0.5, 0.5], [0.9, 0.1]]);
    }
}
