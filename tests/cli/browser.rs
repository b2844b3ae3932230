//! The page of `report` in a real browser: nothing in it shuts a reader out, in the light, in the dark and on a narrow
//! screen, and it runs as it stands.
use crate::support::world::World;
use crate::support::{axe, path};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

/// Looks through the page once it is laid out, and leaves what it found in place of it.
const LOOK: &str = "axe.run(document, {resultTypes: ['violations']}).then(found => { \
    const told = found.violations.map(one => ({id: one.id, at: one.nodes.map(node => node.html.slice(0, 200))})); \
    document.documentElement.innerHTML = '<body><pre id=\"told\"></pre></body>'; \
    document.getElementById('told').textContent = JSON.stringify({told, passed: found.passes.length}); })";

/// A page, opened by a browser without a window: what came of it.
fn opened(page: &Path, more: &[&str]) -> Output {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut command = Command::new("timeout");
    command.args(["300", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]);
    command.args(["--enable-logging=stderr", "--virtual-time-budget=60000", "--dump-dom"]).args(more);
    command.arg(format!("--user-data-dir={}", scratch.path().join("profile").display()));
    command.arg(format!("file://{}", page.display())).env("PATH", path()).env("HOME", scratch.path());
    let output = command.output().expect("timeout starts");
    assert!(output.status.success(), "{output:?}");
    output
}

/// What axe finds in a page, in a window of this width, in the light (1) or the dark (0).
fn looked_through(directory: &Path, page: &str, (width, scheme): (u32, u8)) -> Vec<Value> {
    // the page itself lets no script run
    let (before, rest) = page.split_once("<meta http-equiv=\"Content-Security-Policy\"").expect("a policy");
    let rest = rest.split_once('>').expect("the end of the policy").1;
    let (rest, end) = rest.rsplit_once("</body>").expect("the end of the page");
    let page = format!("{before}{rest}<script>{}</script><script>{LOOK}</script></body>{end}", axe());
    let file = directory.join("looked-through.html");
    std::fs::write(&file, page).expect("a file");
    let size = format!("--window-size={width},900");
    let done = opened(&file, &[&size, &format!("--blink-settings=preferredColorScheme={scheme}")]);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let told = text.split_once("<pre id=\"told\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let told = told.unwrap_or_else(|| panic!("axe told nothing: {done:?}")).0;
    let told = told.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert!(told["passed"].as_u64() > Some(20), "{told}");
    told["told"].as_array().expect("a list").clone()
}

#[test]
fn a_page_shuts_no_reader_out_and_runs_as_it_stands() {
    let hostile = "<script>alert('x')</script> **b** [x](javascript:alert(1))";
    let y = |n: u32| format!("echo '{{\"loss\": 0.{n}, \"cost\": {}}}' > y.json", 9 - n);
    let mut tasks: Vec<Value> =
        (1..=12).map(|n| json!({"id": format!("t{n:02}"), "command": y(n % 9), "outputs": ["y.json"]})).collect();
    tasks.push(json!({"id": hostile, "command": "echo '</pre><b>' >&2; exit 3", "allow_failure": true}));
    tasks.push(json!({"id": "stdout", "command": "echo told; exit 4", "allow_failure": true,
                      "retry": {"max_attempts": 2, "backoff_s": 0}}));
    let world = World::with_tasks(&json!(tasks));
    world.run(&["init", "demo", "--run-id", "r", "--label", hostile]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.run(&["note", "r", hostile]).code(0);
    let figures = ["--fields", "y.json", "--minimize", "y.loss", "--minimize", "y.cost"];
    world.run(&[&["report", "r"], &figures[..]].concat()).code(0);
    let (directory, file) = (world.run_dir("r"), world.run_dir("r").join("report.html"));
    let page = std::fs::read_to_string(&file).expect("a page");
    for view in [(1100, 1), (1100, 0), (420, 1)] {
        let found = looked_through(&directory, &page, view);
        assert!(found.is_empty(), "{view:?}: {found:#?}");
    }
    // what finds nothing in ours does find something
    let worse = page.replacen("<html lang=\"en\">", "<html>", 1).replace("tabindex=\"0\"", "");
    let found = looked_through(&directory, &worse, (420, 1));
    let mut ids: Vec<&str> = found.iter().filter_map(|one| one["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["html-has-lang", "scrollable-region-focusable"], "{found:#?}");

    let done = opened(&file, &[]);
    let (dom, log) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(dom.contains("id=\"tasks\"") && dom.ends_with("</html>\n"), "{dom}");
    // a style or a script that the policy stops is told there
    assert!(!log.contains("CONSOLE"), "{log}");
}
