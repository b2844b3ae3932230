"""Computes for a while in each decision, as a campaign with a model of its own does."""

from matterstack import Complete, Run, Task


def think(seed):
    total = seed
    for number in range(300_000):
        total = (total * 1103515245 + number) % 2147483648
    return total


def plan(ctx, state):
    done, total = (state["done"], state["total"]) if state else (0, 1)
    if done == ctx.params["iterations"]:
        return Complete({"total": total}, state, "thought enough")
    state = {"done": done + 1, "total": think(total)}
    return Run([Task(f"t-{done + 1}", "local", ["true"])], state, "thought once more")


def analyze(ctx, state, results):
    return state
