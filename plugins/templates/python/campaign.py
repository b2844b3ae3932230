"""Looks for the lowest point of a measured curve: five points at a time, around the best one so far."""
from matterstack import Complete, Run, Task


def plan(ctx, state):
    """Says what to run next. `state` is what this returned before; nothing else is remembered."""
    params = ctx.params
    state = state or {"x": params["from"], "y": None, "step": params["step"]}
    if ctx.iteration > params["iterations"]:
        return Complete({"x": state["x"], "y": state["y"]}, state, "the iterations are used up")
    tasks = []
    for k in range(-2, 3):
        x = state["x"] + k * state["step"]
        command = f"awk 'BEGIN {{ x = {x}; print x, (x - 3) ^ 2 + 1 }}' > y.txt"
        tasks.append(Task(f"i{ctx.iteration}-{k + 3}", "local", command, outputs=["y.txt"]))
    return Run(tasks, state, f"five points around {state['x']}")


def analyze(ctx, state, results):
    """Folds what came back into the state."""
    for result in results:
        if not result.completed:
            continue
        x, y = (float(word) for word in result.output("y.txt").text().split())
        if state["y"] is None or y < state["y"]:
            state["x"], state["y"] = x, y
    state["step"] /= 2
    return state
