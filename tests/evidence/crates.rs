//! A bundle is a research object that holds up before programs of others: whatever became of the run, whoever reads it.
use super::{evidence_dir, tasks};
use crate::support::python_of;
use crate::support::world::{World, tasks_config};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The one recommendation that cannot be met: software is to have an address on the web, and the main workflow, which
/// is software, must be a file of the crate.
const UNMEETABLE: &str = "RECOMMENDED process-run-crate-0.5_5.1";

fn about() -> Value {
    let user = Command::new("id").arg("-un").output().expect("a name").stdout;
    json!({"license": "cc-by-4.0", "authors": [{
        "name": "Ada Lovelace", "orcid": "0000-0002-1825-0097", "affiliation": "Royal Society",
        "affiliation_url": "https://ror.org/03wnrjx87", "user": String::from_utf8_lossy(&user).trim(),
    }]})
}

/// A workspace whose runs say who made them.
fn signed(mut config: Value) -> World {
    config["evidence"] = about();
    World::new(&config)
}

fn with_people(tasks: &Value) -> World {
    let mut config = tasks_config(tasks);
    config["operators"]["human"] = json!({"plugin": "builtin:human"});
    signed(config)
}

fn metadata(bundle: &Path) -> Value {
    let text = fs::read(bundle.join("ro-crate-metadata.json")).expect("ro-crate-metadata.json");
    serde_json::from_slice(&text).expect("JSON")
}

/// The entities of a crate that have this type.
fn of_type<'a>(crate_: &'a Value, kind: &str) -> Vec<&'a Value> {
    let is = |entity: &&Value| {
        entity["@type"] == kind || entity["@type"].as_array().is_some_and(|all| all.contains(&json!(kind)))
    };
    crate_["@graph"].as_array().expect("a graph").iter().filter(is).collect()
}

#[track_caller]
fn entity<'a>(crate_: &'a Value, id: &str) -> &'a Value {
    let found: Vec<_> = crate_["@graph"].as_array().expect("a graph").iter().filter(|one| one["@id"] == id).collect();
    assert_eq!(found.len(), 1, "`{id}` in {crate_:#}");
    found[0]
}

fn ids(links: &Value) -> Vec<&str> {
    let one = std::slice::from_ref(links);
    let all = links.as_array().map_or(one, Vec::as_slice);
    all.iter().filter_map(|link| link["@id"].as_str()).collect()
}

/// Every entity that another names is there, each once, and every file of the crate is one of its parts.
#[track_caller]
fn hangs_together(bundle: &Path) -> Value {
    fn names(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => match members.get("@id") {
                Some(id) if members.len() == 1 => {
                    found.insert(id.as_str().expect("a text").to_owned());
                }
                _ => members.values().for_each(|value| names(value, found)),
            },
            Value::Array(values) => values.iter().for_each(|value| names(value, found)),
            _ => {}
        }
    }
    let crate_ = metadata(bundle);
    let graph = crate_["@graph"].as_array().expect("a graph");
    let there: Vec<&str> = graph.iter().map(|one| one["@id"].as_str().expect("an id")).collect();
    let once: BTreeSet<&str> = there.iter().copied().collect();
    assert_eq!(there.len(), once.len(), "an entity is described twice: {there:?}");
    let mut named = BTreeSet::new();
    names(&crate_["@graph"], &mut named);
    let known = ["https://w3id.org/ro/crate/", "https://bioschemas.org/"];
    named.retain(|id| !once.contains(id.as_str()) && !known.iter().any(|known| id.starts_with(known)));
    assert_eq!(named, BTreeSet::new(), "named and not described");
    for id in ids(&entity(&crate_, "./")["hasPart"]) {
        let path = bundle.join(id.replace("%20", " "));
        assert!(path.is_file(), "{}", path.display());
        let size = fs::metadata(&path).expect("a file").len().to_string();
        assert_eq!(entity(&crate_, id)["contentSize"], size, "{id}");
    }
    crate_
}

