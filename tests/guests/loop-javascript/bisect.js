// The closed-loop test campaign: what it decides.
import { Complete, Folded, Run, Task } from "../../../plugins/sdk/javascript/matterstack.js";

const SCRIPT = 'echo "{\\"x\\": $1, \\"value\\": $((($1 - $2) * ($1 - $2)))}" > value.json';

function task(iteration, x, target) {
  return Task({
    id: `i${iteration}-x${x}`,
    operator: "local",
    command: ["sh", "-c", SCRIPT, "sh", String(x), String(target)],
    outputs: ["value.json"],
  });
}

// `carried` is a whole number beyond 2^53, which only crosses and comes back.
function firstState({ lo, hi, carried = 0 }) {
  return { lo, hi, step: (hi - lo) / 4, best: null, evaluated: 0, carried };
}

function summary({ evaluated, best }) {
  const metrics = best === null ? undefined : { best: best.value };
  return { text: `${evaluated} points evaluated`, done: evaluated, metrics };
}

export function plan(ctx, previous) {
  const { params, iteration } = ctx;
  const state = previous ?? firstState(params);
  if (iteration > params.iterations) {
    const result = { best: state.best, evaluated: state.evaluated, unit: "µm" };
    return Complete(result, state, { reason: "the iterations are used up", summary: summary(state) });
  }
  const { lo, hi } = state;
  const tasks = [1, 2, 3].map((k) => task(iteration, lo + Math.floor(((hi - lo) * k) / 4), params.target));
  return Run(tasks, state, { reason: `three points between ${lo} and ${hi}`, summary: summary(state) });
}

export function analyze(ctx, state, results) {
  for (const result of results.filter((result) => result.completed)) {
    const { x, value } = result.output("value.json").json();
    state.evaluated += 1;
    if (state.best === null || value < state.best.value) state.best = { x, value };
  }
  const quarter = Math.floor((state.hi - state.lo) / 4);
  if (state.best !== null) {
    state.lo = Math.max(state.best.x - quarter, ctx.params.lo);
    state.hi = Math.min(state.best.x + quarter, ctx.params.hi);
  }
  state.step = (state.hi - state.lo) / 4;
  return Folded(state, summary(state));
}
