// Looks for the lowest point of a measured curve: five points at a time, around the best one so far.
import { Complete, Run, Task, type Answer, type Context, type Result } from "matterstack";

interface Params {
  from: number;
  step: number;
  iterations: number;
}

/** What the campaign remembers: the host keeps it, and hands it to the next call. */
interface State {
  x: number;
  y: number | null;
  step: number;
}

/** Says what to run next. */
export function plan(ctx: Context<Params>, before: State | null): Answer<State> {
  const { from, step, iterations } = ctx.params;
  const state = before ?? { x: from, y: null, step };
  if (ctx.iteration > iterations) {
    return Complete({ x: state.x, y: state.y }, state, "the iterations are used up");
  }
  const tasks = [-2, -1, 0, 1, 2].map((k) => {
    const x = state.x + k * state.step;
    return Task({
      id: `i${ctx.iteration}-${k + 3}`,
      operator: "local",
      command: `awk 'BEGIN { x = ${x}; print x, (x - 3) ^ 2 + 1 }' > y.txt`,
      outputs: ["y.txt"],
    });
  });
  return Run(tasks, state, `five points around ${state.x}`);
}

/** Folds what came back into the state. */
export function analyze(_: Context<Params>, state: State, results: Result[]): State {
  for (const result of results.filter((result) => result.completed)) {
    const [x, y] = result.output("y.txt").text().trim().split(/\s+/).map(Number) as [number, number];
    if (state.y === null || y < state.y) Object.assign(state, { x, y });
  }
  return { ...state, step: state.step / 2 };
}
