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
