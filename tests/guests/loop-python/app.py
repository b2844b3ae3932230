"""The closed-loop test campaign in Python as a component of its own; `loop-rust` says what it does."""
from matterstack_component.campaign import export

SCRIPT = 'echo "{\\"x\\": $1, \\"value\\": $((($1 - $2) * ($1 - $2)))}" > value.json'


def task(iteration, x, target):
    return {
        "id": f"i{iteration}-x{x}",
        "operator": "local",
        "command": ["sh", "-c", SCRIPT, "sh", str(x), str(target)],
        "outputs": ["value.json"],
    }


def first_state(params):
    lo, hi = params["lo"], params["hi"]
    # a whole number beyond 2^53, which only crosses and comes back
    carried = params.get("carried", 0)
    return {"lo": lo, "hi": hi, "step": (hi - lo) / 4, "best": None, "evaluated": 0, "carried": carried}


def summary(state):
    evaluated, best = state["evaluated"], state["best"]
    metrics = {} if best is None else {"metrics": {"best": best["value"]}}
    return {"text": f"{evaluated} points evaluated", "done": evaluated, **metrics}


def plan(ctx, state):
    state = first_state(ctx.params) if state is None else state
    if ctx.iteration > ctx.params["iterations"]:
        result = {"best": state["best"], "evaluated": state["evaluated"], "unit": "µm"}
        return {"state": state, "complete": result, "reason": "the iterations are used up", "summary": summary(state)}
    lo, hi = state["lo"], state["hi"]
    tasks = [task(ctx.iteration, lo + (hi - lo) * k // 4, ctx.params["target"]) for k in (1, 2, 3)]
    return {"state": state, "tasks": tasks, "reason": f"three points between {lo} and {hi}", "summary": summary(state)}


def analyze(ctx, state, results):
    for result in results:
        if not result.completed:
            continue
        point = result.output("value.json").json()
        state["evaluated"] += 1
        if state["best"] is None or point["value"] < state["best"]["value"]:
            state["best"] = {"x": point["x"], "value": point["value"]}
    quarter = (state["hi"] - state["lo"]) // 4
    if state["best"] is not None:
        state["lo"] = max(state["best"]["x"] - quarter, ctx.params["lo"])
        state["hi"] = min(state["best"]["x"] + quarter, ctx.params["hi"])
    state["step"] = (state["hi"] - state["lo"]) / 4
    return {"folded": {"state": state, "summary": summary(state)}}


CampaignCalls = export(plan, analyze)
