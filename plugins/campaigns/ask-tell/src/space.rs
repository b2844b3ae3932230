//! What is searched: variables and constants, and the check that a point lies in it.
use campaign_template::is_name;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Names that templates give a meaning of their own.
const TAKEN: [&str; 2] = ["trial", "before"];

/// What one variable may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Variable {
    /// A number from the first to the second, both of them included.
    Range(f64, f64),
    /// A whole number from the first to the second.
    Integer(f64, f64),
    /// One of these.
    Choices(Vec<Value>),
}

/// Every point that a program may ask for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Space {
    variables: BTreeMap<String, Variable>,
    constants: Map<String, Value>,
}

impl Variable {
    /// Reads `[lo, hi]`, a list of choices, `{"choices": […]}` or `{"integer": [lo, hi]}`. A list of two numbers of
    /// which the first is the smaller is a range; every other list is one of choices.
    fn read(written: &Value) -> Result<Self, String> {
        match written {
            Value::Array(items) => match bounds(items) {
                Some((lo, hi)) if lo < hi => Ok(Self::Range(lo, hi)),
                Some((lo, hi)) => {
                    let choices = format!("{{\"choices\": [{lo}, {hi}]}}");
                    Err(format!("the range [{lo}, {hi}] does not rise; to choose from two numbers write `{choices}`"))
                }
                None => Self::choices(items),
            },
            Value::Object(object) if object.len() == 1 => match (object.get("choices"), object.get("integer")) {
                (Some(Value::Array(items)), None) => Self::choices(items),
                (None, Some(Value::Array(items))) => match bounds(items) {
                    Some((lo, hi)) if lo < hi && lo.fract() == 0.0 && hi.fract() == 0.0 => Ok(Self::Integer(lo, hi)),
                    _ => Err("`integer` takes two whole numbers, the smaller first".to_owned()),
                },
                _ => Err(SHAPES.to_owned()),
            },
            _ => Err(SHAPES.to_owned()),
        }
    }

    fn choices(items: &[Value]) -> Result<Self, String> {
        if items.is_empty() {
            return Err("there is nothing to choose from".to_owned());
        }
        if items.iter().any(|item| matches!(item, Value::Null | Value::Array(_) | Value::Object(_))) {
            return Err("choices are texts, numbers, `true` or `false`".to_owned());
        }
        match (1..items.len()).find(|place| items[..*place].iter().any(|other| same(other, &items[*place]))) {
            Some(place) => Err(format!("{} stands twice among the choices", items[place])),
            None => Ok(Self::Choices(items.to_vec())),
        }
    }

    /// Why a value is none of this variable, as the end of a sentence that begins with its name.
    fn refuse(&self, value: &Value) -> Option<String> {
        match (self, value.as_f64()) {
            (Self::Choices(items), _) if items.iter().any(|item| same(item, value)) => None,
            (Self::Choices(items), _) => Some(format!("is {value}, which is none of {}", Value::Array(items.clone()))),
            (Self::Range(..) | Self::Integer(..), None) => Some(format!("is {value}, which is no number")),
            (Self::Range(lo, hi) | Self::Integer(lo, hi), Some(number)) if number < *lo || number > *hi => {
                Some(format!("is {value}, outside [{lo}, {hi}]"))
            }
            (Self::Integer(..), Some(number)) if number.fract() != 0.0 => {
                Some(format!("is {value}, which is not whole"))
            }
            (Self::Range(..) | Self::Integer(..), Some(_)) => None,
        }
    }

    /// A value that it may have.
    fn sample(&self) -> Value {
        match self {
            Self::Range(lo, _) | Self::Integer(lo, _) => Value::from(*lo),
            Self::Choices(items) => items.first().cloned().unwrap_or_default(),
        }
    }
}

const SHAPES: &str = "a variable is `[lo, hi]`, a list of choices, `{\"choices\": […]}` or `{\"integer\": [lo, hi]}`";

fn bounds(items: &[Value]) -> Option<(f64, f64)> {
    let [lo, hi] = items else { return None };
    lo.as_f64().zip(hi.as_f64())
}

/// Whether two values are the same: 1 and 1.0 are.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

impl Space {
    /// Reads `variables` and `constants`.
    pub(crate) fn read(written: &BTreeMap<String, Value>, constants: &Map<String, Value>) -> Result<Self, String> {
        if written.is_empty() {
            return Err("`variables` has none".to_owned());
        }
        for name in written.keys().chain(constants.keys()) {
            if !is_name(name) {
                return Err(format!("`{name}` is no name of a variable: letters, digits and `_`, a digit not first"));
            }
            if TAKEN.contains(&name.as_str()) {
                return Err(format!(
                    "`{name}` cannot be the name of a variable: `{{{name}}}` in a template is another"
                ));
            }
        }
        if let Some(name) = written.keys().find(|name| constants.contains_key(*name)) {
            return Err(format!("`{name}` is a variable and a constant"));
        }
        let variable = |(name, value): (&String, &Value)| {
            let variable = Variable::read(value).map_err(|why| format!("`variables.{name}`: {why}"))?;
            Ok((name.clone(), variable))
        };
        let variables = written.iter().map(variable).collect::<Result<_, String>>()?;
        Ok(Self { variables, constants: constants.clone() })
    }

