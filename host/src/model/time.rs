//! Moments as documents write them.
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// The longest delay that a plugin may ask for, in milliseconds: a week.
pub const DELAY_MAX_MS: u64 = 7 * 86_400_000;

/// How far ahead a campaign may ask to be woken, in milliseconds: ten years.
pub const FUTURE_MAX_MS: u64 = 3_653 * 86_400_000;

/// A delay that a plugin asks for, within what can be waited for, in milliseconds.
pub fn delay_ms(asked_ms: u64) -> i64 {
    asked_ms.min(DELAY_MAX_MS) as i64
}

/// A moment, in milliseconds since the epoch; documents write it as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", jiff::Timestamp::from_millisecond(self.0).unwrap_or_default())
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<jiff::Timestamp>().map(|time| Self(time.as_millisecond())).map_err(de::Error::custom)
    }
}

impl schemars::JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}

/// A span of time in its two largest units.
pub fn span(ms: i64) -> String {
    let s = ms / 1000;
    match s {
        // A clock that jumped back.
        _ if ms < 0 => "unknown".to_owned(),
        0 => format!("{ms} ms"),
        1..60 => format!("{:.1} s", ms as f64 / 1000.0),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// How long after one moment another was, in its two largest units; nothing where a clock was behind.
pub fn since(begin: Time, end: Time) -> String {
    span((end.0 - begin.0).max(0))
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_of_time_have_two_units() {
        let cases =
            [(0, "0 ms"), (1_260, "1.3 s"), (61_000, "1 min 1 s"), (3_600_000, "1 h 0 min"), (90_000_000, "1 d 1 h")];
        for (ms, expected) in cases {
            assert_eq!(span(ms), expected);
        }
        assert_eq!(span(-1), "unknown");
    }
}
