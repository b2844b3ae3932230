//! `report`: one page that tells what came out of a run, whatever names, texts and numbers are in it.
use crate::support::world::{World, tasks_config};
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
    for number in ["NaN", "inf\"", "=\"-inf"] {
        assert!(!page.contains(number), "{number}");
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
