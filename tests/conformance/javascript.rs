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
    let sources = ["tests/guests/loop-javascript", "plugins/sdk/javascript"];
    let test = crate::support::built("guests-test/javascript/test.mjs", &sources);
    let output = Command::new("node").arg("--test").arg(test).output().expect("node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What is written by hand is what the schemas say, and a slip in a document is seen where it is written.
const TYPES: &str = r#"
import { Run, type Answer, type Collected, type Context, type File, type Result, type Task } from "matterstack";
import type { documents, Found, Report, Submitted } from "matterstack";

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
const same: [
  Same<Task, documents.Task>,
  Same<Exclude<keyof documents.Context, keyof Context>, never>,
  Same<Exclude<keyof documents.Result, keyof Result>, never>,
  Same<Exclude<keyof documents.Output, keyof File>, never>,
  Same<Result["outcome"], documents.Outcome>,
  Same<Report["status"], documents.StatusReport["status"]>,
] = [true, true, true, true, true, true];
export const reported = (report: Report): documents.StatusReport => report;
export const found = (found: Found): documents.Found => found;
export const submitted = (submitted: Submitted): documents.Submitted => submitted;
export const decided = (answer: Answer<number>): documents.Decision => answer;
export const planned = (answer: documents.Decision["tasks"]) => Run(answer ?? [], same.length);
// @ts-expect-error: a word that no task has
export const task: Task = { id: "a", operator: "local", comand: "true" };
// @ts-expect-error: no outcome
export const lost = (result: Result) => result.outcome === "lost";
// @ts-expect-error: an answer has no such key
export const answer: Answer = { wait: true, summery: { text: "" } };
// @ts-expect-error: seconds are numbers
export const collected: Collected = { usage: { cpu_s: "1" } };
"#;

#[test]
fn the_types_are_strict() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    std::fs::create_dir(scratch.path().join("node_modules")).expect("a directory");
    let sdk = sdk().canonicalize().expect("the SDK");
    std::os::unix::fs::symlink(&sdk, scratch.path().join("node_modules/matterstack")).expect("a link");
    std::fs::copy(sdk.join("example.ts"), scratch.path().join("example.ts")).expect("a copy");
    std::fs::write(scratch.path().join("types.ts"), TYPES).expect("a file");
    let options = ["--strict", "--noEmit", "--target", "es2022", "--module", "nodenext", "example.ts", "types.ts"];
    let output = Command::new("tsc").args(options).current_dir(scratch.path()).output().expect("tsc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
