//! What decisions cost, as far as it can be counted, which is fuel. What calls take in time are rows of
//! `cargo xtask bench`.
use super::*;

fn fuel(count: usize) -> u64 {
    let mut bench = Bench::new(limits());
    let campaign = bench.file("workflow.wasm", builtin::builtin("workflow").unwrap());
    bench.host.set_campaign(source(&campaign));
    let task = |n: usize| json!({"id": format!("task-{n:06}"), "operator": "local", "command": ["true"]});
    let tasks: Vec<Value> = (0..count).map(task).collect();
    bench.plan(json!({"tasks": tasks})).unwrap().fuel
}

#[test]
fn a_decision_costs_as_much_each_time_and_in_proportion_to_its_tasks() {
    let counts = [100, 1000, 10_000];
    let [few, some, many] = counts.map(fuel);
    assert_eq!(counts.map(fuel), [few, some, many], "the same decision costs the same");
    let (first, then) = ((some - few) / 900, (many - some) / 9000);
    assert!(then <= first + first / 10, "a task costs {first} among a thousand, {then} among ten thousand");
}
