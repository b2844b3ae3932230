//! What administrators do to jobs: rename, cancel, give more time, requeue, lose a whole cluster. Nothing starts twice,
//! and nothing that somebody stopped starts again.
use super::{Site, task, text};
use crate::support::slurm::Plan;
use crate::support::until;
use serde_json::{Value, json};

/// A partition in which nothing starts.
const DOWN: &str = "PartitionName=main Nodes=ALL Default=YES State=DOWN";

fn tasks(count: usize, line: &str) -> Value {
    (0..count).map(|n| task(&format!("a{n}"), line)).collect()
}

fn waiting(count: usize) -> Site {
    let site = Site::new(Plan::default().line(DOWN), &tasks(count, "true"));
    site.init();
    site.step_until("all are in the queue", |_| site.cluster.jobs("%T") == vec!["PENDING"; count]);
    site.look();
    site
}

fn let_go(site: &Site) {
    site.cluster.ask("scontrol", &["update", "PartitionName=main", "State=UP"]);
}

/// The number that an array is to the cluster.
fn number(site: &Site) -> String {
    site.cluster.jobs("%F").pop().expect("a job")
}

/// The id of the only job.
fn running(site: &Site) -> String {
    site.step_until("it runs", |_| site.starts().values().any(|count| *count > 0));
    site.cluster.jobs("%i").pop().expect("a job")
}

fn rename(site: &Site, id: &str, name: &str) {
    site.cluster.ask("scontrol", &["update", &format!("JobId={id}"), &format!("JobName={name}")]);
}

#[test]
fn a_renamed_job_that_runs_is_still_ours() {
    for name in ["renamed", "two\nlines|and|bars", "ms-ffffffffffffffffffffffffffffffff"] {
        let site = Site::new(Plan::default(), &json!([task("a", "until test -e ../go; do sleep 0.1; done")]));
        site.init();
        rename(&site, &running(&site), name);
        for _ in 0..3 {
            assert_eq!(site.look()["state"], "active", "{name:?}");
            assert_eq!(site.last("a").0, "running", "{name:?}: {:?}", site.last("a"));
        }
        std::fs::write(site.run_dir().join("operators/hpc/go"), "").expect("written");
        assert_eq!(site.step_to_end()["state"], "completed", "{name:?}");
        assert_eq!((site.attempts("a").len(), site.starts().values().sum::<usize>()), (1, 1));
        site.check();
    }
}

#[test]
fn a_renamed_job_is_reached_by_cancel() {
    let site = Site::new(Plan::default(), &json!([task("a", "sleep 300")]));
    site.init();
    rename(&site, &running(&site), "renamed");
    site.run(&["cancel", "r"]).code(0);
    assert_eq!(site.step_to_end()["state"], "cancelled");
    assert_eq!(site.last("a").0, "cancelled");
    assert_eq!(site.cluster.jobs("%T"), ["CANCELLED"]);
    site.check();
}

#[test]
fn renamed_jobs_that_wait_are_ours_whatever_becomes_of_them() {
    let site = waiting(3);
    let number = number(&site);
    for index in 0..3 {
        rename(&site, &format!("{number}_{index}"), &format!("renamed{index}"));
    }
    for _ in 0..3 {
        assert_eq!(site.look()["state"], "active");
    }
    site.run(&["cancel", "r", "a1"]).code(0);
    site.step_until("one is cancelled", |_| site.last("a1").0 == "cancelled");
    site.cluster.ask("scancel", &[&format!("{number}_2")]);
    let_go(&site);
    site.step_to_end();
    assert_eq!(site.tasks(), "a0=completed a1=cancelled a2=cancelled");
    assert_eq!(site.starts().values().sum::<usize>(), 1);
    site.check();
}

#[test]
fn a_renamed_job_whose_submit_had_no_answer_is_found() {
    let site = Site::new(Plan::default().line(DOWN), &tasks(1, "true"));
    site.init();
    let shims = site.shims(&[("sbatch", "REAL \"$@\" > /dev/null; exit 1")]);
    site.run_with(&["step", "r"], &[("PATH", &shims)]);
    rename(&site, &site.cluster.jobs("%i").pop().expect("a job"), "renamed");
    let_go(&site);
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!((site.attempts("a0").len(), site.cluster.jobs("%i").len()), (1, 1));
    site.check();
}

#[test]
fn jobs_whose_submit_had_no_answer_and_that_were_cancelled_are_not_made_again() {
    for all in [1, 3] {
        let site = Site::new(Plan::default().line(DOWN), &tasks(all, "true"));
        site.init();
        let shims = site.shims(&[("sbatch", "REAL \"$@\" > /dev/null; exit 1")]);
        site.run_with(&["step", "r"], &[("PATH", &shims)]);
        let number = number(&site);
        for index in 0..all {
            site.cluster.ask("scancel", &[&format!("{number}_{index}")]);
        }
        let_go(&site);
        site.step_to_end();
        assert!((0..all).all(|n| site.last(&format!("a{n}")).0 == "cancelled"), "{}", site.tasks());
        assert!((0..all).all(|n| site.attempts(&format!("a{n}")).len() == 1));
        site.check();
    }
}

#[test]
fn elements_that_are_cancelled_one_by_one_stay_cancelled() {
    let site = waiting(5);
    let number = number(&site);
    for index in [1, 3] {
        site.cluster.ask("scancel", &[&format!("{number}_{index}")]);
    }
    site.step_until("both are cancelled", |_| site.last("a1").0 == "cancelled" && site.last("a3").0 == "cancelled");
    let_go(&site);
    site.step_to_end();
    assert_eq!(site.tasks(), "a0=completed a1=cancelled a2=completed a3=cancelled a4=completed");
    assert!((0..5).all(|n| site.attempts(&format!("a{n}")).len() == 1));
    assert_eq!(site.starts().values().sum::<usize>(), 3);
    site.check();
}

