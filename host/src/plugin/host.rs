//! Loads the plugins of one run and makes calls into them.
use super::bindings::campaign::{CampaignPre, matterstack::plugin::types};
use super::bindings::operator::exports::matterstack::plugin::operator_calls as operator_wit;
use super::bindings::operator::{ComputeOperator, ComputeOperatorPre};
use super::border::{
    attempt_to_wit, context_to_wit, decision_from_wit, found_from_wit, from_wit, handle_from_wit, output_from_wit,
    report_from_wit,
};
use super::call::{CallState, CalledAttempt, LogLevel, Shared};
use super::inspect::{Asks, World, check, refuse_no_component};
use super::watchdog::Watchdog;
use super::{Answer, PluginError, PluginErrorKind, Plugins, cache, link, wasi};
use crate::backend::Compute;
use crate::model::config::{Grants, PluginLimits};
use crate::model::contract::{AttemptRequest, Context, Decision, Detail, Found, GuestError, Next, StatusReport};
use crate::model::document::sha256;
use crate::model::id::OperatorKey;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store, Trap};

/// Content-addressed files that plugins may read.
pub trait Artifacts: Send + Sync {
    /// Returns up to `max` bytes from `offset` of the file with this SHA-256.
    ///
    /// # Errors
    /// `denied` if the run does not own the digest; `other` if the file cannot be read.
    fn read(&self, digest: &str, offset: u64, max: u32) -> Result<Vec<u8>, GuestError>;
}

/// Where messages of plugins go.
pub trait PluginLog: Send + Sync {
    /// Keeps one message.
    fn write(&self, plugin: &str, attempt: Option<&str>, level: LogLevel, message: &str);
}

/// What the plugins of a run are given.
pub struct HostSettings {
    /// Where native code is kept; without it every process compiles.
    pub cache_dir: Option<PathBuf>,
    /// The backends behind the `compute` import.
    pub compute: Arc<dyn Compute>,
    /// The names of the backends that could be granted, for the grant that a refusal shows.
    pub backends: Vec<String>,
    /// The files behind the `artifacts` import.
    pub artifacts: Arc<dyn Artifacts>,
    /// Where messages go.
    pub log: Arc<dyn PluginLog>,
    /// The limits of every call.
    pub limits: PluginLimits,
}

/// A pinned plugin.
#[derive(Debug, Clone)]
pub struct PluginSource {
    /// As the configuration names it.
    pub name: String,
    /// Where its bytes are.
    pub path: PathBuf,
    /// The SHA-256 they must have.
    pub sha256: String,
}

struct Operator {
    source: PluginSource,
    grants: Arc<Grants>,
    loaded: OnceCell<(ComputeOperatorPre<CallState>, bool)>,
}

/// Runs the plugins of one run. A plugin is loaded at its first call.
pub struct PluginHost {
    cache_dir: Option<PathBuf>,
    backends: Vec<String>,
    shared: Shared,
    campaign: Option<PluginSource>,
    operators: BTreeMap<String, Operator>,
    loaded_campaign: OnceCell<CampaignPre<CallState>>,
    decision_engine: OnceCell<Engine>,
    effect: OnceCell<(Engine, Watchdog)>,
    runtime: OnceCell<Runtime>,
}

/// Drives asynchronous calls on this thread. A file operation that never returns keeps nobody waiting at the end.
struct Runtime(Option<tokio::runtime::Runtime>);

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

type CallResult<T> = Result<T, PluginErrorKind>;

fn load_error(error: impl std::fmt::Display) -> PluginErrorKind {
    PluginErrorKind::Load(format!("cannot be loaded: {error:#}"))
}

/// Keeps what `make` gives in the cell; unlike `get_or_init` it may fail.
fn get_or_try<T>(cell: &OnceCell<T>, make: impl FnOnce() -> CallResult<T>) -> CallResult<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

impl PluginHost {
    /// A host without plugins.
    pub fn new(settings: HostSettings) -> Self {
        let HostSettings { cache_dir, compute, backends, artifacts, log, limits } = settings;
        Self {
            cache_dir,
            backends,
            shared: Shared { compute, artifacts, log, limits },
            campaign: None,
            operators: BTreeMap::new(),
            loaded_campaign: OnceCell::new(),
            decision_engine: OnceCell::new(),
            effect: OnceCell::new(),
            runtime: OnceCell::new(),
        }
    }

