//! The campaign where results are handed over as they come.
use super::*;
use crate::tests::{context, fail, simulate};
use crate::{Coatings, report};
use matterstack_sdk::{Campaign, Context, Decision, Next, Task, TaskResult, artifacts, json};
use serde_json::Value;
use std::collections::BTreeSet;

/// A result, and the file that it names.
type Answer = (TaskResult, (String, Vec<u8>));

/// A campaign and its tasks that have not ended.
struct Bench {
    ctx: Context<Params>,
    state: Option<State>,
    open: Vec<Task>,
}

/// What a plan said.
struct Said {
    /// How many candidates it proposed.
    proposed: usize,
    next: Next,
    reason: String,
}

impl Bench {
    fn new(params: Value) -> Self {
        Self { ctx: context(params), state: None, open: Vec::new() }
    }

    fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }

    fn plan(&mut self) -> Said {
        let Decision { state, next, reason, .. } = Coatings::plan(&self.ctx, self.state.take()).unwrap();
        // what the host keeps is JSON
        self.state = Some(serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap());
        self.ctx.decision += 1;
        let mut proposed = 0;
        if let Next::Workflow(tasks) = &next {
            proposed = tasks.len() / 2;
            self.open.extend(tasks.iter().cloned());
            self.ctx.iteration += 1;
        }
        Said { proposed, next, reason }
    }

    /// Ends these tasks, and hands them over at once.
    fn end(&mut self, tasks: &[&str], answer: impl Fn(&Task) -> Answer) {
        let (ended, open): (Vec<Task>, _) = self.open.drain(..).partition(|task| tasks.contains(&task.id.as_str()));
        self.open = open;
        assert_eq!(ended.len(), tasks.len(), "{tasks:?}");
        let (results, files): (Vec<_>, Vec<_>) = ended.iter().map(answer).unzip();
        self.ctx.iteration -= 1;
        let state = self.state.take().unwrap();
        self.state = Some(artifacts::with_files(files, || Coatings::analyze(&self.ctx, state, results)).unwrap());
        self.ctx.iteration += 1;
        self.ctx.decision += 1;
    }

    /// Ends both tasks of a candidate.
    fn end_candidate(&mut self, number: usize, answer: impl Fn(&Task) -> Answer) {
        let id = |simulation: &str| format!("c{number:03}-{simulation}");
        self.end(&[&id("friction"), &id("dissolution")], answer);
    }

    /// Ends candidates, of those that are open every time the third, until a plan neither proposes nor waits.
    fn run_on(&mut self, answer: impl Fn(&Task) -> Answer) -> Said {
        loop {
            let said = self.plan();
            if !matches!(said.next, Next::Workflow(_) | Next::Wait) {
                return said;
            }
            let open: BTreeSet<usize> = self.open.iter().map(|task| task.id[1..4].parse().unwrap()).collect();
            let number = *open.iter().nth(2).or(open.last()).expect("something is open where it waits");
            self.end_candidate(number, &answer);
        }
    }
}

fn small() -> Value {
    json!({"initial": 6, "batch": 2, "max_iterations": 4, "pool": 60, "tolerance": 0, "parallel": 3})
}

/// The same for every composition.
fn flat(task: &Task) -> Answer {
    let (key, value) =
        if task.id.ends_with("-friction") { ("friction_coefficient", 0.3) } else { ("dissolution_rate_nm_h", 3.0) };
    crate::candidates::tests::left(&task.id, &json!({"candidate": task.id[..4], key: value}).to_string())
}

fn result(next: Next) -> Value {
    let Next::Complete(result) = next else { panic!("{next:?}") };
    result
}

#[test]
fn what_ends_is_replaced_by_what_is_missing() {
    let mut bench = Bench::new(small());
    assert_eq!(bench.plan().proposed, 6);
    bench.end(&["c003-friction"], simulate);
    let said = bench.plan();
    assert_eq!((said.next, said.reason.as_str()), (Next::Wait, "6 candidates have not ended"));
    bench.end(&["c003-dissolution"], simulate);
    bench.end_candidate(6, simulate);
    bench.end_candidate(1, simulate);
    assert_eq!(bench.plan().next, Next::Wait, "three are under way");
    assert_eq!(bench.state().ended, [2, 5, 0]);
    bench.end_candidate(2, simulate);
    let said = bench.plan();
    assert_eq!(said.proposed, 1);
    let reason = "1 of 60 candidates, by expected hypervolume improvement from 4 results and the means of 2 that have \
                  not ended";
    assert_eq!(said.reason, reason);
    // two came at once
    bench.end(&["c004-friction", "c004-dissolution", "c007-friction", "c007-dissolution"], simulate);
    assert_eq!(bench.plan().proposed, 2);
    assert_eq!(bench.state().pending(), 3);
    let iterations: Vec<u32> = bench.state().candidates[5..].iter().map(|candidate| candidate.iteration).collect();
    assert_eq!(iterations, [1, 2, 3, 3]);
}

