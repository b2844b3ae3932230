//! Compiling, which happens in a process of its own: what a plugin makes of the compiler costs that process, never the
//! run, and the system ends it when it takes more memory or processor time than it may.
use super::engine::{self, Kind, Role, Room};
use super::error::PluginErrorKind;
use crate::backend::start_and_wait;
use crate::ground::machine;
use crate::model::limit::{Bound, CompileLimits};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

/// The command by which our own program is told to compile.
pub const COMPILE: &str = "__compile";
/// Bytes of what the compiler complains of that are shown.
const COMPLAINT_MAX: usize = 2000;

/// Compiles a component in a process of its own.
pub(super) fn in_a_process(
    program: &Path,
    limits: &CompileLimits,
    kind: Kind,
    wasm: &[u8],
) -> Result<Vec<u8>, PluginErrorKind> {
    let numbers = [limits.memory_mb, limits.cpu_s].map(|number| number.to_string());
    let arguments = [COMPILE, kind.role.as_str(), kind.room.as_str(), &numbers[0], &numbers[1]];
    let started = machine::file_in_memory(wasm).and_then(|input| start_and_wait(program, &arguments, input));
    let ended = started.map_err(|error| PluginErrorKind::Unstarted(format!("compiling: {error}")))?;
    if !ended.status.success() {
        return Err(refusal(limits, ended.status, &complaint(ended.complaint)));
    }
    let mut code = Vec::new();
    let mut output = ended.output;
    let read = output.rewind().and_then(|()| output.read_to_end(&mut code));
    read.map_err(|error| PluginErrorKind::Unstarted(format!("compiling: {error}")))?;
    Ok(code)
}

/// What the end of the process means: the compiler's own refusal, or a limit.
fn refusal(limits: &CompileLimits, status: ExitStatus, complaint: &str) -> PluginErrorKind {
    use rustix::process::Signal;
    let signal = status.signal().and_then(Signal::from_named_raw);
    match signal {
        None if status.code() == Some(1) => PluginErrorKind::Load(format!("cannot be loaded: {complaint}")),
        None => PluginErrorKind::Load(format!("cannot be compiled: {complaint} ({status})")),
        Some(Signal::XCPU) => PluginErrorKind::Compile(Bound::new("limits.compile.cpu_s", limits.cpu_s)),
        // What is asked of other processes by a person, or by a machine that goes down, is asked of this one too.
        Some(Signal::INT | Signal::TERM | Signal::HUP | Signal::QUIT) => {
            PluginErrorKind::Unstarted(format!("compiling was interrupted ({status})"))
        }
        Some(_) if let Some(bytes) = machine_allows_less(limits) => PluginErrorKind::Unstarted(format!(
            "compiling it took more than the {} MiB of address space that this process may have (`ulimit -v`)",
            bytes / (1024 * 1024)
        )),
        // Out of memory, or so deep that the stack is used up; the kernel's own choice of what to kill looks the same.
        Some(_) => PluginErrorKind::Compile(Bound::new("limits.compile.memory_mb", limits.memory_mb)),
    }
}

/// The address space that this process may have, in bytes, if that is less than a compiler may.
fn machine_allows_less(limits: &CompileLimits) -> Option<u64> {
    machine::address_space_limit().filter(|bytes| *bytes < limits.memory_mb.saturating_mul(1024 * 1024))
}

fn complaint(mut file: File) -> String {
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.take(COMPLAINT_MAX as u64).read_to_end(&mut bytes));
    super::border::sentence(String::from_utf8_lossy(&bytes).trim())
}

/// What the process does that compiles: the arguments after [`COMPILE`], a component on standard input, its native code
/// on standard output.
///
/// # Errors
/// In words, if the arguments are not ours, or the component is refused.
pub fn compile_as_told(arguments: &[String], input: &mut dyn Read) -> Result<Vec<u8>, String> {
    let [role, room, memory_mb, cpu_s] = arguments else { return Err("bug: not called by matterstack".to_owned()) };
    let number = |text: &String| text.parse::<u64>().map_err(|error| format!("bug: `{text}`: {error}"));
    let (Some(role), Some(room)) = (Role::parse(role), Room::parse(room)) else {
        return Err(format!("bug: `{role}` `{room}`"));
    };
    machine::confine_this_process(number(memory_mb)?.saturating_mul(1024 * 1024), number(cpu_s)?)
        .map_err(|error| format!("its limits cannot be set: {error}"))?;
    let mut wasm = Vec::new();
    input.read_to_end(&mut wasm).map_err(|error| format!("the component cannot be read: {error}"))?;
    let engine = engine::compiling(Kind { role, room }).map_err(|error| format!("no engine: {error:#}"))?;
    engine.precompile_component(&wasm).map_err(|error| {
        let text = "it is cut off or damaged, or made for another kind of host";
        format!("{text} ({})", error.root_cause())
    })
}
