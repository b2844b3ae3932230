//! Compositions: five fractions that sum to one, in steps of 0.1 at.%.
use matterstack_sdk::Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The elements, in the order of every composition.
pub const ELEMENTS: [&str; 5] = ["Co", "Cr", "Fe", "Mo", "Ni"];
/// Parts in a whole: 1000 means steps of 0.1 at.%, which is about what a coating process can hold.
const PARTS: u16 = 1000;

/// A composition as parts per thousand of each element, which sum to exactly 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Composition([u16; 5]);

impl Composition {
    /// Rounds weights that are not negative to the nearest composition: shares are rounded down, and the parts left
    /// over go to the largest remainders (Hamilton's method). Weights without a sum give equal parts.
    pub fn from_weights(weights: [f64; 5]) -> Self {
        let total: f64 = weights.iter().sum();
        if !(total > 0.0 && total.is_finite()) {
            return Self([PARTS / 5; 5]);
        }
        let exact = weights.map(|weight| weight / total * f64::from(PARTS));
        let mut parts = exact.map(|value| value.floor() as u16);
        let mut by_remainder = [0, 1, 2, 3, 4];
        by_remainder.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
        let left = usize::from(PARTS - parts.iter().sum::<u16>().min(PARTS));
        for &element in by_remainder.iter().cycle().take(left) {
            parts[element] += 1;
        }
        Self(parts)
    }

    /// Draws a composition uniformly from all of them: exponential variates divided by their sum are uniform on the
    /// simplex (Devroye, Non-Uniform Random Variate Generation, 1986, chapter V).
    pub fn uniform(rng: &mut Rng) -> Self {
        Self::from_weights([(); 5].map(|()| -(1.0 - rng.uniform()).ln()))
    }

    /// Draws a composition near this one: each fraction moves by a normal step with this deviation.
    pub fn near(&self, deviation: f64, rng: &mut Rng) -> Self {
        Self::from_weights(self.fractions().map(|fraction| (fraction + deviation * rng.normal()).max(0.0)))
    }

    /// The fractions, in the order of [`ELEMENTS`].
    pub fn fractions(&self) -> [f64; 5] {
        self.0.map(|parts| f64::from(parts) / f64::from(PARTS))
    }

    /// The squared Euclidean distance between the fractions of two compositions.
    pub fn distance_squared(&self, other: &Self) -> f64 {
        self.fractions().iter().zip(other.fractions()).map(|(a, b)| (a - b) * (a - b)).sum()
    }

    /// The fractions by element, as documents have them.
    pub fn by_element(&self) -> BTreeMap<&'static str, f64> {
        ELEMENTS.into_iter().zip(self.fractions()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_always_sum_to_a_thousand() {
        let mut rng = Rng::new(7, 1);
        for _ in 0..10_000 {
            let composition = Composition::uniform(&mut rng);
            assert_eq!(composition.0.iter().sum::<u16>(), PARTS, "{composition:?}");
            let near = composition.near(0.05, &mut rng);
            assert_eq!(near.0.iter().sum::<u16>(), PARTS, "{near:?}");
        }
    }

    #[test]
    fn rounding_gives_what_is_left_to_the_largest_remainders() {
        assert_eq!(Composition::from_weights([1.0, 1.0, 1.0, 0.0, 0.0]).0, [334, 333, 333, 0, 0]);
        assert_eq!(Composition::from_weights([0.0006, 0.9994, 0.0, 0.0, 0.0]).0, [1, 999, 0, 0, 0]);
        assert_eq!(Composition::from_weights([0.0; 5]).0, [200; 5]);
        assert_eq!(Composition::from_weights([f64::NAN; 5]).0, [200; 5]);
    }

    #[test]
    fn uniform_draws_are_uniform_on_the_simplex() {
        // the mean of each fraction is 1/5, and a fraction exceeds 1/2 with probability (1/2)^4
        let mut rng = Rng::new(3, 1);
        let draws: Vec<[f64; 5]> = (0..20_000).map(|_| Composition::uniform(&mut rng).fractions()).collect();
        for element in 0..5 {
            let mean = draws.iter().map(|x| x[element]).sum::<f64>() / draws.len() as f64;
            let above = draws.iter().filter(|x| x[element] > 0.5).count() as f64 / draws.len() as f64;
            assert!((mean - 0.2).abs() < 0.005, "{mean}");
            assert!((above - 0.0625).abs() < 0.006, "{above}");
        }
    }
}
