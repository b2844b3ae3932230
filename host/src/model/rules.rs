//! What no campaign can skip: the rules of an operator about the requests that it is to carry out, whoever plans them.
//! They are read off the configuration and a task alone; what was spent and who approved stands in the store.
use super::config::{OperatorConfig, RunConfig};
use super::workflow::{Resources, Task, WorkflowError};
use matterstack_schema::{Mistake, Schema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Mistakes of a request that a sentence names.
const NAMED: usize = 3;
/// Milliseconds of an hour.
const HOUR_MS: f64 = 3_600_000.0;

/// `operators.<key>.budget`: what the operator may use in the whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Attempts that may start. One that provably never started is given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u64>,
    /// Core hours: before the start cores × walltime, afterwards what the job took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core_h: Option<f64>,
}

/// `operators.<key>.approve`: whose word a task needs before it starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Approve {
    /// The users who may give it: names of this machine's users, or their numbers.
    pub by: Vec<Person>,
    /// The bound above which it is needed; absent: every task needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
}

/// `operators.<key>.approve.over`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Over {
    /// Core hours that a task may ask for, cores × walltime, without anybody's word.
    pub core_h: f64,
}

/// A user: by name, or by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected the name of a user, or the number of one")]
pub enum Person {
    /// A number (uid).
    Number(u32),
    /// A name.
    Name(String),
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "uid {number}"),
            Self::Name(name) => write!(f, "`{}`", name.escape_debug()),
        }
    }
}

/// These people, as a sentence names them.
pub fn people(by: &[Person]) -> String {
    by.iter().map(Person::to_string).collect::<Vec<_>>().join(" or ")
}

/// Whether a user, by number, is one of these people; `number_of` tells the number of a user by name.
pub fn is_among(by: &[Person], user: u32, number_of: &dyn Fn(&str) -> Option<u32>) -> bool {
    numbers(by, number_of).contains(&user)
}

/// The numbers of these people, without those whom nobody knows.
pub fn numbers(by: &[Person], number_of: &dyn Fn(&str) -> Option<u32>) -> Vec<u32> {
    let number = |person: &Person| match person {
        Person::Number(number) => Some(*number),
        Person::Name(name) => number_of(name),
    };
    by.iter().filter_map(number).collect()
}

/// The part of a task's input that says whose answer counts: `{"approve": {"by": […]}}`, as `builtin:human` takes it.
pub fn answerers(input: Option<&Value>) -> Option<Vec<Person>> {
    #[derive(Deserialize)]
    struct Asked {
        by: Vec<Person>,
    }
    let asked = input?.get("approve")?;
    // one that names nobody readable lets nobody answer; the operator refuses it when the task is prepared
    Some(Asked::deserialize(asked).map(|asked| asked.by).unwrap_or_default())
}

impl OperatorConfig {
    /// Whether tasks of the operator have to be looked at before they start.
    pub fn rules(&self) -> bool {
        self.accepts.is_some() || self.approve.is_some() || self.counts_core_hours()
    }

    /// Whether core hours are counted before the start.
    fn counts_core_hours(&self) -> bool {
        self.budget.as_ref().is_some_and(|budget| budget.core_h.is_some())
            || self.approve.as_ref().is_some_and(|approve| approve.over.is_some())
    }
}

/// The core hours that a run of a task may take at most, in milliseconds of a core; nothing if it names no walltime.
pub fn core_ms(task: &Task) -> Option<u64> {
    let resources = task.resources.as_ref()?;
    let walltime_ms = resources.walltime_s? * 1000.0;
    Some((cores(Some(resources)) as f64 * walltime_ms).ceil() as u64)
}

/// How many cores a job of a task has.
pub fn cores(resources: Option<&Resources>) -> u64 {
    let one = |count: Option<u32>| u64::from(count.unwrap_or(1).max(1));
    let count = |resources: &Resources| one(resources.cores) * one(resources.tasks).max(one(resources.nodes));
    resources.map_or(1, count)
}

/// Milliseconds of a core as hours.
pub fn core_h(core_ms: u64) -> f64 {
    core_ms as f64 / HOUR_MS
}

/// Hours of a core as milliseconds.
pub fn to_core_ms(core_h: f64) -> u64 {
    // a bound that nobody reaches is none
    (core_h * HOUR_MS) as u64
}

/// Why a task is not one that its operator takes, if so.
pub fn refused(config: &RunConfig, task: &Task) -> Option<String> {
    let operator = config.operators.get(&task.operator).filter(|operator| operator.rules())?;
    let key = &task.operator;
    if let Some(accepts) = &operator.accepts
        && let Some(why) = unaccepted(accepts, task.input.as_ref().unwrap_or(&Value::Null))
    {
        return Some(format!("its `input` is not what `operators.{key}.accepts` takes: {why}"));
    }
    (operator.counts_core_hours() && core_ms(task).is_none()).then(|| {
        format!(
            "it names no `resources.walltime_s`, from which `operators.{key}` counts core hours before a task starts; give one"
        )
    })
}

/// What is wrong with a request by a schema, if anything.
fn unaccepted(schema: &Value, request: &Value) -> Option<String> {
    let mistakes = match Schema::new(schema) {
        Ok(schema) => schema.mistakes(request, NAMED),
        // what cannot be judged is not let through
        Err(why) => return Some(format!("it is no schema that requests can be judged by: {why}")),
    };
    let mistakes: Vec<String> = mistakes.iter().map(Mistake::to_string).collect();
    (!mistakes.is_empty()).then(|| mistakes.join("; "))
}

