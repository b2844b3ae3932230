//! Campaigns and operators for MatterStack in Rust.
//!
//! A campaign implements [`Campaign`] and names it in [`export_campaign!`]; an operator implements [`Operator`] and
//! names it in [`export_operator!`]; both can embed a manifest. Build the crate (`crate-type = ["cdylib", "rlib"]`)
//! with `cargo build --release --target wasm32-wasip2`. Both traits are plain Rust, so `#[test]`s call them natively;
//! [`Context::first`] gives such tests what a run would say, [`artifacts::with_files`] the files that it would own.
//!
//! # A campaign
//!
//! It throws dice until it has seen a six. Its parameters and its state are types of its own; whatever it does follows
//! from its arguments alone, so that the run can be replayed.
//!
//! ```
//! use matterstack_sdk::{Campaign, Context, Decision, Error, Next, Outcome, Task, TaskResult, artifacts, json};
//! use serde::{Deserialize, Serialize};
//!
//! pub struct Dice;
//! matterstack_sdk::export_campaign!(Dice);
//!
//! #[derive(Deserialize)]
//! pub struct Params {
//!     dice: u32,
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! pub struct State {
//!     throws: u32,
//!     best: u32,
//! }
//!
//! impl Campaign for Dice {
//!     type Params = Params;
//!     type State = State;
//!
//!     fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
//!         let state = state.unwrap_or_default();
//!         if state.best == 6 {
//!             let result = json!({"throws": state.throws});
//!             return Ok(Decision::new(state, Next::Complete(result), "a six"));
//!         }
//!         let mut rng = ctx.rng();
//!         let throw = |die| {
//!             Task::new(format!("throw-{}-{die}", ctx.iteration), "local")
//!                 .shell(format!("echo {} > die", rng.below(6) + 1))
//!                 .output("die")
//!         };
//!         let tasks = (1..=ctx.params()?.dice).map(throw).collect();
//!         Ok(Decision::new(state, Next::Workflow(tasks), "no six so far"))
//!     }
//!
//!     fn analyze(_: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
//!         for result in results.iter().filter(|result| result.outcome == Outcome::Completed) {
//!             let file = result.output("die").ok_or_else(|| Error::invalid("no-die", "a throw left no `die`"))?;
//!             let eyes = artifacts::read_text(file)?.trim().parse().map_err(|_| Error::invalid("die", "no number"))?;
//!             state.throws += 1;
//!             state.best = state.best.max(eyes);
//!         }
//!         Ok(state)
//!     }
//! }
//!
//! // what a #[test] of the crate does
//! let ctx = Context::first(Params { dice: 2 });
//! let Next::Workflow(tasks) = Dice::plan(&ctx, None)?.next else { panic!("no tasks") };
//! assert_eq!(tasks.len(), 2);
//! let result = json!({"task": "throw-1-1", "outcome": "completed",
//!     "outputs": [{"path": "die", "sha256": "d", "size": 2}]});
//! let results = vec![serde_json::from_value(result)?];
//! let files = [("d".to_owned(), b"6\n".to_vec())];
//! let state = artifacts::with_files(files, || Dice::analyze(&ctx, State::default(), results))?;
//! assert!(matches!(Dice::plan(&ctx, Some(state))?.next, Next::Complete(_)));
//! # Ok::<(), Error>(())
//! ```
//!
//! # An operator
//!
//! It hands a task's command to the backend `local`, which the configuration must grant it. What `submit` returns comes
//! back as the attempt's handle; nothing else is remembered between two calls.
//!
//! ```
//! use matterstack_sdk::{Attempt, Collected, Error, Found, Operator, StatusReport, Submitted, Value, compute, json};
//!
//! pub struct Local;
//! matterstack_sdk::export_operator!(Local);
//!
//! impl Operator for Local {
//!     fn prepare(attempt: &Attempt) -> Result<Option<String>, Error> {
//!         match attempt.task::<Value>()?.get("command") {
//!             Some(_) => Ok(None),
//!             None => Err(Error::invalid("no-command", "the task has no `command`")),
//!         }
//!     }
//!
//!     fn submit(attempt: &Attempt) -> Result<Submitted, Error> {
//!         let task: Value = attempt.task()?;
//!         compute::submit("local", &json!({"command": task["command"]}).to_string())
//!     }
//!
//!     fn reconcile(_: &Attempt) -> Result<Found, Error> {
//!         compute::find("local")
//!     }
//!
//!     fn check_status(attempt: &Attempt) -> Result<StatusReport, Error> {
//!         compute::status("local", attempt.handle()?)
//!     }
//!
//!     fn collect_results(attempt: &Attempt) -> Result<Collected, Error> {
//!         compute::collect("local", attempt.handle()?).map(Collected::output)
//!     }
//!
//!     fn cancel(attempt: &Attempt) -> Result<(), Error> {
//!         compute::cancel("local", attempt.handle()?)
//!     }
//! }
//!
//! // what a #[test] of the crate does: `compute` itself is there only inside a host
//! let attempt = Attempt::first("a1", json!({"id": "a", "command": ["true"]}));
//! assert!(Local::prepare(&attempt).is_ok());
//! assert_eq!(Local::check_status(&attempt).unwrap_err().detail().code, "no-handle");
//! ```
pub mod artifacts;
#[doc(hidden)]
pub mod bindings;
pub mod campaign;
pub mod compute;
mod context;
pub mod decision;
mod error;
pub mod lifecycle;
pub mod log;
#[doc(hidden)]
pub mod manifest;
pub mod operator;
pub mod rng;
mod summary;
pub mod task;
pub mod work;

pub use campaign::{Campaign, Decision, Next};
pub use context::Context;
pub use error::{Detail, Error};
pub use operator::{Attempt, Collected, Found, Operator, Status, StatusReport, Submitted};
pub use rng::Rng;
pub use serde_json::{Value, json};
pub use summary::Summary;
pub use task::{Outcome, OutputFile, OutputPattern, RemotePlace, Task, TaskResult, Variable};
