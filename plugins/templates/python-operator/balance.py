"""Weighs: a task says how many grams it takes, and this operator alone knows the command."""
from matterstack import Error

BACKEND = "local"


def prepare(attempt):
    """Makes ready and checks; may be called again after a crash. What it refuses with `invalid` is not tried again. A
    document that it returns is `attempt.prepared` from then on.
    """
    grams = (attempt.task.input or {}).get("grams")
    if not isinstance(grams, (int, float)) or not 0 < grams <= 200:
        raise Error("invalid", "grams", f"{grams} g do not go on this balance: 0 to 200 do")
    return {"grams": grams}


def submit(attempt):
    """Carries it outside. The host calls this once for an attempt, and keeps the handle that it returns."""
    command = ["awk", f"BEGIN {{ print {attempt.prepared['grams']} * 1.0002 }}"]
    return attempt.compute.submit(BACKEND, {"command": command})


def reconcile(attempt):
    """Where the answer of `submit` was lost, tells whether it took effect: the outside knows attempts by their key."""
    return attempt.compute.find(BACKEND)


def check_status(attempt):
    return attempt.compute.status(BACKEND, attempt.handle)


def collect_results(attempt):
    """Brings what the job left into the attempt's directory, and returns an output document."""
    return {"output": attempt.compute.collect(BACKEND, attempt.handle)}


def cancel(attempt):
    attempt.compute.cancel(BACKEND, attempt.handle)
