//! What an ordinary life looks like: tasks go out as arrays, are polled together and come back with their outputs.
use super::{Site, task, text};
use crate::support::slurm::Plan;
use serde_json::json;

#[test]
fn a_run_goes_from_init_to_completed() {
    let mut build = task("build", "echo 41 > out.txt");
    build["outputs"] = json!(["out.txt"]);
    let mut relax = task("relax 'it'\n$(touch x) \u{fc}", "test \"$(cat in.txt)-$X\" = \"41-it's\n$(echo 1)\"");
    relax["files"] = json!({"in.txt": {"from": "build", "output": "out.txt"}});
    relax["env"] = json!({"X": "it's\n1"});
    relax["resources"] = json!({"cores": 2, "memory_mb": 100, "walltime_s": 600, "nodes": 1, "tasks": 1});
    let site = Site::new(Plan::default(), &json!([build, relax]));
    site.init();
    let end = site.step_to_end();
    assert_eq!(text(&end["state"]), "completed", "{} {:?}", site.status(), site.cluster.jobs("%i %T %r %j"));
    site.check();
    let attempt = &site.attempts("build")[0];
    let directory = site.run_dir().join(text(&attempt["directory"]));
    let script = std::fs::read_to_string(directory.join("matterstack-job.sh")).expect("a job script");
    assert!(script.starts_with("#!/bin/sh\n") && script.contains("exec /bin/sh -c"), "{script}");
    assert!(text(&attempt["external_id"]).ends_with("_0"), "{attempt}");
}

/// What Slurm knows of a job, as `scontrol show job` gives it.
fn known(site: &Site, key: &str) -> String {
    let id = site.cluster.jobs("%i").pop().expect("a job");
    let job = site.cluster.ask("scontrol", &["-o", "show", "job", &id]);
    let value = job.split(' ').find_map(|word| word.strip_prefix(&format!("{key}=")));
    value.unwrap_or_else(|| panic!("no {key} in {job}")).to_owned()
}

#[test]
fn everything_that_is_asked_for_reaches_the_cluster() {
    let plan = Plan { node: "Feature=fast Gres=gpu:2", ..Plan::default() }
        .line("GresTypes=gpu")
        .line("PartitionName=main Nodes=ALL Default=YES State=DOWN")
        .line("PartitionName=other Nodes=ALL State=DOWN");
    let mut a = task("a", "true");
    a["resources"] = json!({"nodes": 2, "tasks": 4, "cores": 3, "memory_mb": 300, "gpus": 1, "walltime_s": 7000, "signal_before_s": 9});
    let backend = json!({
        "partition": "other", "account": "abc", "qos": "normal", "constraint": "fast", "extra_args": ["--nice=7", "--mail-type=NONE"],
    });
    let site = Site::with(plan, &json!([a]), &backend);
    site.init();
    site.step_until("it is queued", |_| site.cluster.jobs("%T") == ["PENDING"]);
    for (key, value) in [
        ("Partition", "other"),
        ("Account", "abc"),
        ("Features", "fast"),
        ("NumNodes", "2-2"),
        ("NumTasks", "4"),
        ("CPUs/Task", "3"),
        ("MinMemoryNode", "300M"),
        ("TresPerNode", "gres:gpu:1"),
        ("TimeLimit", "01:57:00"),
        ("Nice", "7"),
        ("Requeue", "0"),
    ] {
        assert_eq!(known(&site, key), value, "{key}");
    }
    assert!(known(&site, "JobName").starts_with("ms-"), "{}", known(&site, "JobName"));
    // a cluster without accounts forgets the qos
    let directory = site.run_dir().join(text(&site.attempts("a")[0]["directory"]));
    let script = std::fs::read_to_string(directory.join("matterstack-job.sh")).expect("a job script");
    assert!(script.contains("#SBATCH --qos=normal\n"), "{script}");
}

#[test]
fn a_job_sees_what_its_task_sets_and_nothing_of_whoever_submitted_it() {
    let mut a = task("a", "test \"$X-$MINE\" = 1-");
    a["env"] = json!({"X": "1"});
    let site = Site::new(Plan { nodes: 1, ..Plan::default() }, &json!([a]));
    site.init();
    site.run_with(&["step", "r"], &[("MINE", "secret")]).code(0);
    assert_eq!(site.step_to_end()["state"], "completed", "{:?}", site.last("a"));
    let job = site.cluster.jobs("%i").pop().expect("a job");
    let shown = site.cluster.ask("scontrol", &["show", "job", &job]);
    assert!(shown.contains("Requeue=0"), "{shown}");
    let name = site.cluster.jobs("%j").pop().expect("a job");
    assert!(name.starts_with("ms-") && shown.contains(&format!("Comment={name} r a")), "{shown}");
    site.check();
}

