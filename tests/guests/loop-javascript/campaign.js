// The closed-loop test campaign as a plain script, and the source of a component; `loop-rust` says what it does.
import { Complete, Folded, Hold, Run, Task, Wait } from "matterstack";

const SCRIPT = 'echo "{\\"x\\": $1, \\"value\\": $((($1 - $2) * ($1 - $2)))}" > value.json';
const FORM = { properties: { note: { type: "string" }, n: { type: "number" } } };

function point(ctx, state, k, before, notes) {
  const { lo, hi } = state;
  const { params, iteration } = ctx;
  const x = lo + Math.floor(((hi - lo) * k) / 4) + Math.floor(ctx.random() * (params.jitter ?? 0));
  const fails = iteration === params.fails_in && k === 2;
  const chained = params.watch && before !== undefined;
  return Task({
    id: `i${iteration}-x${x}`,
    operator: "local",
    command: fails ? ["sh", "-c", "exit 3"] : ["sh", "-c", SCRIPT, "sh", String(x), String(params.target)],
    outputs: ["value.json"],
    allow_failure: fails ? true : undefined,
    files: notes === null ? undefined : { "notes.txt": { digest: notes } },
    depends_on: chained ? [before] : undefined,
    allow_dependency_failure: chained ? true : undefined,
  });
}

function firstState(ctx) {
  // `carried` is a whole number beyond 2^53, which crosses, is reckoned with, and comes back
  const { lo, hi, carried = 0 } = ctx.params;
  const { label = null, numbers = null, signs = null } = "start" in ctx.inputs ? ctx.json("start") : {};
  const none = { asked: [], waiting: [], failed: [], cancelled: 0, corrected: 0 };
  const begun = { lo, hi, step: (hi - lo) / 4, best: null, evaluated: 0, carried, dose: 0 };
  return { ...begun, label, numbers, signs, notes: null, ...none };
}

function summary({ evaluated, best }) {
  const metrics = best === null ? undefined : { best: best.value };
  return { text: `${evaluated} points evaluated`, done: evaluated, metrics };
}

export function plan(ctx, previous) {
  const { params, iteration } = ctx;
  const state = previous ?? firstState(ctx);
  state.asked.push(ctx.asked.join("+"));
  if (state.waiting.length > 0) return wait(ctx, state);
  if (iteration > params.iterations) return end(ctx, state);
  let notes = null;
  if (state.label !== null) notes = state.notes = ctx.write(`${state.label}, round ${iteration}\n`);
  const tasks = [];
  for (const k of [1, 2, 3]) tasks.push(point(ctx, state, k, tasks.at(-1)?.id, notes));
  if (params.watch) tasks.push(Task({ id: `i${iteration}-watch`, operator: "local", command: ["sleep", "1000"] }));
  state.waiting = tasks.map((task) => task.id);
  const told = state.label === null ? "" : `${state.label}: `;
  const reason = `${told}three points between ${state.lo} and ${state.hi}`;
  return Run(tasks, state, { reason, summary: summary(state) });
}

function wait(ctx, state) {
  const more = { summary: summary(state) };
  if (state.waiting.every((task) => task.endsWith("-watch"))) {
    return Wait(state, { reason: "only the watch is left", cancel: ctx.open_tasks_after(), ...more });
  }
  const { wake_s } = ctx.params;
  const reason = `${state.waiting.length} are waited for, ${ctx.open_tasks} are open`;
  return Wait(state, { reason, wake_at_ms: wake_s === undefined ? undefined : ctx.now_ms + 1000 * wake_s, ...more });
}

function end(ctx, state) {
  const { best, evaluated, failed, cancelled, corrected, asked } = state;
  const more = { summary: summary(state) };
  if (ctx.params.ask && ctx.supplied === null) {
    const told = { reason: "a person looks at it", code: "look", data: { form: FORM }, ...more };
    return Hold("is this the right one? 🧪", state, told);
  }
  const notes = state.notes === null ? null : ctx.text(state.notes);
  const counted = { best, evaluated, failed, cancelled, corrected, asked };
  const result = { ...counted, unit: "µm", notes, supplied: ctx.supplied };
  return Complete(result, state, { reason: "the iterations are used up", ...more });
}

export function analyze(ctx, state, results) {
  const waited = state.waiting.length > 0;
  for (const result of results) {
    if (result.supersedes) {
      state.corrected += 1;
      continue;
    }
    state.waiting = state.waiting.filter((task) => task !== result.task);
    if (result.completed) {
      const { x, value } = result.output("value.json").json();
      state.evaluated += 1;
      if (state.best === null || value < state.best.value) state.best = { x, value };
    } else if (result.outcome === "cancelled") {
      state.cancelled += 1;
    } else {
      state.failed.push({ task: result.task, code: result.code ?? null });
    }
  }
  if (waited && state.waiting.length === 0) narrow(ctx, state);
  return Folded(state, summary(state));
}

function narrow(ctx, state) {
  const quarter = Math.floor((state.hi - state.lo) / 4);
  if (state.best !== null) {
    state.lo = Math.max(state.best.x - quarter, ctx.params.lo);
    state.hi = Math.min(state.best.x + quarter, ctx.params.hi);
  }
  state.step = (state.hi - state.lo) / 4;
  state.dose = state.dose * 1.5 + state.carried;
}
