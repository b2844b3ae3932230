// A campaign and a part of an operator with types: a test has `tsc --strict` read it.
import { Attempt, Complete, Context, Folded, Report, Result, Run, Submitted, Task, type Answer } from "matterstack";

interface Params { points: number }
interface State { values: number[]; done: boolean }

export function plan(ctx: Context<Params>, state: State | null): Answer<State> {
  if (state?.done) return Complete({ values: state.values });
  const tasks = Array.from({ length: ctx.params.points }, (_, n) =>
    Task({ id: `run-${n}`, operator: "local", command: ["echo", String(ctx.random())], outputs: ["value"] }));
  return Run(tasks, { values: [], done: false }, { reason: "first", summary: { text: "begun", done: 0 } });
}

export function analyze(_: Context<Params>, state: State, results: Result[]) {
  const values = results.filter((result) => result.completed).map((result) => Number(result.output("value").text()));
  return Folded<State>({ values: [...state.values, ...values], done: true }, { text: `${values.length}` });
}

export const submit = ({ compute, task }: Attempt): Submitted => compute.submit("local", { command: task.command });
export function check_status({ compute, handle }: Attempt): Report {
  const report = compute.status("local", handle);
  return report.status === "failed" ? { status: "lost", detail: "gone" } : report;
}
const answer: Answer = { wait: true, reason: "a plain document is an answer" };
export default answer;