#[test]
fn a_dry_run_prints_the_job_script_that_is_then_submitted() {
    let mut a = task("a", "true");
    a["resources"] = json!({"cores": 2, "memory_mb": 100, "walltime_s": 600});
    a["env"] = json!({"X": "it's"});
    a["files"] = json!({"in.txt": {"content": "hello"}});
    let template = "#!/bin/sh\n{% for option in options %}#SBATCH {{ option }}\n{% endfor %}{% for v in env %}export {{ v }}\n\
                    {% endfor %}{% for line in setup %}{{ line }}\n{% endfor %}exec {{ launcher }} {{ command }} # of the site";
    for backend in
        [json!({"partition": "main"}), json!({"setup": ["module() { :; }", "module load x"], "template": template})]
    {
        let site = Site::with(Plan::default(), &json!([a]), &backend);
        let launcher = "operators.hpc.config={\"launcher\": [\"env\", \"LAUNCHED=with it\"]}";
        site.run(&["init", "demo", "--run-id", "r", "--set", launcher]).code(0);
        let shown = site.run(&["step", "r", "--dry-run", "--json"]).code(0).json()[0]["script"].clone();
        let printed = site.run(&["step", "r", "--dry-run"]).code(0).stdout;
        assert!(printed.contains(&text(&shown)) && printed.contains("# file in.txt: 5 bytes"), "{printed}");
        assert!(site.cluster.jobs("%i").is_empty() && site.attempts("a").is_empty(), "nothing was done");
        assert_eq!(site.step_to_end()["state"], "completed", "{}", site.status());
        let attempt = &site.attempts("a")[0];
        let directory = site.run_dir().join(text(&attempt["directory"]));
        let script = std::fs::read_to_string(directory.join("matterstack-job.sh")).expect("a job script");
        let (script, ticket) = script.trim_end().rsplit_once('\n').expect("lines");
        assert!(ticket.starts_with("# matterstack: ms-"), "{ticket}");
        assert_eq!(text(&shown).trim_end(), script.replace(&text(&attempt["attempt_id"]), "ATTEMPT"));
        for part in
            ["#SBATCH --cpus-per-task=2", "#SBATCH --time=10", "export X='it'\\''s'", "'LAUNCHED=with it' /bin/sh -c"]
        {
            assert!(script.contains(part), "{part}: {script}");
        }
    }
}

#[test]
fn a_dry_run_says_what_cannot_be_submitted() {
    let mut a = task("a", "true");
    a["env"] = json!({"X": "1"});
    let template = "#!/bin/sh\n{% if env | length > 2 %}{{ env.nothing }}{% endif %}exec {{ command }}";
    a["env"]["Y"] = json!("2");
    let site = Site::with(Plan { nodes: 1, ..Plan::default() }, &json!([a]), &json!({"template": template}));
    site.init();
    let printed = site.run(&["step", "r", "--dry-run"]).code(0).stdout;
    assert!(printed.contains("# cannot be submitted:") && printed.contains("undefined value"), "{printed}");
}

#[test]
fn a_check_hears_of_setup_lines_that_fail_and_of_accounts_that_nobody_keeps() {
    let check = |more: serde_json::Value| {
        let site = Site::with(Plan { nodes: 1, ..Plan::default() }, &json!([task("a", "true")]), &more);
        site.run(&["backend", "check", "cluster", "--workspace", "demo"])
    };
    let done = check(json!({"setup": ["modle load lammps"]})).code(74);
    assert!(done.stdout.contains("line 1 of `setup` failed with code 127"), "{done:?}");
    let done = check(json!({"setup": ["modle load lammps"], "setup_may_fail": true})).code(0);
    assert!(done.stdout.contains("its standard error begins: ") && done.stdout.contains("modle"), "{done:?}");
    let done = check(json!({"sacct": true})).code(74);
    assert!(done.stdout.contains("TROUBLE  sacct") && done.stdout.contains("leave out `sacct`"), "{done:?}");
}
