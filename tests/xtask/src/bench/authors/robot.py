"""Jobs on the backend `local`, and nothing else."""


def submit(attempt):
    return attempt.compute.submit("local", {"command": attempt.task["command"]})


def reconcile(attempt):
    return attempt.compute.find("local")


def check_status(attempt):
    return attempt.compute.status("local", attempt.handle)
