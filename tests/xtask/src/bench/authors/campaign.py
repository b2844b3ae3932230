"""As many tasks as it is told, and then the end."""


def plan(ctx, state):
    if state is not None:
        return {"complete": {}}
    tasks = [{"id": f"t{n}", "operator": "local", "command": ["/bin/true"]} for n in range(ctx.params["count"])]
    return {"state": {"planned": len(tasks)}, "tasks": tasks, "reason": "all of them"}


def analyze(ctx, state, results):
    return state
