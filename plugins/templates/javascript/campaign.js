// Looks for the lowest point of a measured curve: five points at a time, around the best one so far.
import { Complete, Run, Task } from "matterstack";

/** Says what to run next. `state` is what this returned before; nothing else is remembered. */
export function plan(ctx, state) {
  const params = ctx.params;
  state ??= { x: params.from, y: null, step: params.step };
  if (ctx.iteration > params.iterations) {
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
export function analyze(ctx, state, results) {
  for (const result of results) {
    if (!result.completed) continue;
    const [x, y] = result.output("y.txt").text().trim().split(/\s+/).map(Number);
    if (state.y === null || y < state.y) Object.assign(state, { x, y });
  }
  state.step /= 2;
  return state;
}
