"""The test operator as a plain script, and the source of a component; `robot-rust` says what it does."""
from matterstack import Error

BACKEND = "local"


def prepare(attempt):
    if attempt.task.command is None:
        raise Error("invalid", "no-command", f"the task `{attempt.task.id}` has no `command`")
    return {"number": attempt.number}


def submit(attempt):
    number = attempt.prepared["number"]
    attempt.log(f"attempt {number} of {attempt.task.id}")
    job = {"command": attempt.task.command, "env": {"NUMBER": str(number)}}
    said = attempt.compute.submit(BACKEND, job)
    return {"handle": {"job": said["handle"]}, "external_id": f"µ-{attempt.task.id}"}


def reconcile(attempt):
    found = attempt.compute.find(BACKEND)
    if found["found"] == "yes":
        return {"found": "yes", "handle": {"job": found["handle"]}, "external_id": f"again-{attempt.task.id}"}
    return found


def check_status(attempt):
    report = attempt.compute.status(BACKEND, attempt.handle["job"])
    report.pop("handle", None)
    if report["status"] == "failed" and attempt.task.id == "odd":
        report["detail"] = {"code": "odd", "message": "this is an odd one", "data": {"line": attempt.number}}
    return report


def collect_results(attempt):
    record = attempt.compute.collect(BACKEND, attempt.handle["job"])
    output = {"code": record["code"], "number": attempt.number, "unit": attempt.config["unit"]}
    return {"output": output, "usage": {"cpu_s": 1.5}}


def cancel(attempt):
    attempt.compute.cancel(BACKEND, attempt.handle["job"])
