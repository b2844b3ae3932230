//! What a decision may depend on, beside the state.
use crate::bindings::campaign::matterstack::plugin::campaign_types as wit;
#[cfg(not(test))]
use crate::bindings::campaign::matterstack::plugin::run;
use crate::error::Error;
use crate::rng::Rng;
use crate::task::OutputFile;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
#[cfg(test)]
use tests::run;

/// Ids of open tasks that are returned at once.
const OPEN_TASKS_MAX: u32 = 10_000;

/// What a decision may depend on, beside the state. What methods return is asked of the run when it is first needed,
/// and at most once in a call.
#[derive(Debug, Clone)]
pub struct Context<P> {
    /// The number of this decision in the run, from 1; `plan` and `analyze` count alike.
    pub decision: u64,
    /// For `plan` the iteration that would be planned, from 1; for `analyze` the newest one planned.
    pub iteration: u32,
    /// Milliseconds since 1970-01-01T00:00:00Z, recorded once per decision.
    pub now_ms: u64,
    /// `campaign.seed` of the configuration.
    pub seed: u64,
    /// Why `plan` is asked, sorted, an open set: `changed` (a person amended what the campaign goes by), `first`,
    /// `reopened` (the run had ended), `results` (the state has results that no plan has seen), `resumed`, `time`
    /// ([`Decision::wake_at_ms`](crate::Decision::wake_at_ms) has come), `waited` (the plan before did nothing). Empty
    /// for `analyze`.
    pub asked: Vec<String>,
    /// Tasks that are planned and have not ended.
    pub open_tasks: u64,
    given: Given<P>,
}

/// What the run has given so far.
#[derive(Debug, Clone)]
struct Given<P> {
    run_id: OnceCell<String>,
    params: OnceCell<P>,
    inputs: OnceCell<BTreeMap<String, OutputFile>>,
    supplied: OnceCell<Option<Value>>,
    /// The ids of all open tasks, sorted: only in native tests.
    open_tasks: Option<Vec<String>>,
    /// How many random numbers were drawn.
    drawn: Cell<u64>,
}

impl<P> Given<P> {
    fn nothing() -> Self {
        Self {
            run_id: OnceCell::new(),
            params: OnceCell::new(),
            inputs: OnceCell::new(),
            supplied: OnceCell::new(),
            open_tasks: None,
            drawn: Cell::new(0),
        }
    }
}

impl<P> Context<P> {
    pub(crate) fn of(ctx: wit::Context) -> Self {
        let wit::Context { decision, iteration, now_ms, seed, asked, open_tasks, more: _ } = ctx;
        Self { decision, iteration, now_ms, seed, asked, open_tasks, given: Given::nothing() }
    }

    /// Makes the context of a first decision, for native tests; the run gives these parameters, no inputs, and nothing
    /// that a person supplied.
    pub fn first(params: P) -> Self {
        let given = Given {
            run_id: OnceCell::from("test".to_owned()),
            params: OnceCell::from(params),
            inputs: OnceCell::from(BTreeMap::new()),
            supplied: OnceCell::from(None),
            open_tasks: Some(Vec::new()),
            drawn: Cell::new(0),
        };
        Self { decision: 1, iteration: 1, now_ms: 0, seed: 0, asked: vec!["first".to_owned()], open_tasks: 0, given }
    }

    /// Lets the run have this id, for native tests.
    pub fn with_run_id(mut self, id: impl Into<String>) -> Self {
        self.given.run_id = OnceCell::from(id.into());
        self
    }

    /// Lets the run give these parameters, for native tests.
    pub fn with_params(mut self, params: P) -> Self {
        self.given.params = OnceCell::from(params);
        self
    }

