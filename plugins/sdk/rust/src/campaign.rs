//! The campaign's side: pure decisions.
use crate::bindings::campaign::exports::matterstack::plugin::campaign_calls::Guest;
use crate::bindings::campaign::matterstack::plugin::{campaign_types as wit, types};
use crate::error::{Detail, Error};
use crate::rng::Rng;
use crate::task::{OutputFile, Task, TaskResult};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::marker::PhantomData;

/// Decides what a run does. Nothing but the arguments may matter: the host replays and audits every decision.
pub trait Campaign {
    /// `campaign.params` of the configuration.
    type Params: DeserializeOwned;
    /// What the campaign remembers between calls.
    type State: Serialize + DeserializeOwned;

    /// Decides what to do next. The first call of a run has no state. An error holds the run.
    fn plan(ctx: &Context<Self::Params>, state: Option<Self::State>) -> Result<Decision<Self::State>, Error>;

    /// Folds a batch of results, in task order, into the state. An error holds the run.
    fn analyze(ctx: &Context<Self::Params>, state: Self::State, results: Vec<TaskResult>)
    -> Result<Self::State, Error>;
}

/// What a decision may depend on, beside the state.
#[derive(Debug, Clone)]
pub struct Context<P> {
    /// The run's id.
    pub run_id: String,
    /// The iteration being planned or analyzed, from 1.
    pub iteration: u32,
    /// The number of this decision in the run, from 1.
    pub decision: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z, recorded once per decision.
    pub now_ms: u64,
    /// `campaign.seed` of the configuration.
    pub seed: u64,
    /// `campaign.params` of the configuration.
    pub params: P,
    /// The campaign's pinned inputs by name.
    pub inputs: BTreeMap<String, OutputFile>,
    /// What a person supplied when resuming after a hold, for one `plan`.
    pub supplied: Option<Value>,
}

impl<P> Context<P> {
    /// Makes the context of a first decision, for native tests.
    pub fn first(params: P) -> Self {
        Self {
            run_id: "test".into(),
            iteration: 1,
            decision: 1,
            now_ms: 0,
            seed: 0,
            params,
            inputs: BTreeMap::new(),
            supplied: None,
        }
    }

    /// Starts the random stream of this decision.
    pub fn rng(&self) -> Rng {
        Rng::new(self.seed, self.decision)
    }

    /// Returns the pinned input with this name, or an `invalid` error with the code `no-input`.
    pub fn input(&self, name: &str) -> Result<&OutputFile, Error> {
        self.inputs.get(name).ok_or_else(|| Error::invalid("no-input", format!("`campaign.inputs` has no `{name}`")))
    }
}

/// What the run does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Run these tasks.
    Workflow(Vec<Task>),
    /// Run these tasks, given as the text of a JSON array.
    RawWorkflow(String),
    /// Plan nothing now.
    Wait,
    /// The campaign has reached its end, with this result.
    Complete(Value),
    /// The campaign gives up.
    Fail(Detail),
    /// A person must decide.
    Hold(Detail),
}

/// The answer of `plan`.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<S> {
    /// The state after this decision.
    pub state: S,
    /// What the run does next.
    pub next: Next,
    /// One sentence on why, for the record.
    pub reason: String,
}

impl<S> Decision<S> {
    /// Joins state, next step and the sentence on why.
    pub fn new(state: S, next: Next, reason: impl Into<String>) -> Self {
        Self { state, next, reason: reason.into() }
    }
}

/// Carries a campaign to the generated bindings; named by [`export_campaign!`](crate::export_campaign).
#[doc(hidden)]
pub struct Exported<C>(PhantomData<C>);

impl<C: Campaign + 'static> Guest for Exported<C> {
    fn plan(ctx: wit::Context, state: Option<String>) -> Result<wit::Decision, types::Error> {
        let state = state.as_deref().map(parse_state).transpose()?;
        let decision = C::plan(&context(ctx)?, state)?;
        encode(decision).map_err(|error| Error::from(error).into())
    }

    fn analyze(ctx: wit::Context, state: String, finished: String) -> Result<String, types::Error> {
        let results = parse("results", &finished)?;
        let state = C::analyze(&context(ctx)?, parse_state(&state)?, results)?;
        serde_json::to_string(&state).map_err(|error| Error::from(error).into())
    }
}

fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::invalid(what, format!("cannot read {what}: {error}")))
}

fn parse_state<S: DeserializeOwned>(text: &str) -> Result<S, Error> {
    parse("state", text)
}

fn context<P: DeserializeOwned>(ctx: wit::Context) -> Result<Context<P>, Error> {
    let mut inputs: BTreeMap<String, OutputFile> = parse("inputs", &ctx.inputs)?;
    for (name, file) in &mut inputs {
        file.path.clone_from(name);
    }
    Ok(Context {
        run_id: ctx.run_id,
        iteration: ctx.iteration,
        decision: ctx.decision,
        now_ms: ctx.now_ms,
        seed: ctx.seed,
        params: parse("params", &ctx.params)?,
        inputs,
        supplied: ctx.supplied.as_deref().map(|text| parse("supplied", text)).transpose()?,
    })
}

fn encode<S: Serialize>(decision: Decision<S>) -> Result<wit::Decision, serde_json::Error> {
    let next = match decision.next {
        Next::Workflow(tasks) => wit::Next::Workflow(serde_json::to_string(&tasks)?),
        Next::RawWorkflow(text) => wit::Next::Workflow(text),
        Next::Wait => wit::Next::Wait,
        Next::Complete(result) => wit::Next::Complete(result.to_string()),
        Next::Fail(detail) => wit::Next::Fail(detail.into()),
        Next::Hold(detail) => wit::Next::Hold(detail.into()),
    };
    Ok(wit::Decision { state: serde_json::to_string(&decision.state)?, next, reason: decision.reason })
}