#[test]
fn an_array_that_is_cancelled_piece_by_piece_or_whole_stays_cancelled() {
    for pieces in [vec!["_0", "_1", "_2"], vec!["_[0-1]", ""], vec![""]] {
        let site = waiting(3);
        let number = number(&site);
        for piece in &pieces {
            site.cluster.ask("scancel", &[&format!("{number}{piece}")]);
        }
        let_go(&site);
        site.step_to_end();
        assert_eq!(site.tasks(), "a0=cancelled a1=cancelled a2=cancelled", "{pieces:?}");
        assert_eq!(site.starts().values().sum::<usize>(), 0);
        site.check();
    }
}

#[test]
fn a_time_limit_that_an_administrator_raised_does_not_raise_the_tasks_own() {
    let mut a = task("a", "sleep 300");
    a["resources"] = json!({"walltime_s": 3});
    let site = Site::new(Plan::default(), &json!([a]));
    site.init();
    let id = running(&site);
    site.cluster.ask("scontrol", &["update", &format!("JobId={id}"), "TimeLimit=10"]);
    site.step_to_end();
    let (state, reason) = site.last("a");
    assert!(state == "failed" && reason.contains("walltime"), "{state}: {reason}");
    site.check();
}

#[test]
fn running_elements_that_are_requeued_start_nothing_twice() {
    let mut all = Vec::new();
    for n in 0..3 {
        let mut one = task(&format!("a{n}"), "trap : TERM; until test -e ../go; do sleep 0.1; done; echo ok > o");
        one["outputs"] = json!(["o"]);
        all.push(one);
    }
    let site = Site::new(Plan::default(), &json!(all));
    site.init();
    site.step_until("all run", |_| site.starts().values().filter(|count| **count > 0).count() == 3);
    for id in site.cluster.jobs("%i") {
        site.cluster.ask("scontrol", &["update", &format!("JobId={id}"), "Requeue=1"]);
        site.cluster.ask("scontrol", &["requeue", &id]);
    }
    std::fs::write(site.run_dir().join("operators/hpc/go"), "").expect("written");
    site.step_to_end();
    site.check();
}

#[test]
fn a_cluster_that_was_set_up_anew_lost_the_jobs_and_those_of_others_are_let_be() {
    let mut site = Site::new(Plan::default().line(DOWN), &tasks(3, "true"));
    site.init();
    site.step_until("all are in the queue", |_| site.cluster.jobs("%T").len() == 3);
    let number = number(&site);
    site.cluster.kill("slurmctld");
    let state = site.cluster.path("ctld");
    std::fs::remove_dir_all(&state).expect("ours");
    std::fs::create_dir(&state).expect("a directory");
    site.cluster.start_controller();
    site.cluster.wait_for_nodes();
    let others = ["--parsable", "-J", "other", "-o", "/dev/null", "--wrap", "sleep 300"];
    let other = site.cluster.ask("sbatch", &others);
    assert_eq!(other, number, "the number is another's now");
    site.step_until("they are made again", |_| site.attempts("a0").len() == 2);
    assert!(text(&site.attempts("a0")[0]["reason"]).contains("lost it before its command started"));
    site.run(&["cancel", "r"]).code(0);
    assert_eq!(site.step_to_end()["state"], "cancelled");
    assert!(site.cluster.jobs("%i %T").contains(&format!("{other} PENDING")), "{:?}", site.cluster.jobs("%i %T"));
    site.check();
}

#[test]
fn the_queue_shows_run_and_task_to_people() {
    let mut all = vec![task("relax Fe2O3\n|\u{1b}[2J\u{202e}\u{fc}", "true"), task("b", "true")];
    let mut alone = task("alone", "true");
    alone["resources"] = json!({"cores": 2});
    all.push(alone);
    let site = Site::with(Plan::default().line(DOWN), &json!(all), &json!({"extra_args": ["--comment=of the site"]}));
    site.init();
    site.step_until("all are in the queue", |_| site.cluster.jobs("%T").len() == 3);
    let mut shown = site.cluster.jobs("%j %k");
    shown.sort();
    shown.dedup();
    let texts: Vec<(&str, &str)> = shown.iter().map(|line| line.split_once(' ').expect("a name")).collect();
    let comment = |rest: &str| texts.iter().any(|(name, comment)| *comment == format!("{name} r {rest}"));
    assert!(comment("relax Fe2O3?|?[2J?\u{fc} +1 of the site") && comment("alone of the site"), "{texts:?}");
    let_go(&site);
    assert_eq!(site.step_to_end()["state"], "completed");
    site.check();
}

#[test]
fn a_copy_of_a_wrapper_that_somebody_submits_is_not_our_job() {
    let site = Site::new(Plan::default(), &json!([task("a", "until test -e ../go; do sleep 0.1; done")]));
    site.init();
    running(&site);
    let name = site.cluster.jobs("%j").pop().expect("a job");
    let wrapper = site.run_dir().join(format!("backends/cluster/arrays/{name}.sh")).display().to_string();
    site.cluster.ask("sbatch", &["-J", &name, "-a", "0", "-o", "/dev/null", &wrapper]);
    until("the copy has ended", || site.cluster.jobs("%T").contains(&"FAILED".to_owned()));
    for _ in 0..3 {
        assert_eq!(site.look()["state"], "active");
        assert_eq!(site.last("a").0, "running");
    }
    std::fs::write(site.run_dir().join("operators/hpc/go"), "").expect("written");
    assert_eq!(site.step_to_end()["state"], "completed");
    assert_eq!(site.starts().values().sum::<usize>(), 1);
    site.check();
}