    /// Names the plugin that decides.
    pub fn set_campaign(&mut self, source: PluginSource) {
        self.campaign = Some(source);
    }

    /// Names the plugin behind an operator key.
    pub fn add_operator(&mut self, key: OperatorKey, source: PluginSource, grants: Grants) {
        self.operators.insert(key.0, Operator { source, grants: Arc::new(grants), loaded: OnceCell::new() });
    }

    /// Loads and checks every plugin.
    ///
    /// # Errors
    /// The first that is missing, changed, of another world or contract version, or needs what is not granted.
    pub fn load_all(&self) -> Result<(), PluginError> {
        if let Some(source) = &self.campaign {
            self.campaign_pre().map_err(|kind| error(source, None, kind))?;
        }
        for (key, operator) in &self.operators {
            self.operator_pre(key, operator).map_err(|kind| error(&operator.source, None, kind))?;
        }
        Ok(())
    }

    fn component(&self, engine: &Engine, source: &PluginSource) -> CallResult<Component> {
        let bytes = std::fs::read(&source.path)
            .map_err(|error| PluginErrorKind::Load(format!("`{}` cannot be read: {error}", source.path.display())))?;
        let digest = sha256(&bytes);
        if digest != source.sha256 {
            let text = format!("`{}` has the digest {digest}, and {} is pinned", source.path.display(), source.sha256);
            return Err(PluginErrorKind::Load(text));
        }
        refuse_no_component(&bytes).map_err(PluginErrorKind::Load)?;
        cache::load(engine, &bytes, &digest, self.cache_dir.as_deref()).map_err(|error| {
            let text = "cannot be loaded: it is cut off or damaged, or made for another kind of host";
            PluginErrorKind::Load(format!("{text} ({})", error.root_cause()))
        })
    }

    fn campaign_pre(&self) -> CallResult<&CampaignPre<CallState>> {
        get_or_try(&self.loaded_campaign, || {
            let source = self.campaign.as_ref().ok_or_else(|| PluginErrorKind::Load("is not configured".to_owned()))?;
            let engine = get_or_try(&self.decision_engine, || link::decision_engine().map_err(load_error))?;
            let component = self.component(engine, source)?;
            check(&component, engine, World::Campaign, None)?;
            let linker = link::campaign_linker(engine).map_err(load_error)?;
            CampaignPre::new(instantiate_pre(&linker, &component)?).map_err(load_error)
        })
    }

    fn effect(&self) -> CallResult<&(Engine, Watchdog)> {
        get_or_try(&self.effect, || {
            let engine = link::effect_engine(self.shared.limits.table_elements).map_err(load_error)?;
            let watchdog = Watchdog::start(&engine);
            Ok((engine, watchdog))
        })
    }