    /// Lets the run give these inputs (name, SHA-256, bytes), for native tests. Their content is read through
    /// [`artifacts::with_files`](crate::artifacts::with_files).
    pub fn with_inputs<'a>(mut self, inputs: impl IntoIterator<Item = (&'a str, &'a str, u64)>) -> Self {
        let input = |(name, sha256, size): (&str, &str, u64)| {
            let file = OutputFile { path: name.to_owned(), sha256: sha256.to_owned(), size, remote: None };
            (name.to_owned(), file)
        };
        self.given.inputs = OnceCell::from(inputs.into_iter().map(input).collect::<BTreeMap<_, _>>());
        self
    }

    /// Lets the run give what a person supplied when resuming, for native tests.
    pub fn with_supplied(mut self, supplied: Value) -> Self {
        self.given.supplied = OnceCell::from(Some(supplied));
        self
    }

    /// Lets the run have these open tasks and no others, for native tests.
    pub fn with_open_tasks<S: Into<String>>(mut self, ids: impl IntoIterator<Item = S>) -> Self {
        let mut ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        ids.sort_unstable();
        self.open_tasks = ids.len() as u64;
        self.given.open_tasks = Some(ids);
        self
    }

    /// Whether this is among the reasons why `plan` is asked.
    pub fn is_asked(&self, reason: &str) -> bool {
        self.asked.iter().any(|asked| asked == reason)
    }

    /// Returns the next random number from 0 up to but without 1: the first 53 bits of the SHA-256 of the text
    /// `SEED DECISION COUNTER`, where the counter begins with 0 in each call. Every SDK gives the same numbers.
    pub fn random(&self) -> f64 {
        let counter = self.given.drawn.replace(self.given.drawn.get() + 1);
        let digest = Sha256::digest(format!("{} {} {counter}", self.seed, self.decision));
        let bits = digest.iter().take(8).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Starts a fast random stream of this decision.
    pub fn rng(&self) -> Rng {
        Rng::new(self.seed, self.decision)
    }

    /// The run's id.
    pub fn run_id(&self) -> &str {
        self.given.run_id.get_or_init(run::id)
    }

    /// The campaign's pinned inputs by name. Fails with `invalid` if they cannot be read.
    pub fn inputs(&self) -> Result<&BTreeMap<String, OutputFile>, Error> {
        once(&self.given.inputs, || {
            let mut inputs: BTreeMap<String, OutputFile> = parse("inputs", &run::inputs())?;
            for (name, file) in &mut inputs {
                file.path.clone_from(name);
            }
            Ok(inputs)
        })
    }

    /// Returns the pinned input with this name. Fails with `invalid`, and the code `no-input` if there is none.
    pub fn input(&self, name: &str) -> Result<&OutputFile, Error> {
        let input = self.inputs()?.get(name);
        input.ok_or_else(|| Error::invalid("no-input", format!("`campaign.inputs` has no `{name}`")))
    }

    /// What a person supplied when resuming after a hold, for one `plan`. Fails with `invalid` if it cannot be read.
    pub fn supplied(&self) -> Result<Option<&Value>, Error> {
        let supplied =
            once(&self.given.supplied, || run::supplied().as_deref().map(|text| parse("supplied", text)).transpose())?;
        Ok(supplied.as_ref())
    }

    /// Ids of tasks that have not ended, sorted by their bytes, of those behind `after`: at most `max`, and at most
    /// 10000.
    pub fn open_tasks_after(&self, after: Option<&str>, max: u32) -> Vec<String> {
        let Some(open) = &self.given.open_tasks else { return run::open_tasks(after, max) };
        let behind = open.iter().filter(|id| after.is_none_or(|after| id.as_str() > after));
        behind.take(max.min(OPEN_TASKS_MAX) as usize).cloned().collect()
    }
}

impl<P: DeserializeOwned> Context<P> {
    /// `campaign.params` of the configuration. Fails with `invalid` if they cannot be read.
    pub fn params(&self) -> Result<&P, Error> {
        once(&self.given.params, || parse("params", &run::params()))
    }
}

/// What a cell holds, or else what is asked for now and held from now on.
fn once<T>(cell: &OnceCell<T>, ask: impl FnOnce() -> Result<T, Error>) -> Result<&T, Error> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = ask()?;
    Ok(cell.get_or_init(|| value))
}

