// Carries the tasks of another campaign to the backend `local`.

export function prepare({ task }) {
  return { command: task.command };
}

export function submit({ prepared, compute }) {
  return compute.submit("local", { command: prepared.command });
}

export const reconcile = ({ compute }) => compute.find("local");
export const check_status = ({ compute, handle }) => compute.status("local", handle);
export const collect_results = ({ compute, handle }) => ({ output: compute.collect("local", handle) });
export const cancel = ({ compute, handle }) => compute.cancel("local", handle);
