//! What a candidate is worth before it is simulated: the expected hypervolume improvement.
use crate::objectives::Scaled;
use std::f64::consts::{PI, SQRT_2};

/// What a surrogate expects of one objective: a normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    /// The mean.
    pub mean: f64,
    /// The standard deviation.
    pub deviation: f64,
}

impl Belief {
    /// The expectation of how far the value stays below `level`, zero if it is above: E[max(level − Y, 0)], which is
    /// (level − m) Φ(u) + s φ(u) with u = (level − m) / s; the expected improvement of Jones, Schonlau and Welch,
    /// Efficient global optimization of expensive black-box functions, J. Global Optim. 13, 1998.
    fn expected_below(&self, level: f64) -> f64 {
        let gap = level - self.mean;
        if self.deviation <= 0.0 {
            return gap.max(0.0);
        }
        let u = gap / self.deviation;
        let density = (-0.5 * u * u).exp() / (2.0 * PI).sqrt();
        let probability = 0.5 * libm::erfc(-u / SQRT_2);
        (gap * probability + self.deviation * density).max(0.0)
    }
}

/// The expected growth of the hypervolume, reference (1, 1), if a point with these independent beliefs joins `front`,
/// which must be a front in the order [`crate::objectives::front`] gives it.
///
/// The region that the front does not dominate is cut into one strip for each front point and one more; within a strip
/// the expectation is a product of two expected improvements, one of them a difference. This is the exact two-objective
/// case of Emmerich, Deutz and Klinkenberg, Hypervolume-based expected improvement, IEEE CEC 2011, in the strips of
/// Yang, Emmerich, Deutz and Bäck, Efficient computation of expected hypervolume improvement using box decomposition
/// algorithms, J. Global Optim. 75, 2019.
pub fn expected_improvement(first: Belief, second: Belief, front: &[Scaled]) -> f64 {
    let mut total = 0.0;
    let mut left = 0.0;
    let mut ceiling = 1.0;
    for border in front.iter().copied().chain(std::iter::once([1.0, 0.0])) {
        let right = first.expected_below(border[0].min(1.0));
        total += (right - left).max(0.0) * second.expected_below(ceiling);
        left = right;
        ceiling = border[1].min(1.0);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objectives::{front, hypervolume};
    use matterstack_sdk::Rng;

    fn belief(mean: f64, deviation: f64) -> Belief {
        Belief { mean, deviation }
    }

    #[test]
    fn certainty_gives_the_plain_improvement() {
        let points = front(&[[0.2, 0.8], [0.5, 0.5], [0.8, 0.2]]);
        for [x, y] in [[0.1, 0.1], [0.3, 0.6], [0.4, 0.3], [0.9, 0.05], [0.6, 0.6], [0.05, 0.95]] {
            let mut joined = points.clone();
            joined.push([x, y]);
            let plain = hypervolume(&joined) - hypervolume(&points);
            let expected = expected_improvement(belief(x, 0.0), belief(y, 0.0), &points);
            assert!((plain - expected).abs() < 1e-12, "({x}, {y}): {plain} against {expected}");
        }
    }

    #[test]
    fn the_expectation_is_what_sampling_finds() {
        let mut rng = Rng::new(21, 1);
        let points = front(&[[0.25, 0.7], [0.4, 0.45], [0.7, 0.3]]);
        let before = hypervolume(&points);
        for (first, second) in [
            (belief(0.3, 0.05), belief(0.5, 0.1)),
            (belief(0.6, 0.1), belief(0.6, 0.1)),
            (belief(0.8, 0.15), belief(0.25, 0.03)),
        ] {
            let samples = 100_000;
            let mut sum = 0.0;
            for _ in 0..samples {
                let mut joined = points.clone();
                joined.push([first, second].map(|b| b.mean + b.deviation * rng.normal()));
                sum += hypervolume(&joined) - before;
            }
            let sampled = sum / f64::from(samples);
            let exact = expected_improvement(first, second, &points);
            assert!((sampled - exact).abs() < 0.02 * exact + 1e-4, "{sampled} against {exact}");
        }
    }

    #[test]
    fn without_a_front_the_whole_box_can_be_won() {
        let all = expected_improvement(belief(0.0, 0.0), belief(0.0, 0.0), &[]);
        assert!((all - 1.0).abs() < 1e-12);
        assert_eq!(expected_improvement(belief(1.2, 0.0), belief(0.1, 0.0), &[]), 0.0);
    }

    #[test]
    fn more_doubt_is_worth_more_where_the_mean_promises_nothing() {
        let points = [[0.5, 0.5]];
        let worth = |deviation| expected_improvement(belief(0.6, deviation), belief(0.6, deviation), &points);
        assert!(worth(0.01) < worth(0.1) && worth(0.1) < worth(0.3));
    }
}