#[test]
fn the_budget_is_that_of_the_batches() {
    let mut bench = Bench::new(small());
    let said = bench.run_on(simulate);
    assert_eq!(said.reason, "the 12 candidates are used up");
    let result = result(said.next);
    assert_eq!(result["ranking"].as_array().map(Vec::len), Some(12));
    let distinct: BTreeSet<String> =
        bench.state().candidates.iter().map(|candidate| format!("{:?}", candidate.composition)).collect();
    assert_eq!(distinct.len(), 12);
    // one by one, with the design as large as the budget, and with more room than candidates
    for (more, proposed) in [(json!({"parallel": 1}), 12), (json!({"parallel": 50}), 12), (json!({"batch": 20}), 66)] {
        let mut params = small();
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut bench = Bench::new(params);
        bench.run_on(simulate);
        assert_eq!(bench.state().candidates.len(), proposed);
    }
}

#[test]
fn it_waits_for_what_has_not_ended_when_the_budget_is_used_up() {
    let mut bench = Bench::new(json!({"initial": 5, "batch": 2, "max_iterations": 1, "parallel": 4}));
    assert_eq!(bench.plan().proposed, 5);
    for number in [2, 4, 1, 5] {
        bench.end_candidate(number, simulate);
        let said = bench.plan();
        assert_eq!(said.next, Next::Wait);
        assert!(said.reason.starts_with("the 5 candidates are used up; "), "{}", said.reason);
    }
    assert_eq!(bench.plan().reason, "the 5 candidates are used up; 1 have not ended");
    bench.end_candidate(3, simulate);
    assert_eq!(result(bench.plan().next)["ranking"].as_array().map(Vec::len), Some(5));
}

#[test]
fn it_gives_up_after_as_many_evaluations_as_in_batches() {
    let mut params = small();
    params["max_iterations"] = json!(20);
    let mut bench = Bench::new(params.clone());
    bench.plan();
    for ended in 1..=12 {
        let number: usize = bench.open[0].id[1..4].parse().unwrap();
        bench.end_candidate(number, flat);
        let said = bench.plan();
        let stopped = said.reason.starts_with("3 times 2 candidates did not raise the hypervolume by more than 0");
        assert_eq!(stopped, ended == 12, "after {ended}: {}", said.reason);
    }
    assert_eq!((bench.state().pending(), bench.open.len()), (2, 4), "one was not replaced");
    let ended = result(bench.run_on(flat).next);
    assert_eq!(ended["ranking"].as_array().map(Vec::len), Some(14));
    // the same in batches
    params.as_object_mut().unwrap().remove("parallel");
    let mut batches = Bench::new(params);
    while batches.plan().proposed > 0 {
        while let Some(task) = batches.open.first() {
            let number = task.id[1..4].parse().unwrap();
            batches.end_candidate(number, flat);
        }
    }
    assert_eq!(batches.state().measured().len(), 12);
}

#[test]
fn what_was_under_way_can_take_back_that_it_has_stalled() {
    let mut params = small();
    params["max_iterations"] = json!(20);
    let mut bench = Bench::new(params);
    bench.plan();
    for _ in 1..=12 {
        let number: usize = bench.open[0].id[1..4].parse().unwrap();
        bench.end_candidate(number, flat);
        bench.plan();
    }
    let number: usize = bench.open[0].id[1..4].parse().unwrap();
    bench.end_candidate(number, simulate);
    assert_eq!(bench.plan().proposed, 2, "13 have ended, and the last was better");
}

