//! What is printed of jobs on a cluster, and of a cluster in trouble, works when it is typed there.
use super::{Site, task};
use crate::cli::typed::{DASHED, LOOKS, QUOTED, cannot_be_typed, commands, leaves_open, type_in};
use crate::support::slurm::Plan;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A situation: its name, and how it comes about.
type Situation = (&'static str, fn() -> Site);

/// A partition in which nothing starts.
const DOWN: &str = "PartitionName=main Nodes=ALL Default=YES State=DOWN";

/// A run whose first task does this on the cluster.
fn site(plan: Plan, line: &str, more: &Value) -> Site {
    let mut first = task(DASHED, line);
    first.as_object_mut().expect("keys").extend(more.as_object().expect("keys").clone());
    let site = Site::new(plan, &json!([first, task(QUOTED, "true")]));
    site.init();
    site
}

fn queued() -> Site {
    let site = site(Plan::default().line(DOWN), "true", &json!({}));
    site.step_until("both are in the queue", |_| site.cluster.jobs("%T") == ["PENDING"; 2]);
    site.look();
    site
}

fn held() -> Site {
    let site = queued();
    for id in site.cluster.jobs("%i") {
        site.cluster.ask("scontrol", &["hold", &id]);
    }
    site.look();
    site
}

fn taken_away() -> Site {
    let site = queued();
    for id in site.cluster.jobs("%i") {
        site.cluster.ask("scancel", &[&id]);
    }
    site.step_to_end();
    site
}

fn failed() -> Site {
    let site = site(Plan::default(), "echo why >&2; exit 3", &json!({}));
    site.step_to_end();
    site
}

fn silent() -> Site {
    let mut site = queued();
    site.cluster.kill("slurmctld");
    site.step();
    site
}

fn refused() -> Site {
    let site = site(Plan::default(), "true", &json!({"resources": {"memory_mb": 1_000_000}}));
    site.run(&["loop", "r", "--timeout", "5s"]);
    site
}

#[test]
fn every_command_that_is_printed_of_jobs_on_a_cluster_works_when_typed() {
    let situations: [Situation; 6] = [
        ("queued", queued),
        ("held", held),
        ("taken away", taken_away),
        ("failed", failed),
        ("silent", silent),
        ("refused", refused),
    ];
    let (mut tried, mut wrong) = (0, Vec::new());
    for (name, situation) in situations {
        let site = situation();
        let mut told = BTreeSet::new();
        for arguments in LOOKS {
            told.extend(commands(&site.run(arguments)));
        }
        let environment: Vec<(String, String)> = site.environment.clone();
        for line in told.into_iter().filter(|line| !leaves_open(line)) {
            tried += 1;
            let done = type_in(&site.world, &line, &environment);
            if cannot_be_typed(&done) {
                wrong.push(format!("{name}: `{line}`: {done:?}"));
            }
        }
        site.run(&["cancel", "r"]);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 10, "only {tried} commands were printed");
}