/// Writes the bundle of a run; where it lies.
fn bundle(world: &World, run: &str) -> PathBuf {
    world.run(&["evidence", run]).code(0);
    world.run_dir(run).join("evidence")
}

/// What programs of others say of crates, each looked at as what it claims to be.
fn looked_at(crates: &[(&Path, &str)]) -> Vec<Value> {
    let asked: Vec<Value> = crates.iter().map(|(path, profile)| json!({"path": path, "profile": profile})).collect();
    let script = crate::support::root().join("tests/evidence/crates.py");
    let mut python = Command::new(python_of("crates"));
    python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).env("HOME", crates[0].0);
    let mut child = python.spawn().expect("Python");
    serde_json::to_writer(child.stdin.take().expect("a pipe"), &asked).expect("a question");
    let output = child.wait_with_output().expect("an answer");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The checks that failed, beside the one that cannot be met.
fn failed(look: &Value) -> Vec<&str> {
    let failed = look["failed"].as_object().expect("an object");
    failed.keys().map(String::as_str).filter(|check| *check != UNMEETABLE).collect()
}

/// A run that has come to its end, with ids that could be taken for something else, failures, and files that are gone.
fn finished() -> World {
    let mut tasks = tasks();
    let odd = "a \"b\" <i>ü</i> #1%20/../x\u{202e}";
    let same = json!({"id": odd, "operator": "local", "command": ["sh", "say it.sh"], "outputs": ["deep er/*", "gone.txt"],
        "files": {"say it.sh": {"path": "scripts/say it.sh"}}});
    tasks.as_array_mut().expect("a list").push(same);
    let mut config = tasks_config(&tasks);
    config["campaign"]["inputs"] = json!({"points": "data/points.csv"});
    let world = signed(config);
    world.write("scripts/say it.sh", "mkdir 'deep er'; echo 1 > 'deep er/one.csv'; echo gone > gone.txt; echo said\n");
    world.write("data/points.csv", "x\n1\n");
    world.run(&["init", "demo", "--run-id", "r", "--label", "a label"]).code(0);
    world.run(&["pause", "r", "--reason", "lunch"]).code(0);
    world.run(&["resume", "r"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.run(&["clean", "r", "--outputs", "gone.txt"]).code(0);
    world
}

/// A question that waits, and what waits for it.
fn gate() -> World {
    let question =
        json!({"instructions": "Go on?", "schema": {"type": "object", "properties": {"go": {"type": "boolean"}}}});
    let world = with_people(&json!([
        {"id": "first", "operator": "local", "command": "echo 1 > o", "outputs": ["o"]},
        {"id": "ask", "operator": "human", "input": question, "depends_on": ["first"]},
        {"id": "then", "operator": "local", "command": "true", "depends_on": ["ask"]},
    ]));
    world.init();
    world.run(&["loop", "r"]).code(5);
    world
}

/// A campaign that is a script, whose one task fails.
fn script() -> World {
    let mut config = tasks_config(&json!([]));
    config["campaign"] = json!({"plugin": "campaign.js", "modules": ["one.js"]});
    let world = signed(config);
    world.write("one.js", "export const id = \"one\";\n");
    world.write(
        "campaign.js",
        "import { id } from \"./one.js\";\nexport function plan(ctx, state) {\n  if (state === null) return { state: 0, \
         tasks: [{ id, operator: \"local\", command: \"echo no >&2; exit 3\" }] };\n  return { fail: { code: \"none\", message: \"nothing came\" } };\n}\n\
         export function analyze(ctx, state, results) { return results.length; }\n",
    );
    world.init();
    world.run(&["loop", "r"]).code(1);
    world
}

#[test]
fn crates_hold_up_before_programs_of_others() {
    let (finished, gated, script) = (finished(), gate(), script());
    let waiting = bundle(&gated, "r");
    let at_work = waiting.with_file_name("at-work");
    fs::rename(&waiting, &at_work).expect("moved");
    gated.run(&["respond", "r", "ask", "--set", "go=true"]).code(0);
    gated.run(&["loop", "r"]).code(0);
    finished.run(&["init", "demo", "--run-id", "again", "--reuse", "r"]).code(0);
    finished.run(&["loop", "again"]).code(0);
    let begun = World::with_tasks(&tasks());
    begun.init();
    let provenance = "provenance-run-crate";
    let crates = [
        (bundle(&finished, "r"), provenance),
        (bundle(&finished, "again"), provenance),
        (bundle(&gated, "r"), provenance),
        (bundle(&script, "r"), provenance),
        (at_work, provenance),
        (bundle(&begun, "r"), "workflow-run-crate"),
    ];
    crates.iter().for_each(|(path, _)| drop(hangs_together(path)));
    let looks = looked_at(&crates.each_ref().map(|(path, profile)| (path.as_path(), *profile)));
    // what goes on has no end, and what nobody has stated is not made up
    let none: &[&str] = &[];
    let no_end = &["RECOMMENDED process-run-crate-0.5_8.4"][..];
    let nobody = &[
        "RECOMMENDED process-run-crate-0.5_8.4",
        "RECOMMENDED ro-crate-1.1_22.1",
        "RECOMMENDED ro-crate-1.1_22.2",
        "RECOMMENDED ro-crate-1.1_22.3",
    ];
    let expected = [none, none, none, none, no_end, nobody];
    for (((path, _), look), expected) in crates.iter().zip(&looks).zip(expected) {
        assert_eq!(failed(look), expected, "{}: {:#}", path.display(), look["failed"]);
        assert!(look["made"]["RECOMMENDED"].as_u64().is_some_and(|made| made > 60), "{}", look["made"]);
        let crate_ = metadata(path);
        let report = look["report"].as_str().expect("a report");
        let actions = of_type(&crate_, "CreateAction");
        for action in &actions {
            assert!(report.contains(&format!("action: {}\n", action["@id"].as_str().expect("an id"))), "{report}");
        }
        assert_eq!(look["types"]["CreateAction"], actions.len());
    }
    assert_eq!(looks[0]["made"]["REQUIRED"], looks[3]["made"]["REQUIRED"], "as many checks for each");
}

#[test]
fn a_crate_says_who_did_what_with_what() {
    let world = finished();
    let path = bundle(&world, "r");
    let crate_ = hangs_together(&path);
    let root = entity(&crate_, "./");
    assert_eq!(root["name"], "Run r of demo (a label)");
    assert_eq!(root["license"], json!({"@id": "https://spdx.org/licenses/CC-BY-4.0"}));
    let (ada, society) = ("https://orcid.org/0000-0002-1825-0097", "https://ror.org/03wnrjx87");
    assert_eq!((&root["author"], &root["publisher"]), (&json!({"@id": ada}), &json!({"@id": society})));
    assert_eq!(entity(&crate_, society)["name"], "Royal Society");
    let main = entity(&crate_, root["mainEntity"]["@id"].as_str().expect("a campaign"));
    assert_eq!(main["name"], "builtin:workflow");
    assert_eq!(ids(&main["hasPart"]), ["#operator-local"]);
    assert_eq!(ids(&main["step"]).len(), 4);
    assert_eq!(ids(&entity(&crate_, "#organized")["object"]).len(), 4);

    let acts: Vec<_> =
        of_type(&crate_, "Action").iter().map(|act| act["name"].as_str().expect("a verb").to_owned()).collect();
    assert_eq!(acts, ["init", "pause", "resume", "clean"]);
    assert!(entity(&crate_, "#act-2")["description"].as_str().is_some_and(|said| said.contains("because: lunch")));
    assert!(
        of_type(&crate_, "Action").iter().all(|act| act["agent"]["@id"] == ada),
        "the author works under that name"
    );

    let evidence = super::bundle(&path);
    assert_eq!(evidence.attempts.len(), 5);
    for attempt in &evidence.attempts {
        let action = entity(&crate_, &format!("#attempt-{}", attempt.attempt_id)).clone();
        let failed = action["actionStatus"] == "http://schema.org/FailedActionStatus";
        assert_eq!((failed, action["error"].is_string()), (attempt.task == "bad", attempt.task == "bad"));
        let results: BTreeSet<&str> = ids(&action["result"]).into_iter().collect();
        for output in &attempt.outputs {
            let placed = path.join("files").join(&output.sha256).exists();
            let id = if placed { format!("files/{}", output.sha256) } else { format!("#file-{}", output.sha256) };
            assert!(results.contains(id.as_str()), "{} of {results:?}", output.path);
            assert_eq!(entity(&crate_, &id)["sha256"], output.sha256);
            assert_eq!(placed, output.path != "gone.txt");
        }
        for input in &attempt.inputs {
            let used = ids(&action["object"]).into_iter().any(|id| entity(&crate_, id)["sha256"] == input.sha256);
            assert!(used, "{input:?} of {action}");
        }
        let environment = action["environment"]["@id"].as_str().expect("an environment");
        assert!(entity(&crate_, environment)["value"].as_str().is_some_and(|value| value.contains("variables")));
        assert!(action["resourceUsage"].is_array() || action["resourceUsage"].is_object(), "{action}");
    }
    // one file under the names of two attempts
    let twice = of_type(&crate_, "File").into_iter().find(|file| file["name"] == "deep er/one.csv").expect("a file");
    assert_eq!(twice["alternateName"], json!(["r.json", "stdout"]));
    let given = ids(&main["input"]);
    assert_eq!(given, ["#parameter-config", "#parameter-input-points", "#parameter-seed"]);
    let points = entity(&crate_, given[1])["workExample"]["@id"].as_str().expect("a file");
    assert_eq!(ids(&entity(&crate_, points)["exampleOfWork"]), [given[1]]);

    let before = fs::read(path.join("ro-crate-metadata.json")).expect("a crate");
    world.run(&["evidence", "r"]).code(0);
    assert!(fs::read(path.join("ro-crate-metadata.json")).expect("a crate") == before, "the same run, the same bytes");
}

#[test]
fn an_answer_is_the_doing_of_who_gave_it_and_what_was_taken_says_from_where() {
    let world = gate();
    world.run(&["respond", "r", "ask", "--set", "go=true", "--reason", "as in the pilot"]).code(0);
    world.run(&["loop", "r"]).code(0);
    world.run(&["init", "demo", "--run-id", "again", "--reuse", "r", "--set", "evidence.authors=[]"]).code(0);
    world.run(&["loop", "again"]);
    let crate_ = hangs_together(&bundle(&world, "r"));
    let evidence = super::bundle(&evidence_dir(&world));
    let asked = evidence.attempts.iter().find(|attempt| attempt.task == "ask").expect("an attempt");
    super::questions::ask(&evidence_dir(&world));
    let [answered] = &evidence.approvals[..] else { panic!("{:?}", evidence.approvals) };
    let by = answered.by.clone().expect("who answered");
    assert_eq!((answered.attempt_id.as_ref(), answered.by_hand), (Some(&asked.attempt_id), false));
    assert_eq!(
        (answered.answer.clone(), answered.reason.as_deref()),
        (Some(json!({"go": true})), Some("as in the pilot"))
    );
    let response = fs::read(world.run_dir("r").join(&asked.directory).join("response.json")).expect("an answer");
    assert_eq!(answered.sha256, crate::support::bundle::sha256(&response));
    let page = |name: &str| fs::read_to_string(evidence_dir(&world).join(name)).expect("a page");
    let heading = ["## Approvals", "What people were asked, and what they answered"];
    for (name, heading) in ["README.md", "report.html"].iter().zip(heading) {
        let text = page(name);
        let (_, told) = text.split_once(heading).unwrap_or_else(|| panic!("{name} has no `{heading}`"));
        for word in
            ["as in the pilot", "go", &answered.sha256[..12], &by.user, &answered.at.expect("a time").to_string()]
        {
            assert!(told.contains(word), "{name} does not tell `{word}`");
        }
    }
    world.run(&["evidence", "verify", &evidence_dir(&world).display().to_string()]).code(0);
    world.run(&["evidence", "r", "--redact", "--out", "blind"]).code(0);
    let blind = super::bundle(&world.root().with_file_name("blind")).approvals[0].by.clone().expect("somebody");
    assert_eq!((blind.user.as_str(), blind.host.as_str()), ("user-1", "host-1"));
    let action = entity(&crate_, &format!("#attempt-{}", asked.attempt_id));
    assert_eq!(action["agent"]["@id"], "https://orcid.org/0000-0002-1825-0097");
    let answer = ids(&action["result"]).into_iter().find(|id| id.starts_with("#data-")).expect("an answer");
    assert!(entity(&crate_, answer)["value"].as_str().is_some_and(|value| value.contains("\"go\":true")));

    let crate_ = hangs_together(&bundle(&world, "again"));
    let first = evidence.attempts.iter().find(|attempt| attempt.task == "first").expect("an attempt");
    let taken =
        of_type(&crate_, "PropertyValue").into_iter().find(|value| value["name"] == "reused from").expect("a source");
    assert_eq!(taken["value"], format!("run r, attempt {0}, which ran as attempt {0}", first.attempt_id));
    let person = of_type(&crate_, "Person");
    assert!(person.len() == 1 && person[0]["@id"].as_str().is_some_and(|id| id.starts_with("#user-")), "{person:?}");
}

#[test]
fn a_licence_and_authors_come_from_the_configuration_or_from_the_command_and_what_is_missing_is_said() {
    let world = World::with_tasks(&json!([{"id": "a", "operator": "local", "command": "true"}]));
    world.init();
    let written = |arguments: &[&str]| world.run(&[&["evidence", "r"], arguments].concat()).code(0).stderr;
    let told = written(&[]);
    assert!(told.contains("the bundle does not say a licence and an author: give --license and --author"), "{told}");
    let told = written(&["--license", "MIT", "--author", "Bo Li; 0000-0002-1825-0097", "--author", "Cy; Lab"]);
    for words in ["the affiliation of Bo Li, the ORCID of Cy and the address of the affiliation of Cy", "does not say"]
    {
        assert!(told.contains(words), "{told}");
    }
    let crate_ = metadata(&evidence_dir(&world));
    assert_eq!(entity(&crate_, "./")["license"]["@id"], "https://spdx.org/licenses/MIT");
    assert_eq!(entity(&crate_, "#author-Cy")["affiliation"]["@id"], "#organization-Lab");
    let told =
        written(&["--license", "All rights reserved", "--author", "Bo; 0000-0002-1825-0097; Lab; https://a.example"]);
    assert!(!told.contains("does not say"), "{told}");
    assert_eq!(entity(&metadata(&evidence_dir(&world)), "#license")["name"], "All rights reserved");

    // a run can be told later, and the record says who did
    world.run(&["amend", "r", "config", "evidence.license=CC0-1.0"]).code(0);
    written(&[]);
    assert_eq!(entity(&metadata(&evidence_dir(&world)), "./")["license"]["@id"], "https://spdx.org/licenses/CC0-1.0");
    for (arguments, words) in [
        (["--author", "Bo; 0000-0002-1825-0098"], "is no ORCID: its last digit does not fit the others"),
        (["--author", "; Lab"], "expected a text, and it is empty"),
        (["--license", ""], "expected a text, and it is empty"),
    ] {
        let refused = world.run(&["evidence", "r", arguments[0], arguments[1]]).code(2);
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    let wrong = "evidence.authors=[{\"name\": \"Bo\", \"orcid\": \"0000-0002-1825-0098\"}]";
    let refused = world.run(&["amend", "r", "config", wrong]).code(2);
    assert!(refused.stderr.contains("evidence.authors[0].orcid") && refused.stderr.contains("no ORCID"), "{refused:?}");
}
