// The closed-loop test campaign in TypeScript, which becomes a script; `loop-rust` says what it does.
import { Complete, Folded, Hold, Run, Task, Wait } from "matterstack";
import type { Answer, Context, Json, Result, Summary } from "matterstack";

interface Params {
  lo: number;
  hi: number;
  target: number;
  iterations: number;
  /** A whole number beyond 2^53, which crosses, is reckoned with, and comes back. */
  carried?: number;
  jitter?: number;
  fails_in?: number;
  watch?: boolean;
  ask?: boolean;
  wake_s?: number;
}

interface Point {
  x: number;
  value: number;
}

interface State {
  lo: number;
  hi: number;
  step: number;
  best: Point | null;
  evaluated: number;
  carried: number;
  dose: number;
  label: string | null;
  numbers: Json;
  signs: Json;
  notes: string | null;
  asked: string[];
  waiting: string[];
  failed: { task: string; code: string | null }[];
  cancelled: number;
  corrected: number;
}

type Start = Partial<Pick<State, "label" | "numbers" | "signs">>;

const SCRIPT = 'echo "{\\"x\\": $1, \\"value\\": $((($1 - $2) * ($1 - $2)))}" > value.json';
const FORM = { properties: { note: { type: "string" }, n: { type: "number" } } };

function point(ctx: Context<Params>, { lo, hi }: State, k: number, before?: string, notes?: string): Task {
  const { iteration, params } = ctx;
  const { target, jitter = 0 } = params;
  const x = lo + Math.floor(((hi - lo) * k) / 4) + Math.floor(ctx.random() * jitter);
  const task: Task = {
    id: `i${iteration}-x${x}`,
    operator: "local",
    command: ["sh", "-c", SCRIPT, "sh", `${x}`, `${target}`],
    outputs: ["value.json"],
  };
  if (iteration === params.fails_in && k === 2) {
    task.command = ["sh", "-c", "exit 3"];
    task.allow_failure = true;
  }
  if (notes !== undefined) task.files = { "notes.txt": { digest: notes } };
  if (params.watch && before !== undefined) {
    task.depends_on = [before];
    task.allow_dependency_failure = true;
  }
  return Task(task);
}

function firstState(ctx: Context<Params>): State {
  const { lo, hi, carried = 0 } = ctx.params;
  const start: Start = "start" in ctx.inputs ? ctx.json("start") : {};
  const { label = null, numbers = null, signs = null } = start;
  const step = (hi - lo) / 4;
  const begun = { lo, hi, step, best: null, evaluated: 0, carried, dose: 0, label, numbers, signs, notes: null };
  return { ...begun, asked: [], waiting: [], failed: [], cancelled: 0, corrected: 0 };
}

function summary({ evaluated, best }: State): Summary {
  const text = `${evaluated} points evaluated`;
  return best === null ? { text, done: evaluated } : { text, done: evaluated, metrics: { best: best.value } };
}

export function plan(ctx: Context<Params>, previous: State | null): Answer<State> {
  const { params, iteration } = ctx;
  const state = previous ?? firstState(ctx);
  state.asked.push(ctx.asked.join("+"));
  if (state.waiting.length > 0) return wait(ctx, state);
  if (iteration > params.iterations) return end(ctx, state);
  let notes: string | undefined;
  if (state.label !== null) notes = state.notes = ctx.write(`${state.label}, round ${iteration}\n`);
  const tasks: Task[] = [];
  for (const k of [1, 2, 3]) tasks.push(point(ctx, state, k, tasks.at(-1)?.id, notes));
  if (params.watch) tasks.push({ id: `i${iteration}-watch`, operator: "local", command: ["sleep", "1000"] });
  state.waiting = tasks.map((task) => task.id);
  const told = state.label === null ? "" : `${state.label}: `;
  const reason = `${told}three points between ${state.lo} and ${state.hi}`;
  return Run(tasks, state, { reason, summary: summary(state) });
}

function wait(ctx: Context<Params>, state: State): Answer<State> {
  if (state.waiting.every((task) => task.endsWith("-watch"))) {
    const cancel = ctx.open_tasks_after();
    return Wait(state, { reason: "only the watch is left", cancel, summary: summary(state) });
  }
  const { wake_s } = ctx.params;
  const wake_at_ms = wake_s === undefined ? undefined : ctx.now_ms + 1000 * wake_s;
  const reason = `${state.waiting.length} are waited for, ${ctx.open_tasks} are open`;
  return Wait(state, { reason, wake_at_ms, summary: summary(state) });
}

function end(ctx: Context<Params>, state: State): Answer<State> {
  const { best, evaluated, failed, cancelled, corrected, asked } = state;
  if (ctx.params.ask && ctx.supplied === null) {
    const told = { reason: "a person looks at it", code: "look", data: { form: FORM }, summary: summary(state) };
    return Hold("is this the right one? 🧪", state, told);
  }
  const notes = state.notes === null ? null : ctx.text(state.notes);
  const counted = { best, evaluated, failed, cancelled, corrected, asked };
  const result = { ...counted, unit: "µm", notes, supplied: ctx.supplied };
  return Complete(result, state, { reason: "the iterations are used up", summary: summary(state) });
}

export function analyze(ctx: Context<Params>, state: State, results: Result[]) {
  const waited = state.waiting.length > 0;
  for (const result of results) {
    if (result.supersedes) {
      state.corrected += 1;
      continue;
    }
    state.waiting = state.waiting.filter((task) => task !== result.task);
    if (result.completed) {
      const { x, value }: Point = result.output("value.json").json();
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

function narrow({ params }: Context<Params>, state: State) {
  const quarter = Math.floor((state.hi - state.lo) / 4);
  if (state.best !== null) {
    state.lo = Math.max(state.best.x - quarter, params.lo);
    state.hi = Math.min(state.best.x + quarter, params.hi);
  }
  state.step = (state.hi - state.lo) / 4;
  state.dose = state.dose * 1.5 + state.carried;
}
