// What an author's test uses, under Node, where this folder has the SDK as `node_modules/matterstack`.
import assert from "node:assert/strict";
import test from "node:test";
import { analyze, plan } from "./campaign.js";
import { check_status, prepare, submit } from "./robot.js";
import * as matterstack from "matterstack";

const { Attempt, Complete, Context, Fail, Hold, Result, Rng, Run, Task, Wait } = matterstack;

test("a campaign is called as it is", () => {
  const params = { lo: 0, hi: 1024, target: 613, iterations: 3 };
  let state = null;
  for (let iteration = 1; iteration <= 3; iteration += 1) {
    const ctx = new Context(params, { iteration });
    const answer = plan(ctx, state);
    const value = ({ id }) => Number(id.split("x")[1]);
    const point = (x) => ({ x, value: (x - 613) ** 2 });
    const results = answer.tasks.map((task) => Result.of(task.id, { "value.json": point(value(task)) }));
    state = analyze(ctx, answer.state, results).folded.state;
  }
  const { complete } = plan(new Context(params, { iteration: 4 }), state);
  assert.deepEqual([complete.evaluated, complete.best.x], [9, 640]);
});

test("an operator is called with a backend of the test's", () => {
  const seen = [];
  const compute = { submit: (...job) => (seen.push(job), { handle: 7 }), status: (_, handle) => ({ status: "running", handle }) };
  const prepared = prepare(Attempt.first({ id: "a", command: ["true"] }));
  const attempt = Attempt.first({ id: "a", command: ["true"] }, { prepared, compute, log: () => {} });
  assert.deepEqual(submit(attempt), { handle: { job: 7 }, external_id: "µ-a" });
  assert.deepEqual(seen, [["local", { command: ["true"], env: { NUMBER: "1" } }]]);
  assert.deepEqual(check_status(Attempt.first({}, { handle: { job: 7 }, compute })), { status: "running" });
});

test("a context gives what a run would", () => {
  const files = { table: "x,y\n", doc: { a: 1 } };
  const ctx = new Context({ n: 1 }, { files, supplied: 2, run_id: "r", open_tasks: ["b", "a", "c"] });
  assert.deepEqual([ctx.params, ctx.supplied, ctx.run_id, ctx.open_tasks], [{ n: 1 }, 2, "r", 3]);
  assert.deepEqual([ctx.text("table"), ctx.json(ctx.inputs.doc), ctx.read("table").length], ["x,y\n", { a: 1 }, 4]);
  assert.equal(ctx.text(ctx.write("µ")), "µ");
  assert.deepEqual(ctx.open_tasks_after("a", 1), ["b"]);
  assert.throws(() => ctx.text("other"), { code: "no-input" });
  assert.throws(() => new Context({}, { files: { bad: Uint8Array.of(255) } }).text("bad"), { code: "not-utf-8" });
  assert.throws(() => Result.of("t", { a: "1" }).output("b"), /no output `b`; its outputs: `a`/);
  assert.equal(Result.of("t").output("b", null), null);
});

test("answers are plain documents", () => {
  assert.deepEqual(Run([Task({ id: "a", operator: "l", env: undefined })], 1, "why"), {
    tasks: [{ id: "a", operator: "l" }],
    state: 1,
    reason: "why",
  });
  assert.deepEqual(Complete(), { complete: null });
  assert.deepEqual(Wait(null, { wake_at_ms: 5 }), { wait: true, state: null, wake_at_ms: 5 });
  assert.deepEqual(Hold("m", undefined, { data: {} }), { hold: { message: "m", data: {} } });
  assert.deepEqual(Fail("m", 1, "r"), { fail: "m", state: 1, reason: "r" });
  assert.throws(() => Wait(null, { summery: 1 }), /an answer has no `summery`/);
  assert.throws(() => new matterstack.Error("odd", "c", "m"), /no kind of error/);
});

test("random numbers are those of the SDK in Rust", () => {
  // what `Rng::new(5, 1).uniform()` gives there
  const ctx = new Context({}, { seed: 42, decision: 7 });
  assert.deepEqual([ctx.random(), ctx.random()], [0.9648978529284752, 0.8709958061309743]);
  const rng = new Rng(1, 2);
  assert.deepEqual([...Array(100)].every(() => rng.below(3) < 3), true);
});