#[test]
fn a_person_is_asked_when_the_last_to_end_failed() {
    let mut bench = Bench::new(small());
    bench.plan();
    bench.end_candidate(4, fail);
    assert_eq!(bench.plan().next, Next::Wait, "one failure is none of the simulator");
    bench.end_candidate(1, simulate);
    bench.end_candidate(2, fail);
    assert_eq!(bench.plan().next, Next::Wait, "nor are two that are not the last");
    bench.end_candidate(5, fail);
    let said = bench.plan();
    let Next::Hold(detail) = said.next else { panic!("{:?}", said.next) };
    assert_eq!(detail.code, "all-failed");
    assert_eq!(detail.message, "the last 2 candidates that ended failed; the first: friction: exit code 2");
    let said = bench.plan();
    assert_eq!((said.proposed, said.reason.as_str()), (1, "1 candidates that fill space, because only 1 have results"));
    bench.end_candidate(3, fail);
    assert_eq!(bench.plan().proposed, 1, "a person has seen all but one of them");
    bench.end_candidate(6, fail);
    assert!(matches!(bench.plan().next, Next::Hold(_)), "two more are asked about again");
    // fewer candidates than a batch
    let mut bench = Bench::new(json!({"initial": 2, "max_iterations": 1, "parallel": 1}));
    let said = bench.run_on(fail);
    assert!(matches!(said.next, Next::Hold(_)), "{:?}", said.next);
}

#[test]
fn growth_is_told_in_the_order_of_the_ends() {
    let mut bench = Bench::new(small());
    let said = bench.run_on(|task| if task.id.starts_with("c003") { fail(task) } else { simulate(task) });
    let result = result(said.next);
    let rows = result["hypervolume"].as_array().unwrap();
    let counts: Vec<(u64, u64)> =
        rows.iter().map(|row| (row["ended"].as_u64().unwrap(), row["evaluated"].as_u64().unwrap())).collect();
    assert_eq!(counts, [(6, 5), (8, 7), (10, 9), (12, 11)]);
    let state = bench.state();
    assert_eq!(state.ended[..3], [2, 3, 4], "the third of those that are open ends first");
    let mut places = state.ended.clone();
    places.sort_unstable();
    assert_eq!(places, (0..12).collect::<Vec<_>>());
    let volumes: Vec<f64> = rows.iter().map(|row| row["hypervolume"].as_f64().unwrap()).collect();
    assert!(volumes.is_sorted(), "{volumes:?}");
    assert_eq!(volumes, state.hypervolume);
    let all: Vec<Scaled> = state.measured().iter().map(|(_, objectives)| objectives.scaled()).collect();
    assert_eq!(volumes[3], hypervolume(&all));
    assert!(report::line(state).ends_with(", 1 candidates failed"));
}

#[test]
fn a_candidate_that_ran_again_keeps_its_place() {
    let mut bench = Bench::new(small());
    let tasks: Vec<Task> = {
        bench.plan();
        bench.open.clone()
    };
    bench.end_candidate(2, fail);
    bench.end_candidate(1, simulate);
    assert_eq!(
        (bench.state().ended.clone(), bench.state().growth(bench.ctx.params().unwrap())[0].evaluated),
        (vec![1, 0], 1)
    );
    bench.open.extend(tasks.into_iter().filter(|task| task.id.starts_with("c002")));
    bench.end_candidate(2, simulate);
    let mark = bench.state().growth(bench.ctx.params().unwrap())[0];
    assert_eq!((bench.state().ended.clone(), mark.ended, mark.evaluated), (vec![1, 0], 2, 2));
    assert_eq!(bench.state().hypervolume, [mark.hypervolume]);
}

#[test]
fn a_campaign_can_go_over_from_batches() {
    let mut params = small();
    params.as_object_mut().unwrap().remove("parallel");
    let mut bench = Bench::new(params);
    bench.plan();
    for number in 1..=6 {
        bench.end_candidate(number, simulate);
    }
    let kept = serde_json::to_value(bench.state()).unwrap();
    assert_eq!(kept.get("ended"), None, "the state in batches is what it was");
    bench.ctx = bench.ctx.with_params(serde_json::from_value(small()).unwrap());
    assert_eq!(bench.plan().proposed, 3);
    assert_eq!(bench.state().ended, [0, 1, 2, 3, 4, 5]);
    assert_eq!(bench.run_on(simulate).reason, "the 12 candidates are used up");
}

#[test]
fn batches_do_not_overlap_though_each_result_is_handed_over() {
    let mut params = small();
    params.as_object_mut().unwrap().remove("parallel");
    let mut bench = Bench::new(params);
    assert_eq!(bench.plan().proposed, 6);
    for number in [6, 2, 1, 5, 4] {
        bench.end_candidate(number, simulate);
        assert_eq!(bench.plan().next, Next::Wait);
    }
    bench.end_candidate(3, simulate);
    assert_eq!(bench.plan().proposed, 2);
}
