//! What a component is, by what it imports and exports, and whether a configuration grants what it needs.
use super::builtin::builtin;
use super::decode::{Functions, Shape, decode};
use super::engine::Role;
use super::error::{PluginError, PluginErrorKind};
use super::manifest::manifest;
use crate::model::config::Grants;
use crate::model::document::sha256;
use crate::model::manifest::{About, Manifest};
use serde::Serialize;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

/// The contract version this host speaks.
pub const CONTRACT: &str = "0.2.0-dev.2";
/// The package that is the contract.
pub(super) const PACKAGE: &str = "matterstack:plugin/";
/// WASI packages that a language's runtime may import merely by existing; what is not granted is a stand-in.
pub(super) const WASI: &[&str] =
    &["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

/// What a component is, by what it exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    /// It is of one use.
    Of(Role),
    /// It answers for scripts of either use.
    Runner,
}

impl World {
    /// The word for it, with its article.
    fn named(self) -> &'static str {
        match self {
            Self::Of(Role::Campaign) => "a campaign",
            Self::Of(Role::Operator) => "an operator",
            Self::Runner => "a runner of scripts",
        }
    }

    /// The roles that it can have.
    fn roles(self) -> &'static [Role] {
        match self {
            Self::Of(Role::Campaign) => &[Role::Campaign],
            Self::Of(Role::Operator) => &[Role::Operator],
            Self::Runner => &[Role::Campaign, Role::Operator],
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Of(role) => role.as_str(),
            Self::Runner => "runner",
        }
    }

    /// The interfaces of the contract that it may import.
    fn interfaces(self) -> &'static [&'static str] {
        match self {
            Self::Of(Role::Campaign) => &["types", "campaign-types", "log", "artifacts", "run"],
            Self::Of(Role::Operator) => &["types", "operator-types", "log", "lifecycle", "artifacts", "compute"],
            Self::Runner => {
                &["types", "campaign-types", "operator-types", "log", "lifecycle", "artifacts", "run", "compute"]
            }
        }
    }
}

/// What a plugin is.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// `campaign`, `operator`, or `runner` (of scripts).
    pub world: String,
    /// The contract version it was built for.
    pub contract: String,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// The interfaces it exports.
    pub exports: Vec<String>,
    /// The interfaces it imports.
    pub imports: Vec<String>,
    /// The grants it needs, as config.json has them.
    pub grants: serde_json::Value,
    /// What it says of itself.
    pub manifest: Option<Manifest>,
    /// Why it cannot be used, or not believed, in sentences that follow the plugin's name.
    pub problems: Vec<String>,
}

/// Tells what a plugin is, from its sections alone: nothing of it is compiled or executed. `name` is for messages.
///
/// # Errors
/// If the bytes are no component of the contract this host speaks.
pub fn inspect(name: &str, bytes: &[u8]) -> Result<Inspection, PluginError> {
    let error = |text| PluginError { plugin: name.to_owned(), call: None, kind: PluginErrorKind::Load(text) };
    examine(bytes).map_err(error)
}

fn examine(bytes: &[u8]) -> Result<Inspection, String> {
    refuse_no_component(bytes)?;
    let shape = decode(bytes)?;
    let names = |of: &[(String, Functions)]| of.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let (imports, exports) = (names(&shape.imports), names(&shape.exports));
    let (world, contract) = classify(&exports)?;
    let roles = world.roles();
    let mut problems: Vec<String> = roles.iter().flat_map(|role| faults_of_calls(&shape, *role)).collect();
    problems.extend(imports.iter().filter_map(|import| faults_of_import(import, world)));
    // what a runner's script has use for, nobody can tell
    let compute = world == World::Of(Role::Operator)
        && imports.iter().any(|import| import.starts_with("matterstack:plugin/compute@"));
    let manifest = manifest(bytes).unwrap_or_else(|why| {
        problems.push(why);
        None
    });
    if let Some(manifest) = &manifest {
        let about =
            About { campaign: roles.contains(&Role::Campaign), operator: roles.contains(&Role::Operator), compute };
        problems.extend(manifest.faults(&about).into_iter().map(|why| format!("has a manifest that lies: {why}")));
    }
    Ok(Inspection {
        world: world.as_str().to_owned(),
        contract,
        sha256: sha256(bytes),
        size: bytes.len() as u64,
        exports,
        imports,
        manifest,
        grants: if compute { serde_json::json!({"compute": ["BACKEND"]}) } else { serde_json::json!({}) },
        problems,
    })
}

/// The interface by which a plugin of a role is called.
fn calls(role: Role) -> String {
    format!("{PACKAGE}{}-calls@{CONTRACT}", role.as_str())
}

/// The functions that a plugin of a role has to have.
fn wanted(role: Role) -> &'static [&'static str] {
    match role {
        Role::Campaign => &["plan", "analyze"],
        Role::Operator => &["prepare", "submit", "reconcile", "check-status", "collect-results", "cancel"],
    }
}

/// What is wrong with the functions by which a plugin is called: one that is not there, or has other types than those
/// of a standard plugin of this role.
fn faults_of_calls(shape: &Shape, role: Role) -> Vec<String> {
    let Some(has) = shape.exported(&calls(role)) else { return Vec::new() };
    let model = match role {
        Role::Campaign => "workflow",
        Role::Operator => "compute",
    };
    let model = builtin(model).and_then(|bytes| decode(bytes).ok()).unwrap_or_default();
    let fault = |name: &&str| match (has.get(*name), model.exported(&calls(role)).and_then(|calls| calls.get(*name))) {
        (None, _) => Some(without(name, role)),
        (Some(has), Some(wanted)) if has != wanted => Some(format!(
            "exports `{name}` with other types than contract version {CONTRACT} has: generate its bindings again"
        )),
        (Some(_), _) => None,
    };
    wanted(role).iter().filter_map(fault).collect()
}

