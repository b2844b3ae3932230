//! What is known of the space so far: one Gaussian process for each objective, and batches chosen with them.
use crate::acquisition::{Belief, expected_improvement};
use crate::alloy::Composition;
use crate::objectives::{Scaled, front};
use egobox_gp::correlation_models::Matern52Corr;
use egobox_gp::mean_models::ConstantMean;
use egobox_gp::{GaussianProcess, GpError, ThetaTuning};
use linfa::Dataset;
use linfa::traits::Fit;
use ndarray::{Array1, Array2};

/// Restarts of the search for the length scales, beside the start from the last ones. One would be random.
const RESTARTS: usize = 2;
/// Likelihoods computed in one search at most.
const LIKELIHOODS_MAX: usize = 60;
/// The inverse length scales that a first search starts from, and their bounds, for fractions scaled to deviation 1.
const INVERSE_LENGTH: f64 = 0.3;
const INVERSE_LENGTH_BOUNDS: (f64, f64) = (1e-3, 1e1);
/// The variance of the noise in units of the process variance: it keeps the correlation matrix well conditioned.
const NUGGET: f64 = 1e-3;
/// Candidates of the pool that stay after the first choice of a batch.
const SHORTLIST: usize = 100;

/// Inverse length scales of both processes, from which the next fit starts.
pub type Lengths = [[f64; 5]; 2];

/// Both Gaussian processes: Matérn 5/2 correlation with a length scale for each element, a constant mean found by
/// generalized least squares, hyperparameters of maximal likelihood (Rasmussen and Williams, Gaussian Processes for
/// Machine Learning, 2006, chapters 2, 4 and 5).
pub struct Surrogate([GaussianProcess<f64, ConstantMean, Matern52Corr>; 2]);

impl Surrogate {
    /// Fits both processes. Fails if the likelihood cannot be computed anywhere.
    pub fn fit(points: &[Composition], values: &[Scaled], start: Option<&Lengths>) -> Result<Self, GpError> {
        let process = |objective: usize| {
            let targets: Array1<f64> = values.iter().map(|value| value[objective]).collect();
            let init = start.map_or([INVERSE_LENGTH; 5], |lengths| lengths[objective]);
            GaussianProcess::<f64, ConstantMean, Matern52Corr>::params(ConstantMean(), Matern52Corr())
                .theta_tuning(ThetaTuning::Full {
                    init: Array1::from_iter(init),
                    bounds: Array1::from_elem(1, INVERSE_LENGTH_BOUNDS),
                })
                .n_start(RESTARTS)
                .max_eval(LIKELIHOODS_MAX)
                .nugget(NUGGET)
                .fit(&Dataset::new(matrix(points), targets))
        };
        Ok(Self([process(0)?, process(1)?]))
    }

    /// The inverse length scales that the fit found.
    pub fn lengths(&self) -> Lengths {
        let found = |process: &GaussianProcess<f64, ConstantMean, Matern52Corr>| {
            std::array::from_fn(|element| process.theta()[element])
        };
        [found(&self.0[0]), found(&self.0[1])]
    }

    /// What is expected of each composition, friction first.
    pub fn believe(&self, points: &[Composition]) -> Result<Vec<[Belief; 2]>, GpError> {
        let points = matrix(points);
        let (friction, friction_variance) = self.0[0].predict_valvar(&points)?;
        let (dissolution, dissolution_variance) = self.0[1].predict_valvar(&points)?;
        let belief = |mean: f64, variance: f64| Belief { mean, deviation: variance.max(0.0).sqrt() };
        let first = friction.into_iter().zip(friction_variance).map(|(mean, variance)| belief(mean, variance));
        let second = dissolution.into_iter().zip(dissolution_variance).map(|(mean, variance)| belief(mean, variance));
        Ok(first.zip(second).map(|(first, second)| [first, second]).collect())
    }

