//! Weighs: a task says how many grams it takes, and this operator alone knows the command.
use matterstack_sdk::{Attempt, Collected, Error, Found, Operator, StatusReport, Submitted, compute, json};
use serde::Deserialize;

pub struct Balance;

matterstack_sdk::export_operator!(Balance, manifest: include_str!("manifest.json"));

/// What this operator needs of a task; the other keys are not its business.
#[derive(Deserialize)]
struct Task {
    input: Sample,
}

#[derive(Deserialize)]
struct Sample {
    grams: f64,
}

/// The one backend that the configuration grants.
fn backend() -> Result<String, Error> {
    let mut granted = compute::backends();
    let name = granted.pop().filter(|_| granted.is_empty());
    name.ok_or_else(|| Error::invalid("backend", "grant this operator one compute backend"))
}

impl Operator for Balance {
    /// Makes ready and checks; may be called again after a crash. What it refuses with `invalid` is not tried again. A
    /// document that it returns is in `attempt.prepared` from then on.
    fn prepare(attempt: &Attempt) -> Result<Option<String>, Error> {
        let grams = attempt.task::<Task>()?.input.grams;
        if !(grams > 0.0 && grams <= 200.0) {
            return Err(Error::invalid("grams", format!("{grams} g do not go on this balance: 0 to 200 do")));
        }
        Ok(None)
    }

    /// Carries it outside. The host calls this once for an attempt, and keeps the handle that it returns.
    fn submit(attempt: &Attempt) -> Result<Submitted, Error> {
        let grams = attempt.task::<Task>()?.input.grams;
        let job = json!({"command": ["awk", format!("BEGIN {{ print {grams} * 1.0002 }}")]});
        compute::submit(&backend()?, &job.to_string())
    }

    /// Where the answer of `submit` was lost, tells whether it took effect: the outside knows attempts by their key.
    fn reconcile(_: &Attempt) -> Result<Found, Error> {
        compute::find(&backend()?)
    }

    fn check_status(attempt: &Attempt) -> Result<StatusReport, Error> {
        compute::status(&backend()?, attempt.handle()?)
    }

    /// Brings what the job left into the attempt directory, which it sees as `/work`, and returns an output document.
    fn collect_results(attempt: &Attempt) -> Result<Collected, Error> {
        compute::collect(&backend()?, attempt.handle()?).map(Collected::output)
    }

    fn cancel(attempt: &Attempt) -> Result<(), Error> {
        compute::cancel(&backend()?, attempt.handle()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_balance_does_not_carry_is_refused() {
        let attempt = |grams: f64| Attempt::first("a1", json!({"id": "a", "input": {"grams": grams}}));
        assert!(Balance::prepare(&attempt(12.5)).is_ok());
        assert_eq!(Balance::prepare(&attempt(90000.0)).unwrap_err().detail().code, "grams");
    }
}
