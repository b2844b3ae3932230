// The test operator as a plain script, and the source of a component; `robot-rust` says what it does.
import { Error } from "matterstack";

const BACKEND = "local";

export function prepare({ task, number }) {
  if (task.command === undefined) throw new Error("invalid", "no-command", `the task \`${task.id}\` has no \`command\``);
  return { number };
}

export function submit(attempt) {
  const { task, prepared, compute } = attempt;
  attempt.log(`attempt ${prepared.number} of ${task.id}`);
  const { handle } = compute.submit(BACKEND, { command: task.command, env: { NUMBER: String(prepared.number) } });
  return { handle: { job: handle }, external_id: `µ-${task.id}` };
}

export function reconcile({ task, compute }) {
  const found = compute.find(BACKEND);
  if (found.found !== "yes") return found;
  return { found: "yes", handle: { job: found.handle }, external_id: `again-${task.id}` };
}

export function check_status({ task, number, handle, compute }) {
  const { handle: _, ...report } = compute.status(BACKEND, handle.job);
  if (report.status === "failed" && task.id === "odd") {
    report.detail = { code: "odd", message: "this is an odd one", data: { line: number } };
  }
  return report;
}

export function collect_results({ number, handle, config, compute }) {
  const { code } = compute.collect(BACKEND, handle.job);
  return { output: { code, number, unit: config.unit }, usage: { cpu_s: 1.5 } };
}

export function cancel({ handle, compute }) {
  compute.cancel(BACKEND, handle.job);
}
