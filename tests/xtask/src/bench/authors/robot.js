// Jobs on the backend `local`, and nothing else.
export function submit(attempt) {
  return attempt.compute.submit("local", { command: attempt.task.command });
}

export function reconcile(attempt) {
  return attempt.compute.find("local");
}

export function check_status(attempt) {
  return attempt.compute.status("local", attempt.handle);
}