fn without(name: &str, role: Role) -> String {
    let role = role.as_str();
    format!("has no function `{name}`, which every {role} exports in `{PACKAGE}{role}-calls`")
}

/// What is wrong with an import: nobody of this world can have it.
fn faults_of_import(import: &str, world: World) -> Option<String> {
    check_import(import, world, None).err().map(|refusal| refusal.to_string())
}

/// Refuses what is not a component, in words that say what it is.
pub(super) fn refuse_no_component(bytes: &[u8]) -> Result<(), String> {
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            Err("is a WebAssembly core module, not a component; `matterstack plugin build FILE` makes one of it"
                .to_owned())
        }
        [0, b'a', b's', b'm', ..] => Err("is WebAssembly of an unknown version".to_owned()),
        [] => Err("is empty".to_owned()),
        _ => Err("is not WebAssembly".to_owned()),
    }
}

fn exports(component: &Component, engine: &Engine) -> Vec<String> {
    component.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect()
}

fn imports(component: &Component, engine: &Engine) -> Vec<String> {
    component.component_type().imports(engine).map(|(name, _)| name.to_owned()).collect()
}

fn classify(exports: &[String]) -> Result<(World, String), String> {
    let mut world = None;
    for name in exports {
        let Some((interface, version)) = name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) else {
            continue;
        };
        let role = match interface {
            "campaign-calls" => Role::Campaign,
            "operator-calls" => Role::Operator,
            _ => continue,
        };
        if version != CONTRACT {
            return Err(format!(
                "is built for contract version {version}; this matterstack speaks {CONTRACT}: build it again against its WIT package"
            ));
        }
        world = Some(world.map_or(World::Of(role), |_| World::Runner));
    }
    world.map(|world| (world, CONTRACT.to_owned())).ok_or_else(|| {
        format!(
            "exports neither `{PACKAGE}campaign-calls` nor `{PACKAGE}operator-calls`; it exports {}",
            if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
        )
    })
}

/// An operator's key and grants, and the backends that could be granted.
#[derive(Clone, Copy)]
pub(super) struct Asks<'a> {
    pub(super) key: &'a str,
    pub(super) grants: &'a Grants,
    pub(super) backends: &'a [String],
}

impl Asks<'_> {
    /// The JSON that grants `compute`: on the backend there is, if there is one only.
    fn compute(&self) -> String {
        let backend = match self.backends {
            [one] => one,
            _ => "BACKEND",
        };
        serde_json::json!({"operators": {self.key: {"grants": {"compute": [backend]}}}}).to_string()
    }
}

/// What a component is to be used for.
#[derive(Clone, Copy)]
pub(super) struct Use<'a> {
    pub(super) role: Role,
    /// Whether it is to answer for a script.
    pub(super) script: bool,
    /// As an operator: for whom, and with what.
    pub(super) operator: Option<Asks<'a>>,
}

/// Refuses a component that is of another world, or imports what is not granted. What carries out a script imports all
/// there is; what of that is not granted is denied where it is asked for.
pub(super) fn check(component: &Component, engine: &Engine, wanted: Use<'_>) -> Result<(), PluginErrorKind> {
    let (world, _) = classify(&exports(component, engine)).map_err(PluginErrorKind::Load)?;
    let needed = if wanted.script { World::Runner } else { World::Of(wanted.role) };
    if world != needed {
        let hint = if world == World::Runner { ": name the script as the plugin, such as `campaign.py`" } else { "" };
        let text = format!("is {} where {} is needed{hint}", world.named(), needed.named());
        return Err(PluginErrorKind::Load(text));
    }
    let operator = wanted.operator.filter(|_| !wanted.script);
    imports(component, engine).into_iter().try_for_each(|import| check_import(&import, world, operator))?;
    refuse_without_calls(component, engine, wanted.role)
}

/// Refuses a component that lacks a function by which it would be called.
fn refuse_without_calls(component: &Component, engine: &Engine, role: Role) -> Result<(), PluginErrorKind> {
    let ty = component.component_type();
    let Some(ComponentItem::ComponentInstance(instance)) = ty.get_export(engine, &calls(role)).map(|item| item.ty)
    else {
        return Ok(());
    };
    let missing = wanted(role).iter().find(|name| instance.get_export(engine, name).is_none());
    missing.map_or(Ok(()), |name| Err(PluginErrorKind::Load(without(name, role))))
}

fn check_import(import: &str, world: World, operator: Option<Asks<'_>>) -> Result<(), PluginErrorKind> {
    if let Some((interface, version)) = import.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) {
        if version != CONTRACT {
            return Err(PluginErrorKind::Load(format!(
                "imports `{import}`; this matterstack speaks contract version {CONTRACT}"
            )));
        }
        if !world.interfaces().contains(&interface) {
            let text = format!("imports `{interface}`, which no {} may have", world.as_str());
            return Err(PluginErrorKind::Load(text));
        }
        return match operator {
            Some(asks) if interface == "compute" && asks.grants.compute.is_empty() => {
                Err(PluginErrorKind::NotGranted { interface: interface.to_owned(), grant: asks.compute() })
            }
            _ => Ok(()),
        };
    }
    if WASI.iter().any(|package| import.starts_with(package)) {
        return Ok(());
    }
    let what =
        if import.starts_with("wasi:http/") { "which this matterstack cannot grant yet" } else { "which is unknown" };
    Err(PluginErrorKind::Load(format!("imports `{import}`, {what}")))
}