    fn operator_pre<'a>(
        &self,
        key: &str,
        operator: &'a Operator,
    ) -> CallResult<&'a (ComputeOperatorPre<CallState>, bool)> {
        get_or_try(&operator.loaded, || {
            let (engine, _) = self.effect()?;
            let component = self.component(engine, &operator.source)?;
            let asks = Asks { key, grants: &operator.grants, backends: &self.backends };
            check(&component, engine, World::Operator, Some(asks))?;
            let linker = link::operator_linker(engine, !operator.grants.compute.is_empty()).map_err(load_error)?;
            let files =
                component.component_type().imports(engine).any(|(name, _)| name.starts_with("wasi:filesystem/"));
            let pre = ComputeOperatorPre::new(instantiate_pre(&linker, &component)?).map_err(load_error)?;
            Ok((pre, files))
        })
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> CallResult<T> {
        let runtime = get_or_try(&self.runtime, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.map(|runtime| Runtime(Some(runtime))).map_err(load_error)
        })?;
        let runtime = runtime.0.as_ref().ok_or_else(|| load_error("the runtime has ended"))?;
        Ok(runtime.block_on(future))
    }

    /// Makes one call of the campaign, in an instance of its own; `believe` checks what it answered.
    fn decide<T, U>(
        &self,
        call: &'static str,
        context: &Context,
        work: impl AsyncFnOnce(&mut Store<CallState>, &CampaignPre<CallState>) -> wasmtime::Result<Result<T, types::Error>>,
        believe: impl FnOnce(T) -> CallResult<U>,
    ) -> Result<Answer<U>, PluginError> {
        let nobody = PluginSource { name: "campaign".to_owned(), path: PathBuf::new(), sha256: String::new() };
        let source = self.campaign.as_ref().unwrap_or(&nobody);
        let made = || {
            let pre = self.campaign_pre()?;
            let (out, err) = self.captures();
            let wasi = wasi::for_campaign(context.seed, context.decision, context.now_ms, &out, &err);
            let mut store = self.store(pre.engine(), &source.name, wasi, (out, err));
            store.data_mut().now_ms = context.now_ms;
            let fuel = self.shared.limits.fuel;
            store.set_fuel(fuel).map_err(load_error)?;
            let answer = self.block_on(work(&mut store, pre))?;
            let used = fuel - store.get_fuel().unwrap_or(0);
            let value = answer.map_err(|error| self.kind(&mut store, &error, None));
            store.data().keep_printed();
            let value = value?.map_err(|error| PluginErrorKind::Guest(from_wit(error)))?;
            Ok(Answer { value: believe(value)?, fuel: used })
        };
        made().map_err(|kind| error(source, Some(call), kind))
    }

    /// Makes one call of an operator, in an instance of its own and within its deadline; `believe` checks what it answered.
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
            let (pre, files) = self.operator_pre(key.as_str(), operator)?;
            let (engine, watchdog) = self.effect()?;
            let limit_ms = self.shared.limits.call_ms;
            let limit = Duration::from_millis(limit_ms);
            let mut store = self.attempt_store(engine, operator, attempt, *files)?;
            let deadline = Instant::now() + limit;
            store.data_mut().attempt = Some(CalledAttempt {
                id: attempt.attempt_id.clone(),
                task_id: attempt.task_id.clone(),
                directory: attempt.directory.clone(),
                cancelled: attempt.cancelled,
                operator: key.to_string(),
                grants: operator.grants.clone(),
                deadline,
            });
            watchdog.begin(deadline);
            store.set_epoch_deadline(1);
            let answer = self.block_on(async {
                let called = async {
                    let instance: ComputeOperator = pre.instantiate_async(&mut store).await?;
                    work(&mut store, instance.matterstack_plugin_operator_calls(), attempt_to_wit(attempt)).await
                };
                tokio::time::timeout(limit, called).await
            });
            watchdog.end();
            let value = match answer? {
                Ok(answer) => answer.map_err(|error| self.kind(&mut store, &error, Some(limit_ms))),
                Err(_) => Err(PluginErrorKind::Deadline(limit_ms)),
            };
            store.data().keep_printed();
            believe(value?.map_err(|error| PluginErrorKind::Guest(from_wit(error)))?)
        };
        made().map_err(|kind| error(&operator.source, Some(call), kind))
    }

    /// A store for a call of an operator, with the directories that are granted and, if it asks for `files`, the attempt's.
    fn attempt_store(
        &self,
        engine: &Engine,
        operator: &Operator,
        attempt: &AttemptRequest,
        files: bool,
    ) -> CallResult<Store<CallState>> {
        let (out, err) = self.captures();
        let id = attempt.attempt_id.as_str();
        let wasi = wasi::for_operator(&operator.grants, id, files, &attempt.directory, &out, &err);
        // A directory that cannot be reached now, such as a share that is not mounted, may be reached later.
        let wasi = wasi.map_err(|error| {
            let detail = Detail::new("unreachable", format!("a granted directory cannot be opened: {error:#}"));
            PluginErrorKind::Guest(GuestError::Transient(detail, None))
        })?;
        Ok(self.store(engine, &operator.source.name, wasi, (out, err)))
    }

    fn store(
        &self,
        engine: &Engine,
        plugin: &str,
        wasi: wasmtime_wasi::WasiCtx,
        (out, err): (wasi::Capture, wasi::Capture),
    ) -> Store<CallState> {
        let state = CallState {
            wasi,
            table: wasmtime::component::ResourceTable::new(),
            shared: self.shared.clone(),
            plugin: plugin.into(),
            now_ms: 0,
            attempt: None,
            hit: None,
            host_calls: 0,
            logged: 0,
            out,
            err,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| state);
        // What crosses the border is bounded too: a little more than one document of the largest size.
        store.set_hostcall_fuel(self.shared.output_max().saturating_add(1024 * 1024));
        store
    }

    /// Tells apart the ways a call can end without an answer.
    fn kind(&self, store: &mut Store<CallState>, error: &wasmtime::Error, deadline_ms: Option<u64>) -> PluginErrorKind {
        if let Some(hit) = store.data_mut().hit.take() {
            return hit;
        }
        match (error.downcast_ref::<Trap>(), deadline_ms) {
            (Some(Trap::OutOfFuel), _) => return PluginErrorKind::Fuel(self.shared.limits.fuel),
            (Some(Trap::Interrupt), Some(limit)) => return PluginErrorKind::Deadline(limit),
            (Some(trap), _) => {
                let words = store.data().last_words().map(|words| format!(" ({words})")).unwrap_or_default();
                return PluginErrorKind::Trap(format!("{trap}{words}"));
            }
            (None, _) => {}
        }
        if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
            return PluginErrorKind::Trap(format!("it exited with code {}", exit.0));
        }
        let text = error.root_cause().to_string();
        if text.contains("fuel allocated for hostcalls") {
            return self.too_much_output();
        }
        PluginErrorKind::BadOutput(text)
    }

    fn captures(&self) -> (wasi::Capture, wasi::Capture) {
        let most = self.shared.output_max();
        (wasi::Capture::new(most), wasi::Capture::new(most))
    }

    fn too_much_output(&self) -> PluginErrorKind {
        PluginErrorKind::Limit("limits.plugin.output_mb", self.shared.limits.output_mb)
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

fn error(source: &PluginSource, call: Option<&'static str>, kind: PluginErrorKind) -> PluginError {
    PluginError { plugin: source.name.clone(), call, kind }
}

fn instantiate_pre(
    linker: &Linker<CallState>,
    component: &Component,
) -> CallResult<wasmtime::component::InstancePre<CallState>> {
    linker.instantiate_pre(component).map_err(load_error)
}

impl Plugins for PluginHost {
    fn plan(&self, context: &Context, state: Option<&str>) -> Result<Answer<Decision>, PluginError> {
        let work = async |store: &mut Store<CallState>, pre: &CampaignPre<CallState>| {
            let instance = pre.instantiate_async(&mut *store).await?;
            let calls = instance.matterstack_plugin_campaign_calls();
            calls.call_plan(store, &context_to_wit(context), state.map(str::to_owned).as_ref()).await
        };
        self.decide("plan", context, work, |decision| {
            let decision = decision_from_wit(decision)?;
            self.bounded([Some(&decision.state), document_of(&decision.next)].into_iter().flatten())?;
            Ok(decision)
        })
    }

    fn analyze(&self, context: &Context, state: &str, finished: &str) -> Result<Answer<String>, PluginError> {
        let work = async |store: &mut Store<CallState>, pre: &CampaignPre<CallState>| {
            let instance = pre.instantiate_async(&mut *store).await?;
            let calls = instance.matterstack_plugin_campaign_calls();
            calls.call_analyze(store, &context_to_wit(context), &state.to_owned(), &finished.to_owned()).await
        };
        self.decide("analyze", context, work, |state| self.bounded([&state].into_iter()).map(|()| state))
    }

    fn prepare(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<(), PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_prepare(store, &attempt).await
        };
        self.effect_call("prepare", operator, attempt, work, Ok)
    }

    fn submit(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<String, PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_submit(store, &attempt).await
        };
        self.effect_call("submit", operator, attempt, work, handle_from_wit)
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

    fn collect_results(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<Option<String>, PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_collect_results(store, &attempt).await
        };
        self.effect_call("collect-results", operator, attempt, work, output_from_wit)
    }

    fn cancel(&self, operator: &OperatorKey, attempt: &AttemptRequest) -> Result<(), PluginError> {
        let work = async |store: &mut Store<CallState>, calls: &operator_wit::Guest, attempt| {
            calls.call_cancel(store, &attempt).await
        };
        self.effect_call("cancel", operator, attempt, work, Ok)
    }
}
