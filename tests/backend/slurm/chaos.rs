//! Faults at random, one after another, for a minute and a half: only with `cargo xtask test --slow`. The seed is
//! printed; `MATTERSTACK_TEST_SEED` repeats a sequence, as far as a real cluster repeats anything.
use super::{Site, task, text};
use crate::support::random::Random;
use crate::support::slurm::Plan;
use crate::support::until_within;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long there are faults.
const TROUBLE: Duration = Duration::from_secs(90);
/// How long the run may take once they are over.
const PEACE: Duration = Duration::from_secs(300);
const LAYERS: usize = 6;
const WIDTH: usize = 25;

fn wait_ms(random: &mut Random, most: u64) {
    std::thread::sleep(Duration::from_millis(random.below(most)));
}

/// Layers of tasks: each adds one to what a task of the layer before has left.
fn layers() -> Value {
    let name = |layer: usize, n: usize| format!("l{layer}-{n}");
    let tasks = (0..LAYERS * WIDTH).map(|index| {
        let (layer, n) = (index / WIDTH, index % WIDTH);
        let mut made = task(&name(layer, n), "sleep 0.3; expr $(cat in) + 1 > out");
        made["outputs"] = json!(["out"]);
        made["files"] = match layer {
            0 => json!({"in": {"content": "0"}}),
            _ => json!({"in": {"from": name(layer - 1, (n * 7 + layer) % WIDTH), "output": "out"}}),
        };
        made
    });
    tasks.collect()
}

/// One fault. Tells what it was.
fn fault(site: &mut Site, random: &mut Random) -> &'static str {
    match random.below(10) {
        0..=3 => {
            let mut command = site.command(&["step", "r"]);
            let mut tick = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a tick");
            wait_ms(random, 400);
            let _ = tick.kill();
            let _ = tick.wait();
            if random.below(2) == 0 {
                site.kill_clients();
            }
            "a tick is killed"
        }
        4 | 5 => {
            site.cluster.signal("slurmctld", "STOP");
            let mut ticks: Vec<_> = (0..2)
                .map(|_| {
                    let mut command = site.command(&["step", "r"]);
                    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a tick")
                })
                .collect();
            wait_ms(random, 4000);
            site.cluster.signal("slurmctld", "CONT");
            ticks.iter_mut().for_each(|tick| drop(tick.wait()));
            "the controller hangs under two ticks"
        }
        6 | 7 => {
            wait_ms(random, 3000);
            site.cluster.kill("slurmctld");
            site.step();
            site.cluster.start_controller();
            "the controller crashes"
        }
        8 => {
            site.cluster.kill("slurmd-n1");
            site.step();
            site.cluster.start_node(1);
            "a node's daemon crashes"
        }
        _ => {
            let id = site.cluster.jobs("%i").pop();
            if let Some(id) = id {
                site.cluster.command("scontrol", &["requeue", &id]);
            }
            "a job is requeued"
        }
    }
}

#[test]
#[ignore = "takes minutes: `cargo xtask test --slow`"]
fn whatever_happens_nothing_starts_twice_and_the_run_comes_to_its_end() {
    let seed = std::env::var("MATTERSTACK_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 0x5eed);
    eprintln!("MATTERSTACK_TEST_SEED={seed}");
    let mut random = Random::of(seed);
    let plan = Plan { nodes: 4, ..Plan::default() }.line("MessageTimeout=2").line("SlurmdTimeout=20");
    let mut site = Site::new(plan, &layers());
    site.init();
    let started = Instant::now();
    while started.elapsed() < TROUBLE && site.status()["state"] != "completed" {
        let what = fault(&mut site, &mut random);
        eprintln!("{:>6.1} s {what}; {}", started.elapsed().as_secs_f64(), site.status()["tasks"]);
        site.step();
        wait_ms(&mut random, 300);
    }
    // what a crash leaves to an administrator: nodes that Slurm has drained or given up
    site.cluster.command("scontrol", &["update", "NodeName=ALL", "State=RESUME"]);
    until_within(PEACE, "the run completes", || {
        let tick = site.step();
        match tick["state"].as_str().unwrap_or_default() {
            "completed" => return true,
            // what may have run is a person's to decide
            "held" => {
                eprintln!("held: {}", tick["reason"]);
                assert!(text(&tick["reason"]).contains("lost"), "{tick}");
                site.run(&["rerun", "r", "--state", "lost", "--operator", "hpc"]).code(0);
                site.run(&["resume", "r"]).code(0);
            }
            "active" => {}
            _ => panic!("{tick} {}", site.run(&["explain", "r"]).stdout),
        }
        false
    });
    site.check();
    let tasks = site.run(&["tasks", "r", "--json"]).code(0).json();
    let sum = |task: &Value| {
        let attempts = site.attempts(&text(&task["id"]));
        let completed: Vec<&Value> = attempts.iter().filter(|attempt| attempt["state"] == "completed").collect();
        let [completed] = completed[..] else { panic!("one attempt completes a task: {attempts:?}") };
        let out = site.run_dir().join(text(&completed["directory"])).join("out");
        std::fs::read_to_string(out).expect("an output").trim().parse::<usize>().expect("a number")
    };
    for task in tasks.as_array().expect("tasks") {
        let layer: usize = text(&task["id"])[1..2].parse().expect("a layer");
        assert_eq!(sum(task), layer + 1, "{task}");
    }
    let starts: usize = site.starts().values().sum();
    eprintln!("{} tasks, {} attempts, {starts} starts", LAYERS * WIDTH, site.starts().len());
}
