"""An operator as a plain script: it runs each task as a job of a compute system of the host."""
from matterstack import Error

BACKEND = "local"


def prepare(attempt):
    if attempt.task.command is None:
        raise Error("invalid", "no-command", f"the task `{attempt.task.id}` has no `command`")
    return {"number": attempt.number}


def submit(attempt):
    attempt.log(f"attempt {attempt.prepared['number']} of {attempt.task.id}")
    return attempt.compute.submit(BACKEND, {"command": attempt.task.command})


def reconcile(attempt):
    return attempt.compute.find(BACKEND)


def check_status(attempt):
    return attempt.compute.status(BACKEND, attempt.handle)


def collect_results(attempt):
    return {"output": attempt.compute.collect(BACKEND, attempt.handle)}


def cancel(attempt):
    attempt.compute.cancel(BACKEND, attempt.handle)