/// Exports a type that implements [`Campaign`] as this component's campaign.
#[macro_export]
macro_rules! export_campaign {
    ($campaign:ty) => {
        // a native linker does not take the names of a component's exports
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, reason = "exports of a component")]
        const _: () = {
            type Exported = $crate::campaign::Exported<$campaign>;
    $crate::bindings::campaign::__export_campaign_world!(Exported with_types_in $crate::bindings::campaign);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::task::Outcome;

    struct Echo;

    #[derive(Debug, Deserialize)]
    struct Params {
        next: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct State {
        seen: Vec<String>,
    }

    impl Campaign for Echo {
        type Params = Params;
        type State = State;

        fn plan(ctx: &Context<Params>, state: Option<State>) -> Result<Decision<State>, Error> {
            let state = state.unwrap_or(State { seen: vec![ctx.run_id.clone()] });
            let next = match ctx.params.next.as_str() {
                "workflow" => Next::Workflow(vec![Task::new("a", "local").command(["true"]).after("b")]),
                "raw" => Next::RawWorkflow("[1.50]".into()),
                "complete" => Next::Complete(json!({"supplied": ctx.supplied, "size": ctx.input("x")?.size})),
                "fail" => Next::Fail(Detail::new("gave-up", "no way")),
                "hold" => Next::Hold(Detail::new("ask", "which way")),
                "error" => return Err(Error::other("mine", "said no")),
                _ => Next::Wait,
            };
            Ok(Decision::new(state, next, "because"))
        }

        fn analyze(_: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
            let completed = results.into_iter().filter(|result| result.outcome == Outcome::Completed);
            state.seen.extend(completed.map(|result| result.task));
            Ok(state)
        }
    }

    fn wit_context(next: &str) -> wit::Context {
        wit::Context {
            run_id: "r".into(),
            iteration: 2,
            decision: 5,
            now_ms: 7,
            seed: 9,
            params: json!({"next": next}).to_string(),
            inputs: r#"{"x":{"sha256":"d","size":3}}"#.into(),
            supplied: Some("{\"way\":\"left\"}".into()),
        }
    }

    fn plan(next: &str) -> wit::Decision {
        Exported::<Echo>::plan(wit_context(next), None).unwrap()
    }

    #[test]
    fn a_context_is_read_whole() {
        let ctx: Context<Params> = context(wit_context("x")).unwrap();
        assert_eq!((ctx.run_id.as_str(), ctx.iteration, ctx.decision, ctx.now_ms, ctx.seed), ("r", 2, 5, 7, 9));
        assert_eq!((ctx.params.next.as_str(), ctx.supplied), ("x", Some(json!({"way": "left"}))));
        assert_eq!(ctx.inputs["x"], OutputFile { path: "x".into(), sha256: "d".into(), size: 3, remote: None });
    }

    #[test]
    fn a_context_that_cannot_be_read_says_which_part() {
        type Spoil = fn(&mut wit::Context);
        let cases: [(&str, Spoil); 3] = [
            ("params", |ctx| ctx.params = "{}".into()),
            ("inputs", |ctx| ctx.inputs = "[]".into()),
            ("supplied", |ctx| ctx.supplied = Some("{".into())),
        ];
        for (part, spoil) in cases {
            let mut given = wit_context("x");
            spoil(&mut given);
            let error = context::<Params>(given).unwrap_err();
            assert!(matches!(&error, Error::Invalid(detail) if detail.code == part), "{part}: {error}");
            assert!(error.detail().message.contains(&format!("cannot read {part}")), "{error}");
        }
    }

    #[test]
    fn every_decision_crosses() {
        let decision = plan("workflow");
        assert_eq!((decision.state.as_str(), decision.reason.as_str()), (r#"{"seen":["r"]}"#, "because"));
        let wit::Next::Workflow(tasks) = decision.next else { panic!("no workflow") };
        assert_eq!(tasks, r#"[{"id":"a","operator":"local","command":["true"],"depends_on":["b"]}]"#);
        assert!(matches!(plan("raw").next, wit::Next::Workflow(tasks) if tasks == "[1.50]"));
        assert!(matches!(plan("").next, wit::Next::Wait));
        assert!(
            matches!(plan("complete").next, wit::Next::Complete(r) if r == r#"{"size":3,"supplied":{"way":"left"}}"#)
        );
        assert!(matches!(plan("fail").next, wit::Next::Fail(detail) if detail.code == "gave-up"));
        assert!(matches!(plan("hold").next, wit::Next::Hold(detail) if detail.message == "which way"));
        let error = Exported::<Echo>::plan(wit_context("error"), None).unwrap_err();
        assert!(matches!(error, types::Error::Other(detail) if detail.code == "mine"));
    }

    #[test]
    fn states_and_results_are_read_and_what_is_none_is_refused() {
        let results = r#"[{"task":"a","outcome":"completed","new-key":1},{"task":"b","outcome":"failed","code":"x"}]"#;
        let analyze = |state: &str, results: &str| {
            Exported::<Echo>::analyze(wit_context(""), state.into(), results.into()).map_err(Error::from)
        };
        assert_eq!(analyze(r#"{"seen":[]}"#, results).unwrap(), r#"{"seen":["a"]}"#);
        assert_eq!(analyze("{}", results).unwrap_err().detail().code, "state");
        assert_eq!(
            analyze(r#"{"seen":[]}"#, r#"[{"task":"a","outcome":"vanished"}]"#).unwrap_err().detail().code,
            "results"
        );
        let state = Exported::<Echo>::plan(wit_context(""), Some(r#"{"seen":["kept"]}"#.into())).unwrap().state;
        assert_eq!(state, r#"{"seen":["kept"]}"#);
    }

    #[test]
    fn a_missing_input_is_named() {
        let error = Context::first(()).input("candidates").unwrap_err();
        assert_eq!(error.detail().code, "no-input");
        assert!(error.detail().message.contains("`candidates`"), "{error}");
    }

    #[test]
    fn randomness_repeats_and_differs_from_decision_to_decision() {
        let mut ctx = Context::first(());
        let first: Vec<u64> = (0..3).map(|_| ctx.rng().next_u64()).collect();
        assert!(first.iter().all(|number| *number == first[0]));
        ctx.decision = 2;
        assert_ne!(ctx.rng().next_u64(), first[0]);
        ctx.seed = 1;
        let mut rng = ctx.rng();
        assert!((0..1000).map(|_| rng.uniform()).all(|x| (0.0..1.0).contains(&x)));
        assert!((0..1000).map(|_| rng.below(3)).all(|n| n < 3));
    }
}
