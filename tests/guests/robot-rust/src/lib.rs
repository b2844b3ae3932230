//! The test operator in Rust: it runs commands on the backend `local`, under handles and names of its own. The
//! operators of `loop-python`, `loop-javascript` and `loop-typescript` do the same.
use matterstack_sdk::{
    Attempt, Collected, Detail, Error, Found, Operator, Status, StatusReport, Submitted, Value, compute, json, log,
};
use serde::Deserialize;

const BACKEND: &str = "local";

/// The operator.
pub struct Robot;

matterstack_sdk::export_operator!(Robot);

/// What is needed of a task.
#[derive(Deserialize)]
struct Task {
    id: String,
    #[serde(default)]
    command: Option<Value>,
}

/// What `prepare` returns.
#[derive(Deserialize)]
struct Prepared {
    number: u32,
}

/// `operators.<key>.config`.
#[derive(Deserialize)]
struct Config {
    unit: String,
}

/// What this operator knows an attempt by.
#[derive(Deserialize)]
struct Handle {
    job: Value,
}

impl Operator for Robot {
    fn prepare(attempt: &Attempt) -> Result<Option<String>, Error> {
        let task: Task = attempt.task()?;
        if task.command.is_none() {
            return Err(Error::invalid("no-command", format!("the task `{}` has no `command`", task.id)));
        }
        Ok(Some(json!({"number": attempt.number}).to_string()))
    }

    fn submit(attempt: &Attempt) -> Result<Submitted, Error> {
        let task: Task = attempt.task()?;
        let Prepared { number } = serde_json::from_str(attempt.prepared.as_deref().unwrap_or_default())?;
        log::info(format!("attempt {number} of {}", task.id));
        let job = json!({"command": task.command, "env": {"NUMBER": number.to_string()}});
        wrapped(compute::submit(BACKEND, &job.to_string())?, "µ", &task)
    }

    fn reconcile(attempt: &Attempt) -> Result<Found, Error> {
        Ok(match compute::find(BACKEND)? {
            Found::Yes(submitted) => Found::Yes(wrapped(submitted, "again", &attempt.task()?)?),
            undecided => undecided,
        })
    }

    fn check_status(attempt: &Attempt) -> Result<StatusReport, Error> {
        let mut report = compute::status(BACKEND, &job(attempt)?)?;
        report.handle = None;
        if matches!(report.status, Status::Failed(_)) && attempt.task::<Task>()?.id == "odd" {
            let detail = Detail::new("odd", "this is an odd one").with_data(json!({"line": attempt.number}));
            report.status = Status::Failed(detail);
        }
        Ok(report)
    }

    fn collect_results(attempt: &Attempt) -> Result<Collected, Error> {
        let record: Value = serde_json::from_str(&compute::collect(BACKEND, &job(attempt)?)?)?;
        let Config { unit } = attempt.config()?;
        let output = json!({"code": record["code"], "number": attempt.number, "unit": unit});
        Ok(Collected { output: Some(output.to_string()), usage: Some(json!({"cpu_s": 1.5}).to_string()) })
    }

    fn cancel(attempt: &Attempt) -> Result<(), Error> {
        compute::cancel(BACKEND, &job(attempt)?)
    }
}

fn wrapped(submitted: Submitted, by: &str, task: &Task) -> Result<Submitted, Error> {
    let job: Value = serde_json::from_str(&submitted.handle)?;
    Ok(Submitted::new(json!({"job": job}).to_string()).known_as(format!("{by}-{}", task.id)))
}

fn job(attempt: &Attempt) -> Result<String, Error> {
    let Handle { job } = serde_json::from_str(attempt.handle()?)?;
    Ok(job.to_string())
}
