// The test operator in TypeScript, which becomes a script; `robot-rust` says what it does.
import { MatterStackError } from "matterstack";
import type { Attempt, Collected, Found, Report, Submitted } from "matterstack";

const BACKEND = "local";

export function prepare({ task, number }: Attempt): { number: number } {
  if (task.command !== undefined) return { number };
  throw new MatterStackError("invalid", "no-command", `the task \`${task.id}\` has no \`command\``);
}

export function submit(attempt: Attempt): Submitted {
  const { task, prepared, compute } = attempt;
  attempt.log(`attempt ${prepared.number} of ${task.id}`);
  const { handle } = compute.submit(BACKEND, { command: task.command, env: { NUMBER: `${prepared.number}` } });
  return { handle: { job: handle }, external_id: `µ-${task.id}` };
}

export function reconcile({ task, compute }: Attempt): Found {
  const found = compute.find(BACKEND);
  if (found.found !== "yes") return found;
  return { found: "yes", handle: { job: found.handle }, external_id: `again-${task.id}` };
}

export function check_status({ task, number, handle, compute }: Attempt): Report {
  const { handle: _, ...report } = compute.status(BACKEND, handle.job);
  if (report.status === "failed" && task.id === "odd") {
    return { ...report, detail: { code: "odd", message: "this is an odd one", data: { line: number } } };
  }
  return report;
}

export function collect_results({ number, handle, config, compute }: Attempt): Collected {
  const { code } = compute.collect(BACKEND, handle.job);
  return { output: { code, number, unit: config.unit }, usage: { cpu_s: 1.5 } };
}

export function cancel({ handle, compute }: Attempt): void {
  compute.cancel(BACKEND, handle.job);
}
