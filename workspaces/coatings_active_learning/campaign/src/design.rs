//! Where to look without a model: designs that fill the space of compositions, and the pool to choose from.
use crate::alloy::Composition;
use matterstack_sdk::Rng;
use std::collections::HashSet;

/// Fresh draws that each point of a design is chosen from, for each point that is there already.
const DRAWS_PER_POINT: usize = 10;
/// Deviations of the steps from a good composition, in fractions: fine and coarse neighbours.
const STEPS: [f64; 3] = [0.02, 0.05, 0.12];

/// Chooses `count` compositions that keep away from each other and from `taken`: each is, of a number of uniform draws
/// that grows with the design, the one farthest from its nearest neighbour ("best candidate", Mitchell, Spectrally
/// optimal sampling for distribution ray tracing, SIGGRAPH 1991).
pub fn space_filling(count: usize, taken: &[Composition], rng: &mut Rng) -> Vec<Composition> {
    let mut all = taken.to_vec();
    for _ in 0..count {
        let draws = DRAWS_PER_POINT * (all.len() + 1);
        let nearest =
            |draw: &Composition| all.iter().map(|other| draw.distance_squared(other)).fold(f64::INFINITY, f64::min);
        let best = (0..draws)
            .map(|_| Composition::uniform(rng))
            .map(|draw| (nearest(&draw), draw))
            .reduce(|best, next| if next.0 > best.0 { next } else { best });
        all.extend(best.map(|(_, draw)| draw));
    }
    all.split_off(taken.len())
}

/// Draws `count` different compositions to choose a batch from, none of them in `taken`: half over the whole space,
/// half near the compositions in `good`, at distances from fine to coarse.
pub fn pool(count: usize, good: &[Composition], taken: &[Composition], rng: &mut Rng) -> Vec<Composition> {
    let mut seen: HashSet<Composition> = taken.iter().copied().collect();
    let mut pool = Vec::with_capacity(count);
    // the space has 10^10 compositions, so that a draw is hardly ever refused; the bound only makes the end certain
    for draw in 0..count * 20 {
        if pool.len() == count {
            break;
        }
        let near = !good.is_empty() && draw % 2 == 1;
        let composition = if near {
            good[rng.below(good.len())].near(STEPS[rng.below(STEPS.len())], rng)
        } else {
            Composition::uniform(rng)
        };
        if seen.insert(composition) {
            pool.push(composition);
        }
    }
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smallest_distance(points: &[Composition]) -> f64 {
        let pairs = points.iter().enumerate().flat_map(|(i, a)| points[..i].iter().map(|b| a.distance_squared(b)));
        pairs.fold(f64::INFINITY, f64::min).sqrt()
    }

    #[test]
    fn a_design_fills_space_better_than_chance() {
        let (mut filling, mut random) = (0.0, 0.0);
        for seed in 0..20 {
            let mut rng = Rng::new(seed, 1);
            filling += smallest_distance(&space_filling(10, &[], &mut rng));
            let draws: Vec<Composition> = (0..10).map(|_| Composition::uniform(&mut rng)).collect();
            random += smallest_distance(&draws);
        }
        assert!(filling > 2.0 * random, "{filling} against {random}");
    }

    #[test]
    fn a_design_keeps_away_from_what_is_taken() {
        let mut rng = Rng::new(5, 1);
        let taken = space_filling(10, &[], &mut rng);
        let more = space_filling(5, &taken, &mut rng);
        assert_eq!(more.len(), 5);
        let all: Vec<Composition> = taken.into_iter().chain(more).collect();
        assert!(smallest_distance(&all) > 0.1);
    }

    #[test]
    fn the_same_stream_gives_the_same_design() {
        let draw = || space_filling(10, &[], &mut Rng::new(42, 1));
        assert_eq!(draw(), draw());
        assert_ne!(draw(), space_filling(10, &[], &mut Rng::new(43, 1)));
    }

    #[test]
    fn a_pool_has_no_composition_twice_and_looks_near_the_good_ones() {
        let mut rng = Rng::new(9, 2);
        let taken = space_filling(20, &[], &mut rng);
        let good = &taken[..2];
        let pool = pool(400, good, &taken, &mut rng);
        assert_eq!(pool.len(), 400);
        let distinct: HashSet<_> = pool.iter().chain(&taken).collect();
        assert_eq!(distinct.len(), 420);
        let near = pool.iter().filter(|x| good.iter().any(|g| g.distance_squared(x).sqrt() < 0.15)).count();
        assert!(near > 100, "{near}");
    }
}
