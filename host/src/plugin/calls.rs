//! Calls: each in a fresh instance, with its limits, and told apart by how it ended.
use super::bindings::campaign::CampaignPre;
use super::bindings::campaign::exports::matterstack::plugin::campaign_calls as campaign_wit;
use super::bindings::campaign::matterstack::plugin::types;
use super::bindings::operator::ComputeOperator;
use super::bindings::operator::exports::matterstack::plugin::operator_calls as operator_wit;
use super::border::{
    attempt_to_wit, collected_from_wit, context_to_wit, decision_from_wit, folded_from_wit, found_from_wit, from_wit,
    prepared_from_wit, report_from_wit, submitted_from_wit,
};
use super::capture::Capture;
use super::chance::Chance;
use super::error::{PluginError, PluginErrorKind};
use super::host::{CallResult, LoadedOperator, Operator, PluginHost, error, unstarted};
use super::native::{NOTHING_MORE, PluginSource};
use super::state::{CallState, CalledAttempt, Deadline, Sight};
use super::{Answer, Plugins, wasi};
use crate::model::code::Code;
use crate::model::contract::{
    AttemptRequest, Collected, Context, Decision, Folded, Found, GuestError, Next, Reads, StatusReport, Submitted,
};
use crate::model::evidence::EngineRecord;
use crate::model::id::OperatorKey;
use crate::model::limit::Bound;
use std::collections::BTreeMap;
use std::path::PathBuf;
use wasmtime::component::ResourceTableError;
use wasmtime::{Engine, Store, Trap};

/// Fuel between two looks at the fuse of a campaign: some tens of microseconds.
const FUEL_BETWEEN_LOOKS: u64 = 100_000;
/// Documents of the largest size that may cross the border at once. What is a little too large is refused here, and by
/// name; beyond that wasmtime refuses it, and in no way that could be told from other bad output.
const DOCUMENTS_AT_ONCE: usize = 2;
/// Bytes that may cross the border beside them.
const BESIDE_DOCUMENTS: usize = 1024 * 1024;

/// What a call gave back: nothing if it passed its deadline, else an answer, or how it ended without one.
type Answered<T> = Option<wasmtime::Result<Result<T, types::Error>>>;

/// How a call ended that could not be begun: the plugin's own doing, such as a limit, or the machine's.
struct NotBegun(wasmtime::Error);

impl PluginHost {
    /// Makes one call of the campaign; `believe` checks what it answered.
    fn decide<T, U>(
        &self,
        call: &'static str,
        context: &Context,
        work: impl AsyncFnOnce(&mut Store<CallState>, &campaign_wit::Guest) -> wasmtime::Result<Result<T, types::Error>>,
        believe: impl FnOnce(T) -> CallResult<U>,
    ) -> Answer<U> {
        let nobody =
            PluginSource { name: "campaign".to_owned(), path: PathBuf::new(), sha256: String::new(), script: None };
        let source = self.campaign.as_ref().unwrap_or(&nobody);
        let (mut used, mut reads, mut written) = (0, Reads::default(), BTreeMap::new());
        let made = || {
            let pre = self.campaign_pre()?;
            let fuel = self.shared.limits.fuel;
            let mut store = self.decision_store(pre, &source.name, context)?;
            let at = store.data().deadline.at;
            let answer = self.block_on(async {
                let called = async {
                    let instance = pre.instantiate_async(&mut store).await.map_err(NotBegun)?;
                    Ok(work(&mut store, instance.matterstack_plugin_campaign_calls()).await)
                };
                tokio::time::timeout_at(at.into(), called).await.ok().transpose()
            })?;
            let computed = fuel - store.get_fuel().unwrap_or(0);
            used = computed.saturating_add(store.data().charged);
            reads = std::mem::take(&mut store.data_mut().reads);
            let believed = believe(self.finish(&mut store, answer)?)?;
            written = std::mem::take(&mut store.data_mut().written);
            Ok(believed)
        };
        let value = made().map_err(|kind| error(source, Some(call), kind));
        Answer { value, fuel: used, reads, written }
    }

    fn more_of_campaign(&self) -> &str {
        self.campaign.as_ref().map_or(NOTHING_MORE, PluginSource::more)
    }

