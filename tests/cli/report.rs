//! `report`: one page that tells what came out of a run, whatever names, texts and numbers are in it.
use crate::support::world::{World, tasks_config};
use matterstack::model::evidence::{FileKind, Finding, Integrity, Verified};
use matterstack::results::{Wanted, report};
use matterstack::run::RunDir;
use matterstack::store::Store;
use serde_json::{Value, json};
use std::fs;

/// The page of the run `r`.
fn page(world: &World, more: &[&str]) -> String {
    world.run(&[&["report", "r"], more].concat()).code(0);
    fs::read_to_string(world.run_dir("r").join("report.html")).expect("a page")
}

/// What lies between the first of these words and the next of the others.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let after = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {text}")).1;
    after.split(to).next().unwrap_or_default()
}

/// Checks what holds of every page: it is self-contained, elements are closed in order, headings go down by one level,
/// figures have names, and tables heads.
fn is_sound(page: &str) {
    for word in [
        "<script", "http://", "https://", "<img", "<link", "href=\"h", "href=\"j", " onload", "<iframe", "@import",
        "url(",
    ] {
        assert!(!page.contains(word), "{word} in the page");
    }
    assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">") && page.ends_with("</html>\n"));
    assert!(
        page.contains("default-src 'none'")
            && page.contains("prefers-color-scheme: dark")
            && page.contains("@media print")
    );
    let (mut open, mut level) = (Vec::new(), 0);
    for tag in page.split('<').skip(2).filter_map(|part| part.split('>').next()) {
        let name = tag.split_whitespace().next().expect("a name");
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "</{name}>"),
            None if name == "meta" => {}
            None => open.push(name),
        }
        if let Some(now) = name.strip_prefix('h').and_then(|level| level.parse::<u32>().ok()) {
            assert!(now <= level + 1, "h{now} below h{level}");
            level = now;
        }
        match name {
            "svg" => assert!(tag.contains("role=\"img\"") && tag.contains("aria-labelledby"), "{tag}"),
            "th" => assert!(tag.contains("scope="), "{tag}"),
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert_eq!(page.matches("<svg ").count(), page.matches("<desc ").count());
    for drawn in page.split("<svg ").skip(1).filter_map(|rest| rest.split("</svg>").next()) {
        for number in ["NaN", "inf"] {
            assert!(!drawn.contains(number), "{number} in {drawn}");
        }
    }
}