    /// Takes values for true at more compositions; length scales stay.
    fn with(self, points: &[Composition], values: &[Scaled]) -> Result<Self, GpError> {
        let rows = matrix(points);
        let of = |objective: usize| values.iter().map(|value| value[objective]).collect::<Array1<f64>>();
        let [friction, dissolution] = self.0;
        let friction = friction.update(&rows, &of(0))?;
        let dissolution = dissolution.update(&rows, &of(1))?;
        Ok(Self([friction, dissolution]))
    }

    /// Takes its own means for true at compositions whose results are still to come, and says them. One after the other
    /// they would be the same: a mean that is taken for true changes no other.
    pub fn believing(self, awaited: &[Composition]) -> Result<(Self, Vec<Scaled>), GpError> {
        if awaited.is_empty() {
            return Ok((self, Vec::new()));
        }
        let means: Vec<Scaled> =
            self.believe(awaited)?.iter().map(|beliefs| beliefs.map(|belief| belief.mean)).collect();
        Ok((self.with(awaited, &means)?, means))
    }

    /// Chooses `count` compositions of the pool, one after the other, each with the largest expected hypervolume
    /// improvement if those before had turned out as their means say ("kriging believer": Ginsbourger, Le Riche and
    /// Carraro, Kriging is well-suited to parallelize optimization, 2010). Beliefs only shrink what a candidate is
    /// worth near them, so that all but the first are chosen among the best of the pool.
    pub fn choose(self, count: usize, pool: &[Composition], known: &[Scaled]) -> Result<Vec<Composition>, GpError> {
        let mut surrogate = self;
        let mut known = known.to_vec();
        let mut pool = pool.to_vec();
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count && !pool.is_empty() {
            let beliefs = surrogate.believe(&pool)?;
            let borders = front(&known);
            let worth = |[first, second]: &[Belief; 2]| expected_improvement(*first, *second, &borders);
            let mut order: Vec<(f64, usize)> = beliefs.iter().map(worth).zip(0..).collect();
            order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let best = order[0].1;
            let (point, believed) = (pool[best], beliefs[best].map(|belief| belief.mean));
            chosen.push(point);
            known.push(believed);
            pool = order[1..].iter().take(SHORTLIST.max(count)).map(|&(_, index)| pool[index]).collect();
            if chosen.len() < count {
                surrogate = surrogate.with(&[point], &[believed])?;
            }
        }
        Ok(chosen)
    }
}

