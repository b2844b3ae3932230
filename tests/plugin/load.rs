//! What is refused before anything runs.
use super::*;
use matterstack::plugin::{CONTRACT, inspect};

/// The words with which the file is refused as a campaign.
fn refusal(name: &str, content: &[u8]) -> String {
    let mut bench = Bench::new(limits());
    let path = bench.file(name, content);
    bench.host.set_campaign(source(&path));
    let error = bench.host.load_all().unwrap_err();
    assert_eq!((error.kind.code().as_str(), error.plugin.as_str(), error.call), ("plugin-load", name, None), "{error}");
    error.to_string()
}

#[test]
fn what_is_not_a_campaign_is_refused_in_clear_words() {
    let workflow = builtin::builtin("workflow").unwrap();
    let check = |name: &str, content: &[u8], words: &str| {
        let text = refusal(name, content);
        assert!(text.contains(words), "{name}: {text}");
    };
    check("text", b"#!/usr/bin/python3\n", "is not WebAssembly");
    check("empty", b"", "is empty");
    check("module", b"\0asm\x01\0\0\0", "is a WebAssembly core module, not a component");
    check("unknown", b"\0asm\x09\0\x01\0", "is WebAssembly of an unknown version");
    check("nothing", EMPTY_COMPONENT, "exports neither `matterstack:plugin/campaign-calls`");
    check("nothing", EMPTY_COMPONENT, "it exports nothing");
    check("operator", builtin::builtin("compute").unwrap(), "is an operator where a campaign is needed");
    check("truncated", &workflow[..workflow.len() / 2], "cut off or damaged");
    let newer = patched(workflow, "plugin/campaign-calls@0.2.0-dev", "plugin/campaign-calls@9.2.0-dev");
    check(
        "newer",
        &newer,
        &format!("is built for contract version 9{}; this matterstack speaks {CONTRACT}", &CONTRACT[1..]),
    );
    let newer = patched(workflow, "matterstack:plugin/artifacts@0.2.0-dev", "matterstack:plugin/artifacts@9.2.0-dev");
    check("newer-import", &newer, &format!("imports `matterstack:plugin/artifacts@9{}`", &CONTRACT[1..]));
    let stranger =
        patched(workflow, "matterstack:plugin/artifacts@0.2.0-dev", "matterstack:plugin/artifucts@0.2.0-dev");
    check("stranger", &stranger, "imports `artifucts`, which no campaign may have");
}

/// A component that imports an empty instance and exports another under the campaign's name.
fn empty_calls(import: &str) -> Vec<u8> {
    let export = format!("matterstack:plugin/campaign-calls@{CONTRACT}");
    let name = |name: &str| [&[0, name.len() as u8], name.as_bytes()].concat();
    let section = |id: u8, content: &[u8]| [&[id, content.len() as u8], content].concat();
    [
        EMPTY_COMPONENT.to_vec(),
        section(7, &[1, 0x42, 0]),
        section(10, &[&[1], &name(import)[..], &[5, 0]].concat()),
        section(5, &[1, 1, 0]),
        section(11, &[&[1], &name(&export)[..], &[5, 1, 0]].concat()),
    ]
    .concat()
}

const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn imports_nobody_gives_are_named() {
    let text = refusal("http", &empty_calls("wasi:http/types@0.2.0"));
    assert!(text.contains("`wasi:http/types@0.2.0`"), "{text}");
    let text = refusal("empty-calls", &empty_calls("wasi:cli/exit@0.2.0"));
    assert!(text.contains("has no function `plan`"), "{text}");
}

#[test]
fn a_missing_or_changed_file_is_refused() {
    let cache = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_cache(limits(), cache.path().join("native"));
    let path = bench.file("plugin.wasm", builtin::builtin("workflow").unwrap());
    let expected = source(&path);
    fs::write(&path, b"another").unwrap();
    bench.host.set_campaign(expected.clone());
    let text = bench.plan(json!({})).unwrap_err().to_string();
    assert!(text.contains("has the digest") && text.contains(&expected.sha256), "{text}");
    fs::remove_file(&path).unwrap();
    let text = bench.plan(json!({})).unwrap_err().to_string();
    assert!(text.contains("cannot be read"), "{text}");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let text = bench.plan(json!({})).unwrap_err().to_string();
    assert!(text.contains("not a regular file"), "{text}");
}

/// The code of the pinned plugin is in the cache, under its digest and a seal: nothing that stands in the file's place
/// runs.
#[test]
fn a_file_is_not_read_again_where_there_is_native_code() {
    let mut bench = Bench::new(limits());
    let path = bench.file("plugin.wasm", builtin::builtin("workflow").unwrap());
    bench.host.set_campaign(source(&path));
    bench.host.load_all().unwrap();
    let mut again = Bench::new(limits());
    again.host.set_campaign(source(&path));
    fs::write(&path, b"another").unwrap();
    again.plan(json!({"tasks": [{"id": "a", "operator": "local", "command": ["true"]}]})).unwrap();
    let text = again.host.load_all().unwrap_err().to_string();
    assert!(text.contains("has the digest"), "{text}");
}

#[test]
fn an_operator_that_is_not_configured_is_named() {
    let bench = Bench::new(limits());
    let error = bench.host.submit(&key(), &bench.mode("")).unwrap_err();
    assert!(error.to_string().contains("plugin `op` in `submit`: is not configured"), "{error}");
}

#[test]
fn inspection_tells_what_a_plugin_is() {
    let bytes = builtin::builtin("compute").unwrap();
    let found = inspect("compute", bytes).unwrap();
    assert_eq!((found.world.as_str(), found.contract.as_str(), found.size), ("operator", CONTRACT, bytes.len() as u64));
    assert_eq!(found.grants, json!({"compute": ["BACKEND"]}));
    assert!(found.imports.iter().any(|import| import.starts_with("matterstack:plugin/compute@")), "{found:?}");
    let found = inspect("workflow", builtin::builtin("workflow").unwrap()).unwrap();
    assert_eq!((found.world.as_str(), found.grants), ("campaign", json!({})));
    assert_eq!(found.sha256, sha256(builtin::builtin("workflow").unwrap()));
    let error = inspect("text", b"text").unwrap_err();
    assert_eq!((error.kind.code().as_str(), error.plugin.as_str()), ("plugin-load", "text"));
}