/// Reads a document of the host. Fails with `invalid`, and with what it is as the code.
pub(crate) fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::invalid(what, format!("cannot read {what}: {error}")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::json;

    /// The import `run`, for tests of the SDK itself: it gives texts that a test sets.
    pub(crate) mod run {
        use std::cell::RefCell;

        #[derive(Clone, Default)]
        pub(crate) struct Texts {
            pub(crate) params: String,
            pub(crate) inputs: String,
            pub(crate) supplied: Option<String>,
            /// How often anything was asked for.
            pub(crate) asked: usize,
        }

        thread_local! {
            pub(crate) static TEXTS: RefCell<Texts> = RefCell::default();
        }

        fn ask<T>(get: impl FnOnce(&Texts) -> T) -> T {
            TEXTS.with_borrow_mut(|texts| {
                texts.asked += 1;
                get(texts)
            })
        }

        pub(crate) fn id() -> String {
            ask(|_| "r".to_owned())
        }

        pub(crate) fn params() -> String {
            ask(|texts| texts.params.clone())
        }

        pub(crate) fn inputs() -> String {
            ask(|texts| texts.inputs.clone())
        }

        pub(crate) fn supplied() -> Option<String> {
            ask(|texts| texts.supplied.clone())
        }

        pub(crate) fn open_tasks(after: Option<&str>, max: u32) -> Vec<String> {
            ask(|_| vec![format!("{after:?} {max}")])
        }
    }

    /// A context as the host gives it; the run gives these parameters.
    pub(crate) fn given(params: Value) -> wit::Context {
        run::TEXTS.set(run::Texts {
            params: params.to_string(),
            inputs: r#"{"x":{"sha256":"d","size":3}}"#.into(),
            supplied: Some("{\"way\":\"left\"}".into()),
            asked: 0,
        });
        wit::Context {
            iteration: 2,
            decision: 5,
            now_ms: 7,
            seed: 9,
            asked: vec!["results".into(), "time".into()],
            open_tasks: 4,
            more: "{}".into(),
        }
    }

    #[test]
    fn what_the_run_gives_is_asked_for_once_and_when_it_is_needed() {
        let ctx: Context<Value> = Context::of(given(json!({"n": 1})));
        let asked = || run::TEXTS.with_borrow(|texts| texts.asked);
        assert_eq!((ctx.iteration, ctx.decision, ctx.now_ms, ctx.seed, ctx.open_tasks), (2, 5, 7, 9, 4));
        assert!(ctx.is_asked("time") && !ctx.is_asked("first"));
        assert_eq!(asked(), 0);
        for _ in 0..2 {
            assert_eq!((ctx.run_id(), ctx.params().unwrap()), ("r", &json!({"n": 1})));
            assert_eq!(ctx.supplied().unwrap(), Some(&json!({"way": "left"})));
            let file = OutputFile { path: "x".into(), sha256: "d".into(), size: 3, remote: None };
            assert_eq!(ctx.input("x").unwrap(), &file);
            assert_eq!(asked(), 4);
        }
        assert_eq!(ctx.open_tasks_after(Some("a"), 7), ["Some(\"a\") 7"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let ctx: Context<BTreeMap<String, u32>> = Context::of(given(json!({"n": "one"})));
        run::TEXTS.with_borrow_mut(|texts| (texts.inputs, texts.supplied) = ("[]".into(), Some("{".into())));
        let errors = [
            ("params", ctx.params().unwrap_err()),
            ("inputs", ctx.input("x").unwrap_err()),
            ("supplied", ctx.supplied().unwrap_err()),
        ];
        for (part, error) in errors {
            assert!(matches!(&error, Error::Invalid(detail) if detail.code == part), "{part}: {error}");
            assert!(error.detail().message.contains(&format!("cannot read {part}")), "{error}");
        }
    }

    #[test]
    fn a_test_gives_what_a_run_would() {
        let ctx = Context::first(1).with_params(2).with_run_id("mine").with_supplied(json!(3));
        assert_eq!((ctx.run_id(), ctx.params().unwrap(), ctx.supplied().unwrap()), ("mine", &2, Some(&json!(3))));
        assert!(ctx.is_asked("first"));
        let error = ctx.input("candidates").unwrap_err();
        assert_eq!(error.detail().code, "no-input");
        assert!(error.detail().message.contains("`candidates`"), "{error}");
        assert_eq!(ctx.with_inputs([("candidates", "d", 3)]).input("candidates").unwrap().size, 3);
    }

    #[test]
    fn open_tasks_come_in_parts() {
        let ctx = Context::first(()).with_open_tasks(["b", "a", "c"]);
        assert_eq!(ctx.open_tasks, 3);
        assert_eq!(ctx.open_tasks_after(None, 2), ["a", "b"]);
        assert_eq!(ctx.open_tasks_after(Some("b"), 2), ["c"]);
        assert!(ctx.open_tasks_after(Some("c"), 2).is_empty() && ctx.open_tasks_after(None, 0).is_empty());
    }

    #[test]
    fn randomness_repeats_and_differs_from_decision_to_decision() {
        let mut ctx = Context::first(());
        let first: Vec<u64> = (0..3).map(|_| ctx.rng().next_u64()).collect();
        assert!(first.iter().all(|number| *number == first[0]));
        ctx.decision = 2;
        assert_ne!(ctx.rng().next_u64(), first[0]);
        ctx.seed = 1;
        (ctx.seed, ctx.decision) = (42, 7);
        assert_eq!([ctx.random(), ctx.random()], [0.9648978529284752, 0.8709958061309743]);
        let mut rng = ctx.rng();
        assert!((0..1000).map(|_| rng.uniform()).all(|x| (0.0..1.0).contains(&x)));
        assert!((0..1000).map(|_| rng.below(3)).all(|n| n < 3));
    }
}
