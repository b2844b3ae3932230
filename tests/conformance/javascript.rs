//! Scripts in JavaScript in the host, and the module that they import outside of it.
use super::{Canonical, Shelf, canonical_decision, first_context, host_of};
use matterstack::plugin::{PluginError, Plugins};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/sdk/javascript")
}

/// What `plan` of a script answers in the host.
fn planned(script: &str) -> Result<Canonical, PluginError> {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let file = scratch.path().join("campaign.js");
    std::fs::write(&file, script).expect("a script");
    let shelf = Arc::new(Shelf::default());
    let more = shelf.script(&file, "campaign.js");
    let host = host_of("campaign.js", crate::support::runner("javascript"), Some(more), &shelf);
    host.plan(&first_context(), None).value.map(canonical_decision)
}

/// The document that a script completes with.
#[track_caller]
fn completed(script: &str) -> String {
    let next = planned(script).expect("a plan").next;
    next.strip_prefix("complete ").expect("an end").to_owned()
}

/// The machine's stack holds what the interpreter allows, whatever calls itself.
#[test]
fn whatever_calls_itself_is_an_exception() {
    for endless in [
        "function f(n) { return f(n + 1) + 1; } f(0)",
        "function f() { return [1].map(f); } f()",
        "const o = { toJSON() { return JSON.stringify(o); } }; JSON.stringify(o)",
        "const f = () => 'aa'.replace(/a/g, f); f()",
        "class A { constructor() { this.a = new A(); } } new A()",
        "function* g() { yield* g(); } [...g()]",
        "async function g() { await g(); } await g()",
        "const f = () => new Function('f', 'return f()')(f); f()",
        "JSON.parse('['.repeat(1e5))",
        "let a = []; for (let i = 0; i < 1e5; i += 1) a = [a]; JSON.stringify(a)",
        "eval('['.repeat(1e5))",
        "eval('('.repeat(1e5))",
    ] {
        let script = format!(
            "export async function plan() {{ try {{ {endless} }} catch (e) {{ return {{ complete: e.name }} }} }}"
        );
        // what QuickJS compiles too deep it calls wrong syntax
        let name = completed(&script);
        assert!(["\"RangeError\"", "\"SyntaxError\""].contains(&&*name), "{endless}: {name}");
    }
    let deep = "const f = (n) => (n === 0 ? 0 : 1 + f(n - 1)); export const plan = () => ({ complete: f(2000) });";
    assert_eq!(completed(deep), "2000");
}

#[test]
fn an_endless_loop_ends_with_the_fuel() {
    let error = planned("export function plan() { while (true); }").expect_err("no plan");
    assert_eq!(error.kind.code(), "plugin-fuel", "{error}");
}

/// The clock stands still at the time of the decision, and nothing else varies either.
#[test]
fn two_calls_are_alike() {
    let script = "export const plan = (ctx) => ({ complete: [ctx.now_ms === Date.now(), new Date().toISOString(),
        ctx.random(), Math.random(), performance.now() >= 0] });";
    let first = completed(script);
    assert_eq!(completed(script), first);
    assert!(first.starts_with("[true,\"2023-11-14T22:13:20.123Z\",0."), "{first}");
}

#[test]
fn the_module_runs_under_node() {
    let output = Command::new("node").arg("--test").arg(sdk().join("test.mjs")).output().expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_types_are_strict() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    std::fs::create_dir(scratch.path().join("node_modules")).expect("a directory");
    let sdk = sdk().canonicalize().expect("the SDK");
    std::os::unix::fs::symlink(&sdk, scratch.path().join("node_modules/matterstack")).expect("a link");
    std::fs::copy(sdk.join("example.ts"), scratch.path().join("example.ts")).expect("a copy");
    let options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "example.ts"];
    let output = Command::new("tsc").args(options).current_dir(scratch.path()).output().expect("tsc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
