// The closed-loop test campaign in JavaScript; `loop-rust` says what it does.
import artifacts from "matterstack:plugin/artifacts@0.2.0-dev.2";
import run from "matterstack:plugin/run@0.2.0-dev.2";

const SCRIPT = 'echo "{\\"x\\": $1, \\"value\\": $((($1 - $2) * ($1 - $2)))}" > value.json';

function task(iteration, x, target) {
  return {
    id: `i${iteration}-x${x}`,
    operator: "local",
    command: ["sh", "-c", SCRIPT, "sh", String(x), String(target)],
    outputs: ["value.json"],
  };
}

// `carried` is a whole number beyond 2^53, which only crosses and comes back.
function firstState({ lo, hi, carried = 0 }) {
  return { lo, hi, step: (hi - lo) / 4, best: null, evaluated: 0, carried };
}

function summary({ evaluated, best }) {
  const metrics = best === null ? undefined : { best: best.value };
  return JSON.stringify({ text: `${evaluated} points evaluated`, done: evaluated, metrics });
}

function plan(ctx, previous) {
  const params = JSON.parse(run.params());
  const state = previous == null ? firstState(params) : JSON.parse(previous);
  const decide = (tag, val, reason) => ({
    state: JSON.stringify(state),
    next: { tag, val },
    cancel: [],
    summary: summary(state),
    reason,
  });
  if (ctx.iteration > params.iterations) {
    const result = { best: state.best, evaluated: state.evaluated, unit: "µm" };
    return decide("complete", JSON.stringify(result), "the iterations are used up");
  }
  const { lo, hi } = state;
  const tasks = [1, 2, 3].map((k) => task(ctx.iteration, lo + Math.floor(((hi - lo) * k) / 4), params.target));
  return decide("workflow", JSON.stringify(tasks), `three points between ${lo} and ${hi}`);
}

function text(bytes) {
  return String.fromCharCode(...bytes);
}

function analyze(ctx, previous, finished) {
  const params = JSON.parse(run.params());
  const state = JSON.parse(previous);
  for (const result of JSON.parse(finished)) {
    if (result.outcome !== "completed") continue;
    const file = result.outputs.find((output) => output.path === "value.json");
    const { x, value } = JSON.parse(text(artifacts.read(file.sha256, 0, file.size)));
    state.evaluated += 1;
    if (state.best === null || value < state.best.value) state.best = { x, value };
  }
  const quarter = Math.floor((state.hi - state.lo) / 4);
  if (state.best !== null) {
    state.lo = Math.max(state.best.x - quarter, params.lo);
    state.hi = Math.min(state.best.x + quarter, params.hi);
  }
  state.step = (state.hi - state.lo) / 4;
  return { state: JSON.stringify(state), summary: summary(state) };
}

// An exception that reaches the host is a trap without its text; an error of the contract has a tag.
function answered(call) {
  return (...args) => {
    try {
      return call(...args);
    } catch (error) {
      if (error?.tag !== undefined) throw error;
      throw { tag: "other", val: { code: "exception", message: String(error) } };
    }
  };
}

export const campaignCalls = { plan: answered(plan), analyze: answered(analyze) };
