//! The campaign's side: pure decisions.
use crate::bindings::campaign::exports::matterstack::plugin::campaign_calls::Guest;
use crate::bindings::campaign::matterstack::plugin::{campaign_types as wit, types};
use crate::context::{Context, parse};
use crate::error::{Detail, Error};
use crate::summary::Summary;
use crate::task::{Task, TaskResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::marker::PhantomData;

/// Decides what a run does. Nothing but the arguments may matter: the host replays and audits every decision.
pub trait Campaign {
    /// `campaign.params` of the configuration.
    type Params: DeserializeOwned;
    /// What the campaign remembers between calls.
    type State: Serialize + DeserializeOwned;

    /// Decides what to do next. The first call of a run has no state. An error holds the run.
    fn plan(ctx: &Context<Self::Params>, state: Option<Self::State>) -> Result<Decision<Self::State>, Error>;

    /// Folds a batch of results into the state: in task order, and with `"analyze": "each-result"` in the manifest in
    /// the order in which the tasks ended. An error holds the run.
    fn analyze(ctx: &Context<Self::Params>, state: Self::State, results: Vec<TaskResult>)
    -> Result<Self::State, Error>;

    /// How far the campaign has come with this state, for the people who watch it; asked after `plan` and `analyze`.
    fn summary(_state: &Self::State) -> Option<Summary> {
        None
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
    /// Tasks that are no longer wanted, by id: those that have not ended are cancelled, and their results say so.
    pub cancel: Vec<String>,
    /// When to ask again, with `time` among the reasons, though nothing ended; milliseconds since 1970-01-01T00:00:00Z.
    /// A later plan sets it anew.
    pub wake_at_ms: Option<u64>,
    /// Whether tasks of the run that are planned again unchanged are passed over. Without it they are refused.
    pub skip_known: bool,
}

impl<S> Decision<S> {
    /// Joins state, next step and the sentence on why.
    pub fn new(state: S, next: Next, reason: impl Into<String>) -> Self {
        Self { state, next, reason: reason.into(), cancel: Vec::new(), wake_at_ms: None, skip_known: false }
    }

    /// Adds tasks that are no longer wanted, by id.
    pub fn cancel<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.cancel.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Sets when to ask again though nothing ended, in milliseconds since 1970-01-01T00:00:00Z.
    pub fn wake_at_ms(mut self, at_ms: u64) -> Self {
        self.wake_at_ms = Some(at_ms);
        self
    }

    /// Passes over tasks of the run that are planned again unchanged.
    pub fn skipping_known(mut self) -> Self {
        self.skip_known = true;
        self
    }
}

/// Carries a campaign to the generated bindings; named by [`export_campaign!`](crate::export_campaign).
#[doc(hidden)]
pub struct Exported<C>(PhantomData<C>);

impl<C: Campaign + 'static> Guest for Exported<C> {
    fn plan(ctx: wit::Context, state: Option<String>) -> Result<wit::Decision, types::Error> {
        let state = state.as_deref().map(|text| parse("state", text)).transpose()?;
        let decision = C::plan(&Context::of(ctx), state)?;
        encode::<C>(decision).map_err(|error| Error::from(error).into())
    }

    fn analyze(ctx: wit::Context, state: String, finished: String) -> Result<wit::Folded, types::Error> {
        let results = parse("results", &finished)?;
        let state = C::analyze(&Context::of(ctx), parse("state", &state)?, results)?;
        let folded =
            || Ok(wit::Folded { summary: summary::<C>(&state)?, state: serde_json::to_string(&state)?, more: None });
        folded().map_err(|error: serde_json::Error| Error::from(error).into())
    }
}

fn summary<C: Campaign>(state: &C::State) -> Result<Option<String>, serde_json::Error> {
    C::summary(state).map(|summary| serde_json::to_string(&summary)).transpose()
}

fn encode<C: Campaign>(decision: Decision<C::State>) -> Result<wit::Decision, serde_json::Error> {
    let next = match decision.next {
        Next::Workflow(tasks) => wit::Next::Workflow(serde_json::to_string(&tasks)?),
        Next::RawWorkflow(text) => wit::Next::Workflow(text),
        Next::Wait => wit::Next::Wait,
        Next::Complete(result) => wit::Next::Complete(result.to_string()),
        Next::Fail(detail) => wit::Next::Fail(detail.into()),
        Next::Hold(detail) => wit::Next::Hold(detail.into()),
    };
    Ok(wit::Decision {
        summary: summary::<C>(&decision.state)?,
        state: serde_json::to_string(&decision.state)?,
        next,
        cancel: decision.cancel,
        wake_at_ms: decision.wake_at_ms,
        reason: decision.reason,
        more: decision.skip_known.then(|| r#"{"known":"skip"}"#.to_owned()),
    })
}

/// Exports a type that implements [`Campaign`] as this component's campaign. `manifest:` and a constant text embed what
/// the campaign says of itself: a JSON object with `format` (1), `name`, `version`, `authors`, `licence`, `analyze`
/// (`workflow` or `each-result`: when results are folded in), `takes_back` (whether it can take results back), `params`
/// (the JSON Schema of `campaign.params`) and `grants`; all but `format` may be left out.
///
/// ```
/// # use matterstack_sdk::{Campaign, Context, Decision, Error, Next, TaskResult};
/// # pub struct Idle;
/// # impl Campaign for Idle {
/// #     type Params = ();
/// #     type State = ();
/// #     fn plan(_: &Context<()>, _: Option<()>) -> Result<Decision<()>, Error> {
/// #         Ok(Decision::new((), Next::Wait, "idle"))
/// #     }
/// #     fn analyze(_: &Context<()>, _: (), _: Vec<TaskResult>) -> Result<(), Error> {
/// #         Ok(())
/// #     }
/// # }
/// matterstack_sdk::export_campaign!(Idle, manifest: r#"{"format": 1, "name": "idle", "analyze": "each-result"}"#);
/// ```
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
    ($campaign:ty, manifest: $manifest:expr) => {
        $crate::export_campaign!($campaign);
        $crate::__embed_manifest!($manifest);
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::tests::given;
    use crate::json;
    use crate::task::Outcome;
    use serde::Deserialize;

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
            let state = state.unwrap_or(State { seen: vec![ctx.run_id().to_owned()] });
            let next = match ctx.params()?.next.as_str() {
                "workflow" => Next::Workflow(vec![Task::new("a", "local").command(["true"]).after("b")]),
                "raw" => Next::RawWorkflow("[1.50]".into()),
                "complete" => Next::Complete(json!({"supplied": ctx.supplied()?, "size": ctx.input("x")?.size})),
                "fail" => Next::Fail(Detail::new("gave-up", "no way")),
                "hold" => Next::Hold(Detail::new("ask", "which way")),
                "error" => return Err(Error::other("mine", "said no")),
                _ => Next::Wait,
            };
            let decision = Decision::new(state, next, "because");
            Ok(if ctx.params()?.next == "raw" {
                decision.cancel(["b"]).wake_at_ms(8).skipping_known()
            } else {
                decision
            })
        }

        fn analyze(_: &Context<Params>, mut state: State, results: Vec<TaskResult>) -> Result<State, Error> {
            let completed = results.into_iter().filter(|result| result.outcome == Outcome::Completed);
            state.seen.extend(completed.map(|result| result.task));
            Ok(state)
        }

        fn summary(state: &State) -> Option<Summary> {
            state.seen.last().map(Summary::new)
        }
    }

    fn wit_context(next: &str) -> wit::Context {
        given(json!({"next": next}))
    }

    fn plan(next: &str) -> wit::Decision {
        Exported::<Echo>::plan(wit_context(next), None).unwrap()
    }

    #[test]
    fn every_decision_crosses() {
        let decision = plan("workflow");
        assert_eq!((decision.state.as_str(), decision.reason.as_str()), (r#"{"seen":["r"]}"#, "because"));
        let wit::Next::Workflow(tasks) = decision.next else { panic!("no workflow") };
        assert_eq!(tasks, r#"[{"id":"a","operator":"local","command":["true"],"depends_on":["b"]}]"#);
        assert_eq!(
            (decision.summary.as_deref(), decision.more, decision.wake_at_ms),
            (Some(r#"{"text":"r"}"#), None, None)
        );
        assert!(decision.cancel.is_empty());
        let raw = plan("raw");
        assert!(matches!(raw.next, wit::Next::Workflow(tasks) if tasks == "[1.50]"));
        assert_eq!((raw.cancel, raw.wake_at_ms), (vec!["b".to_owned()], Some(8)));
        assert_eq!(raw.more.as_deref(), Some(r#"{"known":"skip"}"#));
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
        let folded = analyze(r#"{"seen":[]}"#, results).unwrap();
        assert_eq!((folded.state.as_str(), folded.summary.as_deref()), (r#"{"seen":["a"]}"#, Some(r#"{"text":"a"}"#)));
        let folded = analyze(r#"{"seen":[]}"#, "[]").unwrap();
        assert_eq!((folded.summary, folded.more), (None, None));
        assert_eq!(analyze("{}", results).unwrap_err().detail().code, "state");
        assert_eq!(
            analyze(r#"{"seen":[]}"#, r#"[{"task":"a","outcome":"vanished"}]"#).unwrap_err().detail().code,
            "results"
        );
        let state = Exported::<Echo>::plan(wit_context(""), Some(r#"{"seen":["kept"]}"#.into())).unwrap().state;
        assert_eq!(state, r#"{"seen":["kept"]}"#);
    }
}