#[test]
fn a_page_has_the_values_their_front_and_the_timeline() {
    let command = "echo '{\"loss\": 0.{x}, \"cost\": '$((9-{x}))'}' > y.json";
    let template =
        json!({"id": "t{x}", "command": command, "input": {"x": "{x}"}, "outputs": ["y.json"], "operator": "local"});
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "builtin:sweep", "params": {"template": template, "grid": {"x": [3, 1, 2]}}});
    let world = World::new(&config);
    world.run(&["init", "demo", "--run-id", "r", "--label", "first & best"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.run(&["note", "r", "the oven was cold"]).code(0);
    let done = world.run(&["report", "--fields", "y.json", "--fields", "z.json", "--minimize", "y.loss"]).code(0);
    assert!(done.stderr.contains("no task left an output `z.json`"), "{done:?}");
    let done = world.run(&["report", "--fields", "y.json", "--minimize", "y.loss", "--minimize", "y.cost"]).code(0);
    assert!(done.stdout.ends_with("runs/r/report.html\n"), "{done:?}");
    let page = fs::read_to_string(world.run_dir("r").join("report.html")).expect("a page");
    is_sound(&page);
    assert!(page.contains("<h1>first &amp; best (r)</h1>") && page.contains("the oven was cold"), "{page}");
    assert!(page.contains("after the run was made)"), "{page}");
    let figures = between(&page, "id=\"figures\"", "id=\"timeline\"");
    assert!(figures.contains("The best is 0.1 (t1).") && figures.contains("class=\"best\""), "{figures}");
    assert!(figures.contains("3 points, of which 3 are on the Pareto front"), "{figures}");
    assert_eq!(figures.matches("<circle").count(), 6);
    let timeline = between(&page, "id=\"timeline\"", "id=\"failures\"");
    assert_eq!(timeline.matches("<rect class=\"completed\"").count(), 3);
    assert!(timeline.contains("time since the run was made / s"), "{timeline}");
    let resources = between(&page, "id=\"resources\"", "id=\"environment\"");
    assert!(resources.contains("core hours") && resources.contains(">local</th>"), "{resources}");

    let missing = world.run(&["report", "r", "--maximize", "y.gain", "--out", "page.html", "--json"]).code(0);
    assert_eq!(missing.json()["missing"], json!(["no task has a number `y.gain`"]));
    assert!(missing.stderr.contains("warning: no task has a number `y.gain`"), "{missing:?}");
    world.run(&["report", "r", "--out", "."]).code(2);
    world.run(&["report", "none"]).code(2);
}

#[test]
fn a_page_tells_what_was_asked_who_did_what_and_what_failed_before() {
    let once = "echo attempt >> ../tries; test $(wc -l < ../tries) -gt 1 || { echo too hot; exit 3; }; wc -l < ../tries > y.json";
    let world = World::with_tasks(&json!([
        {"id": "flaky", "command": once, "outputs": ["y.json"], "retry": {"max_attempts": 2, "backoff_s": 0}},
        {"id": "next", "command": "cat y.json", "files": {"y.json": {"from": "flaky", "output": "y.json"}}},
        {"id": "plain", "command": "echo 7 > p.txt", "outputs": ["p.txt"]},
        {"id": "bad", "command": "echo broken; exit 4", "allow_failure": true},
        {"id": "after", "command": "true", "depends_on": ["bad"], "allow_failure": true},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    world.run(&["rerun", "r", "flaky", "--reason", "the sensor was <b>loose</b>"]).code(0);
    world.run(&["loop", "r"]).code(0);
    let page = page(&world, &[]);
    is_sound(&page);
    let part = |id: &str| between(&page, &format!("<h2 id=\"{id}\""), "<h2 ");
    let expected: [(&str, &[&str]); 8] = [
        ("asked", &["builtin:workflow", "<dt>Seed</dt>", "commands on backend local", "builtin:compute", "SHA-256"]),
        (
            "findings",
            &[
                "2 attempts failed or were lost",
                "brought back by a person (once)",
                "1 result is stale",
                "were not compared",
            ],
        ),
        ("states", &["iteration 1: 1 failed", "key skipped", "<summary>The numbers (1 row)"]),
        ("timeline", &["How many at a time", "in the queue"]),
        ("failures", &["It wrote last to standard output:", "broken", "Every try that came to nothing", ">flaky</th>"]),
        ("decisions", &["decided by", ">complete</td>"]),
        ("commands", &[">init</td>", ">rerun</td>", "the sensor was &lt;b&gt;loose&lt;/b&gt;"]),
        ("resources", &["machine or node"]),
    ];
    for (id, words) in expected {
        words.iter().for_each(|words| assert!(part(id).contains(words), "`{words}` in {id}: {}", part(id)));
    }
    assert!(part("tasks").contains("started") && part("tasks").matches("<tr>").count() == 6, "{}", part("tasks"));
    assert!(part("tasks").contains("completed (stale)"), "{}", part("tasks"));
    world.run(&["init", "demo", "--run-id", "s", "--reuse", "r"]).code(0);
    world.run(&["loop", "s"]).code(0);
    world.run(&["report", "s", "--out", "s.html"]).code(0);
    let reused = fs::read_to_string(world.root().parent().expect("its place").join("s.html")).expect("a page");
    is_sound(&reused);
    assert!(reused.contains("1 attempt ran nothing and took results of earlier attempts"), "{reused}");
    assert!(reused.contains("completed (reused from r)"), "{reused}");
    let linked: Vec<&str> = page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    linked.iter().for_each(|id| assert_eq!(page.matches(&format!(" id=\"{id}\"")).count(), 1, "#{id}"));
}

#[test]
fn files_by_their_digests_say_what_those_in_their_places_say() {
    let task =
        |id: &str, command: &str| json!({"id": id, "command": command, "outputs": ["*.json"], "allow_failure": true});
    let world = World::with_tasks(&json!([
        task("a", "echo '{\"loss\": 0.25}' > y.json"),
        task("b", "echo '{\"loss\": 0.5}' > y.json; echo here it broke >&2; exit 3"),
    ]));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let figures = ["--fields", "y.json", "--minimize", "y.loss"];
    let whole = page(&world, &figures);
    assert!(whole.contains("here it broke") && whole.contains("The best is 0.25 (a)."), "{whole}");
    // as a bundle of evidence has them
    let (run, bundle) = (world.run_dir("r"), world.root().join("bundle"));
    fs::create_dir_all(bundle.join("files")).expect("a directory");
    for attempt in world.evidence()["attempts"].as_array().expect("attempts") {
        let directory = attempt["directory"].as_str().expect("a directory");
        let logs = attempt["logs"].as_array().expect("logs").iter().map(|log| (log, &log["kind"]));
        let outputs = attempt["outputs"].as_array().expect("outputs").iter().map(|output| (output, &output["path"]));
        for (file, name) in logs.chain(outputs) {
            let name = name.as_str().expect("a name").replace("exit", "exit.json");
            let digest = file["sha256"].as_str().expect("a digest");
            fs::copy(run.join(directory).join(name), bundle.join("files").join(digest)).expect("a copy");
        }
    }
    world.run(&["backup", "r", "--out", "copy.sqlite"]).code(0);
    let copy = world.root().parent().expect("the root's place").join("copy.sqlite");
    fs::rename(copy, bundle.join("state.sqlite")).expect("the record");
    fs::copy(run.join("config.json"), bundle.join("config.json")).expect("a copy");
    let other = world.root().join("other.html");
    let of_bundle = || {
        let (place, out) = (bundle.display().to_string(), other.display().to_string());
        world.run(&[&["report", &place, "--out", &out], &figures[..]].concat()).code(0);
        fs::read_to_string(&other).expect("a page")
    };
    assert_eq!(of_bundle(), whole, "while a bundle is put together");
    fs::write(bundle.join("manifest-sha256.txt"), "").expect("a manifest");
    assert_eq!(of_bundle(), whole, "and once it is one");
    for entry in fs::read_dir(bundle.join("files")).expect("files").flatten() {
        fs::write(entry.path(), "changed").expect("a file");
    }
    let changed = of_bundle();
    is_sound(&changed);
    assert!(
        changed.contains("What it wrote is not there as it was left.") && changed.contains("is not as it was left")
    );
}

#[test]
fn files_that_were_compared_are_told() {
    let world = World::with_tasks(&json!([{"id": "a", "command": "true"}]));
    world.init();
    let dir = RunDir::new(world.run_dir("r"));
    let store = Store::read(&dir.database()).expect("a store");
    let finding = Finding {
        kind: FileKind::Output,
        path: "operators/local/a-1/<y>.json".to_owned(),
        task: Some("<a>".to_owned()),
        attempt_id: None,
        sha256: "0".repeat(64),
        integrity: Integrity::Missing,
        detail: None,
    };
    let verified = Verified { files: 8, intact: 5, missing: 3, ..Verified::default() };
    let wanted = Wanted { compared: Some((verified, vec![finding])), ..Wanted::default() };
    let mut page = Vec::new();
    report(&dir, &store, None, &wanted, &mut page).expect("a page");
    let page = String::from_utf8(page).expect("UTF-8");
    is_sound(&page);
    for words in [
        "8 files were compared",
        "&lt;y&gt;.json",
        "output of task &lt;a&gt;",
        "and 2 more",
        "cannot be read, so what was asked",
    ] {
        assert!(page.contains(words), "{words} in {page}");
    }
}

#[test]
fn no_name_text_or_number_breaks_the_page() {
    let hostile = "<script>alert('x')</script>";
    let long = "l".repeat(120);
    let value = |text: &str| format!("printf '%s' '{text}' > y.json");
    let task =
        |id: &str, command: String| json!({"id": id, "command": command, "outputs": ["y.json"], "allow_failure": true});
    let tasks = json!([
        task(hostile, "echo '</pre><script>alert(1)</script> [x](javascript:alert(1))' >&2; exit 3".to_owned()),
        task("**bold** & \"quoted\"", value("{\"a\": 1e300, \"b\": -1e300, \"one\": 7, \"<b>\": \"<i>\"}")),
        task(&long, value("{\"a\": -1e300, \"b\": 1e-300}")),
        task("no JSON", value("{\"a\": NaN}")),
        task("text", value("{\"a\": \"1\", \"b\": null}")),
    ]);
    let world = World::with_tasks(&tasks);
    world.run(&["init", "demo", "--run-id", "r", "--label", hostile]).code(0);
    let before = page(&world, &[]);
    is_sound(&before);
    assert!(before.contains("The run has not ended") && before.contains("No job of the run is known"), "{before}");
    world.run(&["loop", "r"]).code(0);
    world.run(&["note", "r", "</dd><script>alert(2)</script>"]).code(0);
    let done = world.run(&["report", "r", "--fields", "y.json", "--minimize", "y.a"]).code(0);
    assert!(done.stderr.contains("`y.json` of task `no JSON` is no JSON"), "{done:?}");
    let page = fs::read_to_string(world.run_dir("r").join("report.html")).expect("a page");
    is_sound(&page);
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;") && page.contains("-1e300"), "{page}");
    assert!(page.contains("exited with code 3") && page.contains("&lt;/pre&gt;&lt;script&gt;"), "{page}");
    assert!(page.contains("<h3>y.one</h3>"), "one point");
}

#[test]
fn the_objectives_of_a_campaign_that_asks_are_drawn_also_before_it_ends() {
    let ask = "def ask(told):\n    n = len(told['trials'])\n    return {'trials': [{'params': {'x': n}}], 'stop': 'enough' if n > 3 else None}\n";
    let config = json!({"campaign": {"plugin": "builtin:ask-tell", "params": {
        "ask": {"call": "scripts/ask.py:ask"}, "tell": {"call": "scripts/measure.py:measure"},
        "variables": {"x": {"integer": [0, 9]}}, "objectives": {"loss": "MINIMIZE"}, "budget": {"trials": 3},
    }}});
    let world = World::new(&config);
    world.write("scripts/ask.py", ask);
    world.write("scripts/measure.py", "def measure(params):\n    return {'loss': (params['x'] - 1.5) ** 2}\n");
    world.init();
    crate::support::until("a trial has ended", || {
        world.run(&["step", "r"]);
        world.tasks().contains("trial-0001=completed")
    });
    assert_eq!(world.status()["state"], "active");
    let early = page(&world, &[]);
    assert!(early.contains("<h3>loss, minimized</h3>") && early.contains("2.25"), "{early}");
    world.run(&["loop", "r"]).code(0);
    let late = page(&world, &[]);
    is_sound(&late);
    assert!(late.contains("3 values, a point each") && late.contains("The best is 0.25 (trial-0002)."), "{late}");
}

#[test]
fn many_tasks_are_told_by_the_notable_and_drawn_by_counts() {
    let tasks: Vec<Value> = (0..500).map(|n| json!({"id": format!("t{n}"), "command": "true"})).collect();
    let world = World::with_tasks(&json!(tasks));
    world.init();
    world.run(&["loop", "r"]).code(0);
    let page = page(&world, &[]);
    is_sound(&page);
    let timeline = between(&page, "id=\"timeline\"", "id=\"failures\"");
    assert!(timeline.contains("The area is how many attempts ran at a time") && !timeline.contains("<rect"), "counts");
    assert_eq!(between(&page, "id=\"tasks\"", "</html>").matches("<tr>").count(), 501);
    assert!(page.len() < 400_000, "{}", page.len());
}
