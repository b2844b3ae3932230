//! Plain scripts as campaigns and operators, through the binary: pinned, run, held, repaired, recorded and replayed.
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};

/// A language of scripts: how names end, and what carries scripts out.
struct Language {
    end: &'static str,
    runner: &'static str,
    /// A campaign that runs one task and counts what came, by a module of its own.
    campaign: &'static str,
    module: &'static str,
    /// An operator that hands every task to the backend `local`.
    operator: &'static str,
}

const LANGUAGES: [Language; 2] = [
    Language {
        end: "py",
        runner: "builtin:python",
        campaign: "\
import helpers

def plan(ctx, state):
    if state is None:
        tasks = [{\"id\": \"a\", \"operator\": \"local\", \"command\": \"echo 3 > n.txt\", \"outputs\": [\"n.txt\"]}]
        return {\"state\": {\"n\": 0}, \"reason\": \"it begins\", \"tasks\": tasks}
    return {\"complete\": {\"n\": state[\"n\"], \"drawn\": ctx.random(), \"params\": ctx.params}}

def analyze(ctx, state, results):
    return {\"n\": helpers.count(results)}
",
        module: "def count(results): return len(results)\n",
        operator: "\
def submit(attempt):
    return attempt.compute.submit(\"local\", {\"command\": attempt.task[\"command\"]})

def reconcile(attempt):
    return attempt.compute.find(\"local\")

def check_status(attempt):
    return attempt.compute.status(\"local\", attempt.handle)

def collect_results(attempt):
    attempt.compute.collect(\"local\", attempt.handle)
    return {\"output\": {\"by\": \"robot\"}}
",
    },
    Language {
        end: "js",
        runner: "builtin:javascript",
        campaign: "\
import { count } from \"./helpers.js\";

export function plan(ctx, state) {
  if (state === null) {
    const tasks = [{ id: \"a\", operator: \"local\", command: \"echo 3 > n.txt\", outputs: [\"n.txt\"] }];
    return { state: { n: 0 }, reason: \"it begins\", tasks };
  }
  return { complete: { n: state.n, drawn: ctx.random(), params: ctx.params } };
}

export function analyze(ctx, state, results) {
  return { n: count(results) };
}
",
        module: "export function count(results) { return results.length; }\n",
        operator: "\
function submit(attempt) {
  return attempt.compute.submit(\"local\", { command: attempt.task.command });
}
function reconcile(attempt) {
  return attempt.compute.find(\"local\");
}
function check_status(attempt) {
  return attempt.compute.status(\"local\", attempt.handle);
}
function collect_results(attempt) {
  attempt.compute.collect(\"local\", attempt.handle);
  return { output: { by: \"robot\" } };
}
",
    },
];

/// A workspace whose campaign is this script.
fn campaign(name: &str, text: &str, modules: &[&str]) -> World {
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": name, "seed": 7, "params": {"p": 1}});
    if !modules.is_empty() {
        config["campaign"]["modules"] = json!(modules);
    }
    config["limits"] = json!({"plugin": {"fuel": 3_000_000_000_u64, "output_mb": 2}});
    let world = World::new(&config);
    world.write(name, text);
    world
}

/// The reference campaign of a language with its module.
fn counting(language: &Language) -> World {
    let module = format!("helpers.{}", language.end);
    let world = campaign(&format!("campaign.{}", language.end), language.campaign, &[&module]);
    world.write(&module, language.module);
    world
}

/// The one explanation of the run as a whole.
fn explained(world: &World) -> Value {
    let all = world.run(&["explain", "r", "--json"]).code(0).json();
    all.as_array().into_iter().flatten().find(|one| one["task"].is_null()).cloned().unwrap_or_default()
}

fn pinned(world: &World) -> Value {
    let text = std::fs::read_to_string(world.run_dir("r").join("config.json")).expect("a configuration");
    serde_json::from_str::<Value>(&text).expect("JSON")["pinned"].clone()
}

#[test]
fn a_script_decides_from_the_copy_that_the_run_has() {
    let mut drawn = Vec::new();
    for language in &LANGUAGES {
        let world = counting(language);
        world.init();
        // what happens in the workspace is none of the run's business
        world.write(&format!("campaign.{}", language.end), "neither language");
        world.write(&format!("helpers.{}", language.end), "nor this");
        world.run(&["loop", "r"]).code(0);
        let result = world.status()["result"].clone();
        assert_eq!((&result["n"], &result["params"]), (&json!(1), &json!({"p": 1})), "{result}");
        drawn.push(result["drawn"].clone());
        world.is_sound("r");

        let pinned = pinned(&world);
        let (script, runner) = (&pinned["scripts"]["campaign"], &pinned["plugins"][language.runner]);
        assert_eq!(script["name"], format!("campaign.{}", language.end), "{pinned}");
        let module = &script["modules"][format!("helpers.{}", language.end)];
        let evidence = world.evidence();
        for decision in evidence["decisions"].as_array().expect("decisions") {
            assert_eq!(decision["plugin_sha256"], runner["sha256"], "{decision}");
            assert_eq!(decision["script_sha256"], script["file"]["sha256"], "{decision}");
        }
        let used = |digest: &Value| {
            let all = evidence["plugins"].as_array().expect("plugins");
            let one = all.iter().find(|plugin| plugin["sha256"] == *digest).expect("a plugin");
            one["used_by"].clone()
        };
        for file in [runner, &script["file"], module] {
            assert_eq!(used(&file["sha256"]), json!(["campaign"]), "{file}");
        }
        let report = std::fs::read_to_string(world.run_dir("r").join("evidence/README.md")).expect("a report");
        let told = format!("carried out by `{}` `{}`", language.runner, runner["sha256"].as_str().unwrap_or_default());
        assert!(report.contains(&told), "{report}");
        // a copy of the run that was tampered with is found out
        let path = world.run_dir("r").join(module["path"].as_str().expect("a path"));
        std::fs::write(path, "def count(results): return 7\n").expect("another module");
        world.run(&["doctor", "r"]).code(1);
        let told = world.run(&["replay", "r", "--json"]).code(1).json();
        assert_eq!(
            (&told["first"]["aspect"], &told["first"]["script_sha256"]),
            (&json!("file"), &script["file"]["sha256"])
        );
    }
    assert!(drawn[0].is_number() && drawn[0] == drawn[1], "{drawn:?}");
}

#[test]
fn modules_are_files_folders_and_wheels_of_python_alone() {
    let script = "\
from pkg.inner import one
from pkg import two
import wheeled

def plan(ctx, state):
    return {\"complete\": [one, two, wheeled.three]}

def analyze(ctx, state, results):
    return state
";
    let world = campaign("campaign.py", script, &["pkg/", "wheeled-1-py3-none-any.whl"]);
    world.write("pkg/inner.py", "one = 1\n");
    world.write("pkg/__init__.py", "two = 2\n");
    world.write("pkg/__pycache__/inner.pyc", "");
    world.write("pkg/notes.txt", "");
    let wheel =
        |name: &str, files: &[(&str, &str)]| std::fs::write(world.workspace().join(name), zip(files)).expect("a wheel");
    wheel("wheeled-1-py3-none-any.whl", &[("wheeled/__init__.py", "three = 3\n")]);
    world.init();
    world.run(&["step", "r"]).code(0);
    assert_eq!(world.status()["result"], json!([1, 2, 3]));
    let modules = pinned(&world)["scripts"]["campaign"]["modules"].clone();
    let names: Vec<&String> = modules.as_object().expect("modules").keys().collect();
    assert_eq!(names, ["pkg/__init__.py", "pkg/inner.py", "wheeled-1-py3-none-any.whl"]);

    wheel("native-1-py3-none-any.whl", &[("native/__init__.py", ""), ("native/core.abi3.so", "")]);
    wheel("tagged-1-cp312-cp312-manylinux_2_28_x86_64.whl", &[("tagged.py", "")]);
    world.write("torn.whl", "PK");
    world.write("core.so", "");
    world.write("notes.md", "");
    world.write("empty/readme.txt", "");
    std::fs::write(world.root().join("outside.py"), "").expect("a file");
    for (module, words) in [
        ("native-1-py3-none-any.whl", "a wheel that holds native code (`native/core.abi3.so`)"),
        ("tagged-1-cp312-cp312-manylinux_2_28_x86_64.whl", "it is built for `manylinux_2_28_x86_64`"),
        ("torn.whl", "no zip archive"),
        ("core.so", "which is native code"),
        ("notes.md", "no module of a Python script"),
        ("empty", "in which no file ends in"),
        ("campaign.py", "which is the script itself"),
        ("../outside.py", "outside the workspace"),
        ("absent.py", "cannot be found"),
    ] {
        let set = format!("campaign.modules=[\"{module}\"]");
        for command in [["init", "demo", "--set", &set].as_slice(), &["config", "check", "demo", "--set", &set]] {
            let refused = world.run(command).code(2);
            assert!(refused.stderr.contains(words) && refused.stderr.contains("campaign.modules"), "{refused:?}");
        }
    }
    let set = "campaign.plugin=builtin:workflow";
    let refused = world.run(&["config", "check", "demo", "--set", set]).code(2);
    assert!(refused.stderr.contains("campaign.modules is for scripts"), "{refused:?}");
    let refused =
        world.run(&["init", "demo", "--set", "campaign.plugin=builtin:python", "--set", "campaign.modules=[]"]);
    assert!(refused.code(2).stderr.contains("which carries out scripts, and needs one"));
    assert_eq!(world.run(&["list", "demo", "--json"]).code(0).json().as_array().map(Vec::len), Some(1));
}

/// Campaigns that fail their first plan: language, script, and what is said of it.
const BROKEN: [(&str, &str, &[&str]); 20] = [
    ("py", "def plan(ctx, state)\n    return 1\n", &["SyntaxError: expected ':'", "campaign.py", "line 1"]),
    (
        "py",
        "def helper(values):\n    return values[\"energy\"]\n\ndef plan(ctx, state):\n    return helper({})\n",
        &[
            "KeyError: 'energy'",
            "campaign.py:2 in helper",
            "return values[\"energy\"]",
            "Traceback",
            "campaign.py\", line 5",
        ],
    ),
    ("py", "def plann(ctx, state): return 1\n", &["campaign.plugin is `campaign.py`", "has no function `plan`"]),
    ("py", "def plan(ctx, state): return {\"state\": 1, \"wait\": True, \"taks\": []}\n", &["taks"]),
    ("py", "def plan(ctx, state): return {\"state\": 1}\n", &["tasks", "complete", "hold"]),
    ("py", "def plan(ctx, state): return 7\n", &["plan"]),
    ("py", "def plan(ctx, state):\n    while True: pass\n", &["used up its fuel", "limits.plugin.fuel"]),
    ("py", "def plan(ctx, state): return plan(ctx, state)\n", &["RecursionError"]),
    ("py", "def plan(ctx, state): return {\"state\": \"x\" * 3000000, \"wait\": True}\n", &["limits.plugin.output_mb"]),
    ("py", "def plan(ctx, state): return {\"state\": [float(\"nan\")], \"wait\": True}\n", &["nan"]),
    ("py", "import absent\ndef plan(ctx, state): return 1\n", &["ModuleNotFoundError", "absent", "campaign.modules"]),
    ("py", "import numpy\ndef plan(ctx, state): return 1\n", &["ModuleNotFoundError", "numpy", "ask-tell"]),
    ("js", "function plan(ctx, state) { return {;}\n", &["SyntaxError", "campaign.js"]),
    (
        "js",
        "function helper(values) {\n  return values.energy.total;\n}\nfunction plan(ctx, state) { return helper({}); }\n",
        &["TypeError", "campaign.js:2", "helper", "return values.energy.total"],
    ),
    ("js", "function plann(ctx, state) { return 1; }\n", &["has no function `plan`"]),
    ("js", "function plan(ctx, state) { return {state: 1, wait: true, taks: []}; }\n", &["taks"]),
    ("js", "function plan(ctx, state) { for (;;) {} }\n", &["used up its fuel", "limits.plugin.fuel"]),
    ("js", "function plan(ctx, state) { return plan(ctx, state); }\n", &["stack"]),
    (
        "js",
        "function plan(ctx, state) { return {state: 'x'.repeat(3000000), wait: true}; }\n",
        &["limits.plugin.output_mb"],
    ),
    ("js", "function plan(ctx, state) { return {state: [NaN], wait: true}; }\n", &["nan"]),
];

#[test]
fn what_is_wrong_with_a_script_is_told_by_a_failed_init() {
    for (end, text, words) in BROKEN {
        let analyze =
            if end == "py" { "def analyze(c, s, r): return s" } else { "function analyze(c, s, r) { return s; }" };
        let world = campaign(&format!("campaign.{end}"), &format!("{text}\n{analyze}\n"), &[]);
        let failed = world.run(&["init", "demo"]);
        let unfit = failed.stderr.contains("has no function");
        let ended =
            unfit || failed.stderr.contains(" trapped: ") || words.iter().any(|word| word.starts_with("limits."));
        let expected = if ended { 4 } else { 2 };
        assert_eq!(failed.code, Some(expected), "{text}: {failed:?}");
        let told = failed.stderr.to_lowercase();
        for word in words {
            assert!(told.contains(&word.to_lowercase()), "{text}: `{word}` is not in {}", failed.stderr);
        }
        assert!(world.run(&["list", "demo", "--json"]).code(0).json().as_array().is_some_and(Vec::is_empty));
    }
}

/// A campaign without `analyze` would plan, and be held at its first result; an operator without `reconcile` at its
/// first lost answer.
#[test]
fn a_script_that_lacks_a_function_is_refused_before_it_runs() {
    for language in &LANGUAGES {
        let world = counting(language);
        world.init();
        let name = format!("campaign.{}", language.end);
        world.write(&name, &language.campaign.replace("analyze", "analyse"));
        let commands = [&["init", "demo"][..], &["config", "check", "demo"], &["amend", "r", "plugin", &name]];
        for command in commands {
            let refused = world.run(command).code(4);
            let words = format!("campaign.plugin is `{name}`, which has no function `analyze`, and a campaign has one");
            assert!(refused.stderr.contains(&words) && refused.stderr.contains("hint: "), "{refused:?}");
        }
        assert_eq!(world.run(&["list", "demo", "--json"]).code(0).json().as_array().map(Vec::len), Some(1));
        // of a text in another encoding nothing is said of functions, which it may well have
        let latin = [language.campaign.as_bytes(), b"\n# \xe9\n"].concat();
        std::fs::write(world.workspace().join(&name), latin).expect("a script");
        let refused = world.run(&["init", "demo"]).code(4);
        assert!(refused.stderr.contains("; save it as UTF-8") && !refused.stderr.contains("hint: "), "{refused:?}");
        let world = operated(language, &json!({"compute": ["local"]}));
        let name = format!("robot.{}", language.end);
        for missing in ["submit", "reconcile", "check_status"] {
            // the backend has calls of that name too, which are none of the script's functions
            world.write(&name, &language.operator.replace(&format!(" {missing}("), " other("));
            let refused = world.run(&["config", "check", "demo"]).code(4);
            let words = format!("operators.robot.plugin is `{name}`, which has no function `{missing}`");
            assert!(refused.stderr.contains(&words), "{refused:?}");
        }
        // a campaign in the place of an operator
        world.write(&name, language.campaign);
        world.run(&["init", "demo"]).code(4);
    }
}

/// A campaign whose analysis fails until it is repaired.
fn broken(language: &Language) -> String {
    language.campaign.replace("count(results)", "count(results.missing)")
}

#[test]
fn a_run_that_its_script_holds_goes_on_with_a_repaired_one() {
    for language in &LANGUAGES {
        let world = counting(language);
        let name = format!("campaign.{}", language.end);
        world.write(&name, &broken(language));
        world.init();
        world.run(&["loop", "r"]).code(5);
        let told = explained(&world);
        let sentence = told["sentence"].as_str().unwrap_or_default();
        let before = pinned(&world);
        let digest =
            |pinned: &Value| pinned["scripts"]["campaign"]["file"]["sha256"].as_str().unwrap_or_default().to_owned();
        for words in ["Error", &name, &digest(&before)[..12], language.runner] {
            assert!(sentence.contains(words), "{words}: {told}");
        }
        let command = told["command"].as_str().unwrap_or_default();
        assert!(command.starts_with("matterstack amend ") && command.ends_with(&format!(" plugin {name}")), "{told}");
        let log = world.run(&["logs", "r"]).code(0).stdout;
        assert!(log.contains("error") && log.contains("Error") && log.contains(&name), "{log}");

        // a module that is exchanged comes with the script
        world.write(&name, language.campaign);
        let status = world.run(&["status", "r"]).code(0).stdout;
        assert!(status.contains(&format!("{name} differs in the workspace: `matterstack amend ")), "{status}");
        assert!(status.contains(&format!(" plugin {name}` takes it into the run")), "{status}");
        world.write(&format!("helpers.{}", language.end), &language.module.replace("return", "return 40 +"));
        let tried = world.run(&["amend", "r", "plugin", &name, "--dry-run"]).code(0);
        assert_eq!(pinned(&world), before, "{tried:?}");
        let amended = world.run(&["amend", "r", "plugin", &name, "--reason", "a typing error"]).code(0);
        assert!(amended.stderr.contains(&format!("script {name} is")), "{amended:?}");
        assert!(amended.stderr.contains(&format!("with helpers.{}", language.end)), "{amended:?}");
        let after = pinned(&world);
        assert_ne!(digest(&after), digest(&before));
        world.run(&["loop", "r"]).code(0);
        assert_eq!(world.status()["result"]["n"], 41);
        // every decision is made again with the script as it was
        world.is_sound("r");
        let evidence = world.evidence();
        let scripts: Vec<&Value> =
            evidence["decisions"].as_array().expect("decisions").iter().map(|one| &one["script_sha256"]).collect();
        assert_eq!(scripts.first(), Some(&&json!(digest(&before))), "{scripts:?}");
        assert_eq!(scripts.last(), Some(&&json!(digest(&after))), "{scripts:?}");
    }
}

#[test]
fn what_carries_a_script_out_is_exchanged_apart_from_it() {
    let [python, javascript] = &LANGUAGES;
    let world = counting(python);
    world.init();
    let before = pinned(&world);
    let amended = world.run(&["amend", "r", "plugin", "builtin:python"]).code(0);
    assert!(amended.stderr.contains("plugin builtin:python is"), "{amended:?}");
    assert_eq!(pinned(&world)["scripts"], before["scripts"]);
    let refused = world.run(&["amend", "r", "plugin", "builtin:javascript"]).code(2);
    assert!(
        refused.stderr.contains("carries out scripts in JavaScript, and campaign.plugin is `campaign.py`"),
        "{refused:?}"
    );
    let refused = world.run(&["amend", "r", "plugin", "builtin:python", "--operator", "local"]).code(2);
    assert!(refused.stderr.contains("operators.local.plugin is `builtin:compute`"), "{refused:?}");
    for file in ["campaign.py", "helpers.py"] {
        let refused = world.run(&["amend", "r", "file", file]).code(2);
        assert!(refused.stderr.contains(" plugin campaign.py` takes it, with its modules"), "{refused:?}");
    }
    let refused = world.run(&["config", "check", "demo", "--set", "campaign.plugin=campaign.ts"]).code(2);
    assert!(refused.stderr.contains("campaign.modules is for scripts"), "{refused:?}");
    let set = ["--set", "campaign.plugin=campaign.ts", "--set", "campaign.modules=[]"];
    let refused = world.run(&[&["config", "check", "demo"][..], &set].concat()).code(2);
    assert!(refused.stderr.contains("TypeScript") && refused.stderr.contains("esbuild"), "{refused:?}");
    let refused = world.run(&["amend", "r", "plugin", "absent.py"]).code(2);
    assert!(refused.stderr.contains("there is no script `absent.py`"), "{refused:?}");
    // another language takes over, with the state as it is; its modules are not those of the other
    world.write("other.js", &javascript.campaign.replace("count(results)", "results.length").replace("import", "//"));
    let refused = world.run(&["amend", "r", "plugin", "other.js"]).code(2);
    assert!(refused.stderr.contains("no module of a JavaScript script"), "{refused:?}");
    let alone =
        campaign("campaign.py", &python.campaign.replace("import helpers", "").replace("helpers.count", "len"), &[]);
    alone.init();
    alone.write("other.js", &javascript.campaign.replace("count(results)", "results.length").replace("import", "//"));
    alone.run(&["amend", "r", "plugin", "other.js"]).code(0);
    alone.run(&["loop", "r"]).code(0);
    assert_eq!(alone.status()["result"]["n"], 1);
    alone.is_sound("r");
    let runners: Vec<Value> = alone.evidence()["decisions"].as_array().expect("decisions").to_vec();
    assert_ne!(runners[0]["plugin_sha256"], runners[1]["plugin_sha256"], "{runners:?}");
}

/// A workspace with a script as its operator.
fn operated(language: &Language, grants: &Value) -> World {
    let mut config = tasks_config(&json!([{"id": "a", "operator": "robot", "command": ["true"]}]));
    config["operators"] = json!({"robot": {"plugin": format!("robot.{}", language.end), "grants": grants}});
    let world = World::new(&config);
    world.write(&format!("robot.{}", language.end), language.operator);
    world
}

#[test]
fn a_script_carries_tasks_outside() {
    for language in &LANGUAGES {
        let world = operated(language, &json!({"compute": ["local"]}));
        world.init();
        world.run(&["loop", "r"]).code(0);
        assert_eq!(world.tasks(), "a=completed");
        let evidence = world.evidence();
        assert_eq!(evidence["attempts"][0]["data"], json!({"by": "robot"}), "{evidence}");
        assert!(pinned(&world)["scripts"]["operators.robot"]["file"]["sha256"].is_string());
    }
}

#[test]
fn a_script_is_denied_what_its_operator_is_not_granted() {
    for language in &LANGUAGES {
        let world = operated(language, &json!({}));
        world.init();
        world.run(&["loop", "r"]).code(1);
        let told = world.run(&["explain", "r", "a", "--json"]).code(0).json()[0].clone();
        let sentence = told["sentence"].as_str().unwrap_or_default();
        assert!(sentence.contains("is not granted") && sentence.contains("\"compute\":[\"local\"]"), "{told}");
    }
}

#[test]
fn results_of_a_script_serve_as_long_as_it_is_the_same() {
    for language in &LANGUAGES {
        let world = operated(language, &json!({"compute": ["local"]}));
        world.init();
        world.run(&["loop", "r"]).code(0);
        let reused = |run: &str| {
            world.run(&["init", "demo", "--run-id", run, "--reuse", "workspace"]).code(0);
            world.run(&["loop", run]).code(0);
            !world.run(&["tasks", run, "--json"]).code(0).json()[0]["reused"].is_null()
        };
        assert!(reused("two"), "the same script");
        let changed = language.operator.replace("robot", "robot 2");
        world.write(&format!("robot.{}", language.end), &changed);
        assert!(!reused("three"), "another script");
        // and an operator's is exchanged as a campaign's is
        let robot = format!("robot.{}", language.end);
        world.run(&["init", "demo", "--run-id", "four", "--reuse", "none"]).code(0);
        world.write(&robot, language.operator);
        let amended = world.run(&["amend", "four", "plugin", &robot, "--operator", "robot"]).code(0);
        assert!(amended.stderr.contains(&format!("script {robot} is")), "{amended:?}");
        world.run(&["amend", "four", "plugin", language.runner, "--operator", "robot"]).code(0);
        world.run(&["loop", "four"]).code(0);
    }
}

/// A zip archive with these files, not compressed.
fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let sizes =
            [crc32(content.as_bytes()), content.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
        let fixed =
            [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x28], &sizes[..], &(name.len() as u16).to_le_bytes(), &[0, 0]].concat();
        let at = (bytes.len() as u32).to_le_bytes();
        bytes.extend([b"PK\x03\x04", &fixed[..], name.as_bytes(), content.as_bytes()].concat());
        list.extend([b"PK\x01\x02\x14\0", &fixed[..], &[0; 10], &at, name.as_bytes()].concat());
    }
    let count = (files.len() as u16).to_le_bytes();
    let (length, at) = ((list.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    [bytes, list, [b"PK\x05\x06\0\0\0\0", &count[..], &count, &length, &at, &[0, 0]].concat()].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
