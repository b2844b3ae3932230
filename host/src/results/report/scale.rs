//! Numbers along an axis: how far it reaches, where its ticks are, and how numbers are written.
use minijinja::{Value, context};

/// What is beyond is drawn here.
const MOST: f64 = 1e300;
/// How many ticks an axis has, about.
const TICKS: f64 = 6.0;
/// From which ratio of the largest to the least on, both above 0, an axis is logarithmic.
const LOG_FROM: f64 = 1000.0;

/// An axis of a figure.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    log: bool,
    from: f64,
    to: f64,
}

/// What an axis is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Measured values, logarithmic where they are of many magnitudes.
    Values,
    /// Whole numbers.
    Counts,
    /// Numbers from 0 on, without room around them.
    Span,
}

impl Scale {
    /// One on which all finite values of these have room, drawn between two places.
    pub(super) fn of(values: impl Iterator<Item = f64>, kind: Kind, (from, to): (f64, f64)) -> Self {
        let values = values.filter(|value| value.is_finite()).map(|value| value.clamp(-MOST, MOST));
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let log = kind == Kind::Values && low > 0.0 && high / low >= LOG_FROM;
        if log {
            return Self { low: low.log10() - 0.05, high: high.log10() + 0.05, log, from, to };
        }
        match kind {
            Kind::Span => (low, high) = (0.0, high.max(f64::MIN_POSITIVE)),
            Kind::Counts => (low, high) = (low - 0.5, high + 0.5),
            Kind::Values => {
                let alike = high - low <= low.abs().max(high.abs()) * 1e-9;
                let room = match () {
                    () if !alike => (high - low) * 0.05,
                    () if high == 0.0 => 1.0,
                    () => high.abs() * 0.1,
                };
                (low, high) = (low - room, high + room);
            }
        }
        Self { low, high, log, from, to }
    }

    /// Whether equal ratios are equally far from each other.
    pub(super) fn is_log(&self) -> bool {
        self.log
    }

    /// Where a value is drawn.
    pub(super) fn at(&self, value: f64) -> f64 {
        let value = value.clamp(-MOST, MOST);
        let value = if self.log { value.max(f64::MIN_POSITIVE).log10() } else { value };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        tenth(self.from + share * (self.to - self.from))
    }

    /// The axis with its ticks, each with its place and its number.
    pub(super) fn axis(&self, label: &str, kind: Kind) -> Value {
        let ticks = self.ticks(kind).into_iter().map(|tick| (self.at(tick), number(tick)));
        context! { label, ticks => ticks.collect::<Vec<_>>() }
    }

    /// The values at which ticks are.
    fn ticks(&self, kind: Kind) -> Vec<f64> {
        let range = self.high - self.low;
        let least = if kind == Kind::Counts || self.log { 1.0 } else { 0.0 };
        let rough = (range / TICKS).max(f64::MIN_POSITIVE);
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(rough).max(least);
        let first = (self.low / step).ceil();
        let ticks = (0..20).map(|n| (first + f64::from(n)) * step).take_while(|tick| *tick <= self.high);
        // what is nearly 0 is 0
        let clean = |tick: f64| if tick.abs() < step * 1e-9 { 0.0 } else { tick };
        let value = |tick: f64| if self.log { 10_f64.powf(tick) } else { clean(tick) };
        ticks.map(value).collect()
    }
}

/// A place in a figure, as exact as it is seen.
pub(super) fn tenth(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

/// A number with up to six digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || value == 0.0 {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    if !(1e-4..1e6).contains(&size) {
        let text = format!("{value:.4e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let decimals = (5.0 - size.log10().floor()).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_numbers_have_an_axis_with_some_ticks() {
        let cases: [&[f64]; 11] = [
            &[],
            &[3.0],
            &[0.0],
            &[-7.5, -7.5],
            &[f64::NAN, f64::INFINITY, 2.0],
            &[1e300, -1e300],
            &[f64::MAX, f64::MIN],
            &[1e-300, 1e300],
            &[5e-324, 1.0],
            &[1e15, 1e15 + 1.0],
            &[0.1, 0.2, 0.3],
        ];
        for values in cases {
            for kind in [Kind::Values, Kind::Counts, Kind::Span] {
                let scale = Scale::of(values.iter().copied(), kind, (50.0, 650.0));
                let ticks = scale.ticks(kind);
                assert!(
                    ticks.len() <= 20 && ticks.iter().all(|tick| tick.is_finite()),
                    "{values:?} {kind:?} {ticks:?}"
                );
                if kind == Kind::Values {
                    assert!(!ticks.is_empty(), "{values:?} {scale:?}");
                }
                for value in values.iter().filter(|value| value.is_finite()) {
                    let place = scale.at(*value);
                    assert!((50.0..=650.0).contains(&place), "{values:?} {kind:?}: {place}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.1 + 0.2, "0.3"),
            (-1234.5, "-1234.5"),
            (1e300, "1e300"),
            (1.25e-7, "1.25e-7"),
            (999_999.6, "1000000"),
            (123_456.7, "123457"),
            (100.0, "100"),
        ];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
    }
}
