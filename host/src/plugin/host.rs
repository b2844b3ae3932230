//! The plugins of one run: what they are given, and how each is loaded when it is first called.
use super::bindings::campaign::CampaignPre;
use super::bindings::operator::ComputeOperatorPre;
use super::engine::{self, Kind, Role, Room};
use super::error::{PluginError, PluginErrorKind};
use super::given::{Artifacts, PluginLog};
use super::inspect::{Asks, Use, check};
use super::link;
use super::native::{Compiler, PluginSource};
use super::state::{CallState, Shared};
use super::watchdog::Watchdog;
use crate::backend::Compute;
use crate::model::config::Grants;
use crate::model::id::OperatorKey;
use crate::model::limit::PluginLimits;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

/// How many threads wait for file systems that plugins look at, at most: one is busy, and more only while a file system
/// does not answer. Each reserves addresses, of which there may be few.
const WAITING_MAX: usize = 4;

/// What the plugins of a run are given.
pub struct HostSettings {
    /// What makes native code.
    pub compiler: Compiler,
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

/// A configured operator.
pub(super) struct Operator {
    pub(super) source: PluginSource,
    pub(super) grants: Arc<Grants>,
    loaded: OnceCell<LoadedOperator>,
}

/// An operator's plugin, ready to be instantiated.
pub(super) struct LoadedOperator {
    pub(super) pre: ComputeOperatorPre<CallState>,
    /// Whether it has use for files at all.
    pub(super) files: bool,
}

/// The engine of operators, and what ends their calls.
pub(super) struct Effects {
    pub(super) engine: Engine,
    pub(super) watchdog: Watchdog,
}

/// Runs the plugins of one run. A plugin is loaded at its first call.
pub struct PluginHost {
    compiler: Compiler,
    backends: Vec<String>,
    pub(super) shared: Shared,
    pub(super) campaign: Option<PluginSource>,
    pub(super) operators: BTreeMap<String, Operator>,
    room: Room,
    loaded_campaign: OnceCell<CampaignPre<CallState>>,
    decisions: OnceCell<Engine>,
    effects: OnceCell<Effects>,
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

pub(super) type CallResult<T> = Result<T, PluginErrorKind>;

fn load_error(error: impl std::fmt::Display) -> PluginErrorKind {
    PluginErrorKind::Load(format!("cannot be loaded: {error:#}"))
}

/// A failure of wasmtime before any plugin is concerned: the machine gave too little.
pub(super) fn unstarted(error: impl std::fmt::Display) -> PluginErrorKind {
    PluginErrorKind::Unstarted(format!("{error:#}"))
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
        let HostSettings { compiler, compute, backends, artifacts, log, limits } = settings;
        Self {
            compiler,
            backends,
            shared: Shared { compute, artifacts, log, limits },
            campaign: None,
            operators: BTreeMap::new(),
            room: Room::here(),
            loaded_campaign: OnceCell::new(),
            decisions: OnceCell::new(),
            effects: OnceCell::new(),
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

    /// Loads and checks every plugin, its file included, which a call does not read where there is native code.
    ///
    /// # Errors
    /// The first that is missing, changed, of another world or contract version, or needs what is not granted.
    pub fn load_all(&self) -> Result<(), PluginError> {
        if let Some(source) = &self.campaign {
            let loaded = source.check().and_then(|()| self.campaign_pre());
            loaded.map_err(|kind| error(source, None, kind))?;
        }
        for (key, operator) in &self.operators {
            let loaded = operator.source.check().and_then(|()| self.operator_pre(key, operator));
            loaded.map_err(|kind| error(&operator.source, None, kind))?;
        }
        Ok(())
    }

    pub(super) fn campaign_pre(&self) -> CallResult<&CampaignPre<CallState>> {
        get_or_try(&self.loaded_campaign, || {
            let source = self.campaign.as_ref().ok_or_else(|| PluginErrorKind::Load("is not configured".to_owned()))?;
            let engine = get_or_try(&self.decisions, || self.engine(Role::Campaign))?;
            let component = self.compiler.component(engine, self.engine_kind(Role::Campaign), source)?;
            let script = source.script.is_some();
            check(&component, engine, Use { role: Role::Campaign, script, operator: None })?;
            let linker = link::campaign_linker(engine, script).map_err(load_error)?;
            CampaignPre::new(instantiate_pre(&linker, &component)?).map_err(load_error)
        })
    }

    fn engine_kind(&self, role: Role) -> Kind {
        Kind { role, room: self.room }
    }

    fn engine(&self, role: Role) -> CallResult<Engine> {
        engine::running(self.engine_kind(role), self.shared.limits.table_elements).map_err(unstarted)
    }

    pub(super) fn effects(&self) -> CallResult<&Effects> {
        get_or_try(&self.effects, || {
            let engine = self.engine(Role::Operator)?;
            let watchdog = Watchdog::start(&engine).map_err(unstarted)?;
            Ok(Effects { engine, watchdog })
        })
    }

    pub(super) fn operator_pre<'a>(&self, key: &str, operator: &'a Operator) -> CallResult<&'a LoadedOperator> {
        get_or_try(&operator.loaded, || {
            let engine = &self.effects()?.engine;
            let component = self.compiler.component(engine, self.engine_kind(Role::Operator), &operator.source)?;
            let asks = Asks { key, grants: &operator.grants, backends: &self.backends };
            let script = operator.source.script.is_some();
            check(&component, engine, Use { role: Role::Operator, script, operator: Some(asks) })?;
            let compute = !operator.grants.compute.is_empty();
            let linker = link::operator_linker(engine, compute, script).map_err(load_error)?;
            let files =
                component.component_type().imports(engine).any(|(name, _)| name.starts_with("wasi:filesystem/"));
            let pre = ComputeOperatorPre::new(instantiate_pre(&linker, &component)?).map_err(load_error)?;
            Ok(LoadedOperator { pre, files })
        })
    }

    /// Runs a call to its end. What a file system is slow to answer waits in a thread of its own.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> CallResult<T> {
        let runtime = get_or_try(&self.runtime, || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().max_blocking_threads(WAITING_MAX).build();
            runtime.map(|runtime| Runtime(Some(runtime))).map_err(unstarted)
        })?;
        let runtime = runtime.0.as_ref().ok_or_else(|| unstarted("the runtime has ended"))?;
        Ok(runtime.block_on(future))
    }
}

/// Joins an error with the plugin and the call.
pub(super) fn error(source: &PluginSource, call: Option<&'static str>, kind: PluginErrorKind) -> PluginError {
    PluginError { plugin: source.name.clone(), call, kind }
}

fn instantiate_pre(linker: &Linker<CallState>, component: &Component) -> CallResult<InstancePre<CallState>> {
    linker.instantiate_pre(component).map_err(load_error)
}
