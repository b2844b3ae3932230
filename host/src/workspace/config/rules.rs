//! Rules of operators that cannot be meant: a schema that nothing can be judged by, a bound that is none, an approval
//! that nobody can give.
use super::layers::Wrong;
use crate::model::config::{OperatorConfig, RunConfig};
use crate::model::document;
use crate::model::rules::Person;
use matterstack_schema::Schema;

/// Refuses rules by which no task of an operator could be judged.
pub(super) fn check(config: &RunConfig) -> Result<(), Wrong> {
    config.operators.iter().try_for_each(|(key, operator)| {
        check_accepts(key, operator)?;
        check_budget(key, operator)?;
        check_approve(key, operator)
    })
}

fn wrong(key: &str, part: &str, why: &str) -> Wrong {
    let place = format!("operators.{key}.{part}");
    Wrong::new(&place, format!("{place} {why}"))
}

fn check_accepts(key: &str, operator: &OperatorConfig) -> Result<(), Wrong> {
    let Some(accepts) = &operator.accepts else { return Ok(()) };
    if let Err(fault) = document::check(&accepts.to_string()) {
        return Err(wrong(key, "accepts", "cannot be taken as it stands").because(fault.sentence()));
    }
    let judged = Schema::new(accepts).map(drop);
    judged.map_err(|why| {
        wrong(key, "accepts", "is no JSON Schema that requests can be judged by")
            .because(why)
            .hint("write it in draft 2020-12, whole: nothing is fetched, and what it refers to stands in its `$defs`")
    })
}

fn check_budget(key: &str, operator: &OperatorConfig) -> Result<(), Wrong> {
    let Some(budget) = &operator.budget else { return Ok(()) };
    if budget.attempts.is_none() && budget.core_h.is_none() {
        return Err(wrong(key, "budget", "names no bound").hint("give `attempts`, `core_h` or both"));
    }
    match budget.core_h {
        Some(hours) => check_hours(key, "budget.core_h", hours),
        None => Ok(()),
    }
}

fn check_approve(key: &str, operator: &OperatorConfig) -> Result<(), Wrong> {
    let Some(approve) = &operator.approve else { return Ok(()) };
    if approve.by.is_empty() {
        return Err(wrong(key, "approve.by", "names nobody").hint("name users, such as [\"pi\"], or their numbers"));
    }
    let plain =
        |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_control() || c.is_whitespace() || c == ':');
    let mut named = approve.by.iter().filter_map(|person| match person {
        Person::Name(name) => Some(name),
        Person::Number(_) => None,
    });
    if let Some(name) = named.find(|name| !plain(name)) {
        return Err(wrong(key, "approve.by", &format!("has `{}`, which is no user's name", name.escape_debug())));
    }
    match &approve.over {
        Some(over) => check_hours(key, "approve.over.core_h", over.core_h),
        None => Ok(()),
    }
}

fn check_hours(key: &str, part: &str, hours: f64) -> Result<(), Wrong> {
    if hours >= 0.0 && hours.is_finite() {
        return Ok(());
    }
    Err(wrong(key, part, &format!("is {hours}; it is a number of core hours, and not negative")))
}