    /// A store for a call of the campaign, with fuel, and a fuse beside it: how long the fuel takes depends on the
    /// machine, and nothing but the fuse does.
    fn decision_store(
        &self,
        pre: &CampaignPre<CallState>,
        plugin: &str,
        context: &Context,
    ) -> CallResult<Store<CallState>> {
        let (out, err) = self.captures();
        let deadline = Deadline::after_ms("limits.plugin.plan_ms", self.shared.limits.plan_ms);
        let (wasi, now_ms) = (wasi::for_campaign(context.now_ms, &out, &err), context.now_ms);
        let chance = Chance::of_decision(context.seed, context.decision);
        let sight = Sight { wasi, chance, now_ms, out, err };
        let mut state = CallState::new(self.shared.clone(), plugin, deadline, sight);
        state.run = Some(context.run.clone());
        let mut store = self.store(pre.engine(), state);
        store.set_fuel(self.shared.limits.fuel).map_err(unstarted)?;
        store.fuel_async_yield_interval(Some(FUEL_BETWEEN_LOOKS)).map_err(unstarted)?;
        Ok(store)
    }

    /// Makes one call of an operator, within its deadline; `believe` checks what it answered.
    fn effect_call<T, U>(
        &self,
        call: &'static str,
        key: &OperatorKey,
        attempt: &AttemptRequest,
        work: impl AsyncFnOnce(
            &mut Store<CallState>,
            &operator_wit::Guest,
            operator_wit::Attempt,
        ) -> wasmtime::Result<Result<T, types::Error>>,
        believe: impl FnOnce(T) -> CallResult<U>,
    ) -> Result<U, PluginError> {
        let Some(operator) = self.operators.get(key.as_str()) else {
            let kind = PluginErrorKind::Load("is not configured".to_owned());
            return Err(PluginError { plugin: key.to_string(), call: Some(call), kind });
        };
        let made = || {
            let loaded = self.operator_pre(key.as_str(), operator)?;
            let effects = self.effects()?;
            let mut store = self.effect_store(&effects.engine, key, operator, loaded, attempt)?;
            let at = store.data().deadline.at;
            effects.watchdog.begin(at);
            store.set_epoch_deadline(1);
            let answer = self.block_on(async {
                let called = async {
                    let instance: ComputeOperator = loaded.pre.instantiate_async(&mut store).await.map_err(NotBegun)?;
                    let calls = instance.matterstack_plugin_operator_calls();
                    Ok(work(&mut store, calls, attempt_to_wit(attempt, operator.source.more())).await)
                };
                tokio::time::timeout_at(at.into(), called).await.ok().transpose()
            });
            effects.watchdog.end();
            believe(self.finish(&mut store, answer?)?)
        };
        made().map_err(|kind| error(&operator.source, Some(call), kind))
    }

    /// A store for a call of an operator, with the directories that are granted and, if it asks for files, the
    /// attempt's.
    fn effect_store(
        &self,
        engine: &Engine,
        key: &OperatorKey,
        operator: &Operator,
        loaded: &LoadedOperator,
        attempt: &AttemptRequest,
    ) -> CallResult<Store<CallState>> {
        let (out, err) = self.captures();
        let (id, grants) = (&attempt.attempt_id, &operator.grants);
        let wasi = wasi::for_operator(grants, loaded.files, &attempt.directory, &out, &err);
        // A directory that cannot be reached now, such as a share that is not mounted, may be reached later.
        let wasi = wasi.map_err(|error| {
            let text = format!("a granted directory cannot be opened: {error:#}");
            PluginErrorKind::Guest(GuestError::transient(Code::Unreachable, text))
        })?;
        let deadline = Deadline::after_ms("limits.plugin.call_ms", self.shared.limits.call_ms);
        let called = CalledAttempt {
            id: id.clone(),
            task_id: attempt.task_id.clone(),
            directory: attempt.directory.clone(),
            inputs: attempt.inputs.clone(),
            cancelled: attempt.cancelled,
            operator: key.to_string(),
            grants: grants.clone(),
        };
        let chance = if grants.random { Chance::Real } else { Chance::of_attempt(id.as_str()) };
        let sight = Sight { wasi, chance, now_ms: 0, out, err };
        let mut state = CallState::new(self.shared.clone(), &operator.source.name, deadline, sight);
        state.attempt = Some(called);
        Ok(self.store(engine, state))
    }

    fn store(&self, engine: &Engine, state: CallState) -> Store<CallState> {
        let mut store = Store::new(engine, state);
        store.limiter(|state| state);
        let documents = self.shared.output_max().saturating_mul(DOCUMENTS_AT_ONCE);
        store.set_hostcall_fuel(documents.saturating_add(BESIDE_DOCUMENTS));
        store
    }

    fn captures(&self) -> (Capture, Capture) {
        let most = self.shared.output_max();
        (Capture::new(most), Capture::new(most))
    }