    /// The variables of a point, or what is wrong with it. A constant may be among them if it has its value.
    pub(crate) fn check(&self, params: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        for (name, value) in params {
            match (self.variables.get(name), self.constants.get(name)) {
                (Some(variable), _) => match variable.refuse(value) {
                    Some(why) => return Err(format!("`{name}` {why}")),
                    None => continue,
                },
                (None, Some(constant)) if same(constant, value) => continue,
                (None, Some(constant)) => return Err(format!("`{name}` is {value}, and the constant is {constant}")),
                (None, None) => return Err(format!("`{name}` is no variable; there are {}", self.names())),
            }
        }
        if let Some(name) = self.variables.keys().find(|name| !params.contains_key(*name)) {
            return Err(format!("`{name}` is missing"));
        }
        Ok(params.iter().filter(|(name, _)| self.variables.contains_key(*name)).map(own).collect())
    }

    /// A point with the constants: what a measurement gets.
    pub(crate) fn with_constants(&self, params: &Map<String, Value>) -> Map<String, Value> {
        self.constants.iter().chain(params).map(own).collect()
    }

    /// Some point, to try templates with.
    pub(crate) fn sample(&self) -> Map<String, Value> {
        self.variables.iter().map(|(name, variable)| (name.clone(), variable.sample())).collect()
    }

    /// Whether a column of a table is a variable or a constant.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.variables.contains_key(name) || self.constants.contains_key(name)
    }

    /// A cell of a table as the variable has it: `007` may be a choice that is written so.
    pub(crate) fn of_cell(&self, name: &str, value: Value, text: &str) -> Value {
        let written = Value::String(text.to_owned());
        match self.variables.get(name) {
            Some(Variable::Choices(items)) if items.contains(&written) => written,
            _ => value,
        }
    }

    /// The names of the variables, for a sentence.
    pub(crate) fn names(&self) -> String {
        let names: Vec<String> = self.variables.keys().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    }
}

fn own((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// Whether two points are the same.
pub(crate) fn same_point(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    one.len() == other.len() && one.iter().all(|(name, value)| other.get(name).is_some_and(|o| same(value, o)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use matterstack_sdk::json;

    #[test]
    fn a_list_of_two_rising_numbers_is_a_range_and_every_other_one_of_choices() {
        for (written, expected) in [
            (json!([0, 1]), Ok(Variable::Range(0.0, 1.0))),
            (json!([0.5, 1e3]), Ok(Variable::Range(0.5, 1000.0))),
            (json!(["a", "b"]), Ok(Variable::Choices(vec![json!("a"), json!("b")]))),
            (json!(["0", "1"]), Ok(Variable::Choices(vec![json!("0"), json!("1")]))),
            (json!([1, 2, 3]), Ok(Variable::Choices(vec![json!(1), json!(2), json!(3)]))),
            (json!([7]), Ok(Variable::Choices(vec![json!(7)]))),
            (json!({"choices": [0, 1]}), Ok(Variable::Choices(vec![json!(0), json!(1)]))),
            (json!({"integer": [1, 9]}), Ok(Variable::Integer(1.0, 9.0))),
            (json!([1, 0]), Err("does not rise")),
            (json!([1, 1]), Err("does not rise")),
            (json!([]), Err("nothing to choose from")),
            (json!(["a", "a"]), Err("\"a\" stands twice")),
            (json!([1, 2, 1.0]), Err("1.0 stands twice")),
            (json!([[1], 2]), Err("choices are texts")),
            (json!({"integer": [0.5, 2]}), Err("two whole numbers")),
            (json!({"range": [0, 1]}), Err("a variable is")),
            (json!("x"), Err("a variable is")),
        ] {
            match (Variable::read(&written), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{written}"),
                (Err(error), Err(words)) => assert!(error.contains(words), "{written}: {error}"),
                (read, _) => panic!("{written}: {read:?}"),
            }
        }
    }

    #[test]
    fn a_point_lies_in_the_space_or_is_refused_by_name() {
        let variables = json!({"x": [0, 1], "n": {"integer": [1, 9]}, "s": ["water", "dmso"]});
        let constants = json!({"T": 300});
        let space = Space::read(
            &serde_json::from_value(variables).expect("variables"),
            constants.as_object().expect("an object"),
        );
        let space = space.expect("a space");
        let with = |key: &str, value: Value| {
            let mut point = json!({"x": 0.5, "n": 2, "s": "water"});
            point[key] = value;
            space.check(point.as_object().expect("an object"))
        };
        for (key, value) in
            [("x", json!(0)), ("x", json!(1)), ("n", json!(3.0)), ("s", json!("dmso")), ("T", json!(3e2))]
        {
            assert!(!with(key, value.clone()).expect("a point").contains_key("T"), "{key}: {value}");
        }
        for (key, value, words) in [
            ("x", json!(1.000_000_000_1), "`x` is 1.0000000001, outside [0, 1]"),
            ("x", json!("1"), "`x` is \"1\", which is no number"),
            ("x", json!(null), "`x` is null, which is no number"),
            ("n", json!(2.5), "`n` is 2.5, which is not whole"),
            ("s", json!("acid"), "`s` is \"acid\", which is none of [\"water\",\"dmso\"]"),
            ("T", json!(301), "`T` is 301, and the constant is 300"),
            ("y", json!(1), "`y` is no variable; there are `n`, `s`, `x`"),
        ] {
            assert_eq!(with(key, value).expect_err("a refusal"), words);
        }
        let missing = space.check(json!({"x": 0, "n": 1}).as_object().expect("an object"));
        assert_eq!(missing.expect_err("a refusal"), "`s` is missing");
    }
}