/// Refuses a task that its operator does not take, where somebody hears it who can mend it.
///
/// # Errors
/// If the rules of its operator refuse it.
pub fn refuse_unaccepted(config: &RunConfig, task: &Task) -> Result<(), WorkflowError> {
    refused(config, task).map_or(Ok(()), |why| Err(WorkflowError::Value(task.id.clone(), why)))
}

/// Why a task waits for somebody's word by these rules, if it does.
pub fn needs_approval(operator: &OperatorConfig, key: &str, task: &Task) -> Option<String> {
    let approve = operator.approve.as_ref()?;
    let Some(over) = &approve.over else {
        return Some(format!("waits for the approval of {}", people(&approve.by)));
    };
    let asked = core_ms(task)?;
    (core_h(asked) > over.core_h).then(|| {
        format!(
            "waits for the approval of {}: it asks for {} core hours, and `operators.{key}.approve.over.core_h` is {}",
            people(&approve.by),
            shown(core_h(asked)),
            over.core_h
        )
    })
}

/// Hours as a sentence has them.
pub fn shown(core_h: f64) -> String {
    let rounded = (core_h * 1000.0).round() / 1000.0;
    format!("{rounded}")
}

#[cfg(test)]
mod tests {
    use super::{Person, answerers, core_ms, cores, is_among, needs_approval, refused};
    use crate::model::config::RunConfig;
    use crate::model::workflow::Task;
    use serde_json::{Value, json};

    fn config(rules: Value) -> RunConfig {
        let mut operator = json!({"plugin": "builtin:experiment"});
        operator.as_object_mut().expect("an object").extend(rules.as_object().cloned().expect("an object"));
        let text = json!({"campaign": {"plugin": "builtin:workflow"}, "operators": {"robot": operator}});
        serde_json::from_value(text).expect("a configuration")
    }

    fn task(more: Value) -> Task {
        let mut task = json!({"id": "a", "operator": "robot"});
        task.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        serde_json::from_value(task).expect("a task")
    }

    #[test]
    fn a_request_is_judged_by_the_schema_of_its_operator() {
        let accepts = json!({"type": "object", "properties": {"temperature_c": {"maximum": 600}}});
        let config = config(json!({"accepts": accepts}));
        assert_eq!(refused(&config, &task(json!({"input": {"temperature_c": 600}}))), None);
        let why = refused(&config, &task(json!({"input": {"temperature_c": 601}}))).expect("refused");
        assert!(why.contains("`operators.robot.accepts`") && why.contains("`/temperature_c`: 601 is more"), "{why}");
        assert!(refused(&config, &task(json!({}))).expect("no input is null").contains("null is not of type object"));
    }

    #[test]
    fn core_hours_are_cores_times_walltime_and_nothing_is_counted_without_one() {
        let counts = [
            (json!({"walltime_s": 3600}), 1, Some(3_600_000)),
            (json!({"cores": 4, "walltime_s": 1.5}), 4, Some(6_000)),
            (json!({"cores": 4, "tasks": 3, "walltime_s": 1}), 12, Some(12_000)),
            (json!({"cores": 2, "nodes": 5, "tasks": 3, "walltime_s": 1}), 10, Some(10_000)),
            (json!({"cores": 4}), 4, None),
        ];
        for (resources, wide, long) in counts {
            let task = task(json!({"resources": resources}));
            assert_eq!((cores(task.resources.as_ref()), core_ms(&task)), (wide, long), "{task:?}");
        }
        for rules in [json!({"budget": {"core_h": 5}}), json!({"approve": {"by": ["pi"], "over": {"core_h": 5}}})] {
            let why = refused(&config(rules), &task(json!({}))).expect("refused");
            assert!(why.contains("resources.walltime_s"), "{why}");
        }
        for rules in [json!({"budget": {"attempts": 5}}), json!({"approve": {"by": ["pi"]}})] {
            assert_eq!(refused(&config(rules), &task(json!({}))), None);
        }
    }

    #[test]
    fn approval_is_needed_above_the_bound_or_always() {
        let needs = |rules: Value, task: &Task| {
            let config = config(rules);
            needs_approval(&config.operators["robot"], "robot", task)
        };
        let hour = task(json!({"resources": {"cores": 2, "walltime_s": 3600}}));
        assert_eq!(needs(json!({"approve": {"by": ["pi"], "over": {"core_h": 2}}}), &hour), None);
        let why = needs(json!({"approve": {"by": ["pi", 7], "over": {"core_h": 1.5}}}), &hour).expect("needed");
        assert!(why.contains("`pi` or uid 7") && why.contains("2 core hours"), "{why}");
        assert!(needs(json!({"approve": {"by": ["pi"]}}), &hour).is_some());
        assert!(needs(json!({}), &hour).is_none());
    }

    #[test]
    fn people_are_told_by_number_alone() {
        let by = [Person::Name("pi".to_owned()), Person::Number(7)];
        let number_of = |name: &str| (name == "pi").then_some(1000);
        for (user, is) in [(1000, true), (7, true), (0, false), (1001, false)] {
            assert_eq!(is_among(&by, user, &number_of), is, "{user}");
        }
        assert!(!is_among(&[Person::Name("7".to_owned())], 7, &|_| None), "a name of digits is a name");
        assert_eq!(answerers(Some(&json!({"approve": {"by": ["pi", 7]}}))), Some(by.to_vec()));
        assert_eq!(answerers(Some(&json!({"approve": "pi"}))), Some(Vec::new()));
        assert_eq!(answerers(Some(&json!({}))), None);
    }
}