fn matrix(points: &[Composition]) -> Array2<f64> {
    Array2::from_shape_fn((points.len(), 5), |(row, column)| points[row].fractions()[column])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::{pool, space_filling};
    use matterstack_sdk::Rng;

    /// Two smooth functions that trade off, with minima at different compositions.
    fn truth(point: &Composition) -> Scaled {
        let [co, cr, fe, mo, ni] = point.fractions();
        [(mo - 0.6).abs().powi(2) + 0.3 * fe + 0.2, (cr - 0.5).powi(2) + 0.4 * co * mo + 0.2 * (1.0 - ni)]
    }

    fn trained(count: usize) -> (Vec<Composition>, Vec<Scaled>, Surrogate) {
        let points = space_filling(count, &[], &mut Rng::new(1, 1));
        let values: Vec<Scaled> = points.iter().map(truth).collect();
        let surrogate = Surrogate::fit(&points, &values, None).unwrap();
        (points, values, surrogate)
    }

    #[test]
    fn it_predicts_what_it_has_not_seen() {
        let (_, _, surrogate) = trained(40);
        let unseen = pool(200, &[], &[], &mut Rng::new(2, 1));
        let beliefs = surrogate.believe(&unseen).unwrap();
        for objective in 0..2 {
            let values: Vec<f64> = unseen.iter().map(|point| truth(point)[objective]).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let spread: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let missed: f64 = values.iter().zip(&beliefs).map(|(v, b)| (v - b[objective].mean).powi(2)).sum();
            assert!(missed < 0.1 * spread, "objective {objective} explains {}", 1.0 - missed / spread);
        }
    }

    #[test]
    fn it_doubts_less_where_it_has_seen() {
        // of a bumpy function, so that its values far from the points cannot be known
        let points = space_filling(30, &[], &mut Rng::new(1, 1));
        let bumpy = |point: &Composition| (20.0 * point.fractions()[3]).sin() * (15.0 * point.fractions()[1]).cos();
        let values: Vec<Scaled> = points.iter().map(|point| [bumpy(point); 2]).collect();
        let surrogate = Surrogate::fit(&points, &values, None).unwrap();
        let seen = surrogate.believe(&points).unwrap();
        let unseen = surrogate.believe(&pool(100, &[], &points, &mut Rng::new(3, 1))).unwrap();
        let doubt =
            |beliefs: &[[Belief; 2]]| beliefs.iter().map(|b| b[0].deviation).sum::<f64>() / beliefs.len() as f64;
        assert!(5.0 * doubt(&seen) < doubt(&unseen), "{} against {}", doubt(&seen), doubt(&unseen));
        assert!(seen.iter().zip(&values).all(|(b, v)| (b[0].mean - v[0]).abs() < 0.02));
    }

    #[test]
    fn a_batch_spreads_because_it_believes_its_own_choices() {
        let (points, values, surrogate) = trained(20);
        let candidates = pool(300, &points[..3], &points, &mut Rng::new(4, 1));
        let batch = surrogate.choose(5, &candidates, &values).unwrap();
        assert_eq!(batch.len(), 5);
        for (index, point) in batch.iter().enumerate() {
            assert!(batch[..index].iter().all(|other| point.distance_squared(other) > 1e-4), "{batch:?}");
        }
    }

    #[test]
    fn a_batch_is_better_than_its_pool() {
        let (points, values, surrogate) = trained(25);
        let candidates = pool(300, &points[..3], &points, &mut Rng::new(5, 1));
        let gain = |point: &Composition| {
            let joined: Vec<Scaled> = values.iter().copied().chain([truth(point)]).collect();
            crate::objectives::hypervolume(&joined) - crate::objectives::hypervolume(&values)
        };
        let batch = surrogate.choose(3, &candidates, &values).unwrap();
        let mean = candidates.iter().map(gain).sum::<f64>() / candidates.len() as f64;
        assert!(gain(&batch[0]) > 3.0 * mean, "{} against {mean}", gain(&batch[0]));
    }

    #[test]
    fn what_is_awaited_is_believed_as_within_a_batch() {
        let (points, values, surrogate) = trained(20);
        let candidates = pool(SHORTLIST, &points[..3], &points, &mut Rng::new(6, 1));
        let batch = surrogate.choose(4, &candidates, &values).unwrap();
        for taken in 1..batch.len() {
            let (surrogate, believed) = trained(20).2.believing(&batch[..taken]).unwrap();
            assert_eq!(believed.len(), taken);
            let known: Vec<Scaled> = values.iter().copied().chain(believed).collect();
            let left: Vec<Composition> =
                candidates.iter().filter(|point| !batch[..taken].contains(point)).copied().collect();
            assert_eq!(surrogate.choose(1, &left, &known).unwrap(), batch[taken..=taken]);
        }
        let (_, believed) = trained(20).2.believing(&[]).unwrap();
        assert_eq!(believed, [] as [Scaled; 0]);
    }

    #[test]
    fn a_mean_that_is_believed_changes_no_other() {
        let (_, _, surrogate) = trained(20);
        let unseen = pool(50, &[], &[], &mut Rng::new(7, 1));
        let before = surrogate.believe(&unseen).unwrap();
        let (surrogate, _) = surrogate.believing(&unseen[..5]).unwrap();
        for (before, after) in before.iter().zip(surrogate.believe(&unseen).unwrap()) {
            for objective in 0..2 {
                let (before, after) = (before[objective], after[objective]);
                assert!((before.mean - after.mean).abs() < 1e-9, "{before:?} {after:?}");
                assert!(after.deviation <= before.deviation + 1e-9, "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn a_pool_smaller_than_the_batch_is_used_up() {
        let (points, values, surrogate) = trained(10);
        let batch = surrogate.choose(5, &points[..2], &values).unwrap();
        assert_eq!(batch.len(), 2);
    }
}