    /// What a call ended in, with what it printed put into the log.
    fn finish<T>(&self, store: &mut Store<CallState>, answer: Result<Answered<T>, NotBegun>) -> CallResult<T> {
        let ended = match answer {
            Ok(Some(Ok(answer))) => Ok(answer),
            Ok(Some(Err(error))) => Err(self.kind(store, &error).unwrap_or_else(|| self.uncrossed(&error))),
            Ok(None) => Err(store.data().deadline.hit()),
            Err(NotBegun(error)) => Err(self.kind(store, &error).unwrap_or_else(|| unstarted(error))),
        };
        store.data_mut().keep_printed();
        ended?.map_err(|error| PluginErrorKind::Guest(from_wit(error)))
    }

    /// Tells apart the ways a call can end without an answer by its own doing or by a limit.
    fn kind(&self, store: &mut Store<CallState>, error: &wasmtime::Error) -> Option<PluginErrorKind> {
        let state = store.data_mut();
        if let Some(hit) = state.hit.take() {
            return Some(hit);
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return Some(match trap {
                Trap::OutOfFuel => PluginErrorKind::Fuel(Bound::new("limits.plugin.fuel", self.shared.limits.fuel)),
                Trap::Interrupt => state.deadline.hit(),
                trap => {
                    let words = state.last_words().map(|words| format!(" ({words})")).unwrap_or_default();
                    PluginErrorKind::Trap(format!("{trap}{words}"))
                }
            });
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return Some(PluginErrorKind::Trap(format!("it exited with code {}", exit.0)));
        }
        if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
            let bound = Bound::new("limits.plugin.handles", self.shared.limits.handles);
            return Some(PluginErrorKind::Limit(bound));
        }
        None
    }

    /// What could not cross the border: it is not of the form that the contract has, or far too large.
    fn uncrossed(&self, error: &wasmtime::Error) -> PluginErrorKind {
        let bound = self.shared.output_bound();
        PluginErrorKind::BadOutput(format!("{} (what crosses at once is bounded: {bound})", error.root_cause()))
    }

    fn too_much_output(&self) -> PluginErrorKind {
        PluginErrorKind::Limit(self.shared.output_bound())
    }

    /// Refuses documents of the campaign that are larger than the limit.
    fn bounded<'a>(&self, mut documents: impl Iterator<Item = &'a String>) -> CallResult<()> {
        if documents.any(|document| document.len() > self.shared.output_max()) {
            return Err(self.too_much_output());
        }
        Ok(())
    }
}

/// The document that a decision carries.
fn document_of(next: &Next) -> Option<&String> {
    match next {
        Next::Workflow(document) | Next::Complete(document) => Some(document),
        Next::Wait | Next::Fail(_) | Next::Hold(_) => None,
    }
}

impl Plugins for PluginHost {
    fn plan(&self, context: &Context, state: Option<&str>) -> Answer<Decision> {
        let work = async |store: &mut Store<CallState>, calls: &campaign_wit::Guest| {
            calls
                .call_plan(store, &context_to_wit(context, self.more_of_campaign()), state.map(str::to_owned).as_ref())
                .await
        };
        self.decide("plan", context, work, |decision| {
            let decision = decision_from_wit(decision)?;
            self.bounded([Some(&decision.state), document_of(&decision.next)].into_iter().flatten())?;
            Ok(decision)
        })
    }

    fn analyze(&self, context: &Context, state: &str, finished: &str) -> Answer<Folded> {
        let work = async |store: &mut Store<CallState>, calls: &campaign_wit::Guest| {
            calls
                .call_analyze(
                    store,
                    &context_to_wit(context, self.more_of_campaign()),
                    &state.to_owned(),
                    &finished.to_owned(),
                )
                .await
        };
        self.decide("analyze", context, work, |folded| {
            let folded = folded_from_wit(folded)?;
            self.bounded([&folded.state].into_iter()).map(|()| folded)
        })
    }

    fn engine(&self) -> EngineRecord {
        super::this_engine()
    }

    fn prepare(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Option<String>, PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_prepare(store, &attempt).await
        };
        self.effect_call("prepare", operator, attempt, work, prepared_from_wit)
    }

    fn submit(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Submitted, PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_submit(store, &attempt).await
        };
        self.effect_call("submit", operator, attempt, work, submitted_from_wit)
    }

    fn reconcile(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Found, PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_reconcile(store, &attempt).await
        };
        self.effect_call("reconcile", operator, attempt, work, found_from_wit)
    }

    fn check_status(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<StatusReport, PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_check_status(store, &attempt).await
        };
        self.effect_call("check-status", operator, attempt, work, report_from_wit)
    }

    fn collect_results(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Collected, PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_collect_results(store, &attempt).await
        };
        self.effect_call("collect-results", operator, attempt, work, |collected| {
            self.bounded(collected.output.iter())?;
            collected_from_wit(collected)
        })
    }

    fn cancel(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<(), PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_cancel(store, &attempt).await
        };
        self.effect_call("cancel", operator, attempt, work, Ok)
    }
}
