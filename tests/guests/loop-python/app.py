"""The closed-loop test campaign in Python; `loop-rust` says what it does."""
import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import artifacts, run
from wit_world.imports.campaign_types import Decision, Folded, Next_Complete, Next_Workflow
from wit_world.imports.types import Detail, Error_Other

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
    return json.dumps({"text": f"{evaluated} points evaluated", "done": evaluated, **metrics})


def decision(state, next, reason):
    return Decision(json.dumps(state), next, [], None, summary(state), reason, None)


def plan(ctx, state):
    params = json.loads(run.params())
    state = json.loads(state) if state is not None else first_state(params)
    if ctx.iteration > params["iterations"]:
        result = {"best": state["best"], "evaluated": state["evaluated"], "unit": "µm"}
        return decision(state, Next_Complete(json.dumps(result)), "the iterations are used up")
    lo, hi = state["lo"], state["hi"]
    tasks = [task(ctx.iteration, lo + (hi - lo) * k // 4, params["target"]) for k in (1, 2, 3)]
    return decision(state, Next_Workflow(json.dumps(tasks)), f"three points between {lo} and {hi}")


def analyze(ctx, state, finished):
    params, state = json.loads(run.params()), json.loads(state)
    for result in json.loads(finished):
        if result["outcome"] != "completed":
            continue
        file = next(f for f in result["outputs"] if f["path"] == "value.json")
        point = json.loads(artifacts.read(file["sha256"], 0, file["size"]))
        state["evaluated"] += 1
        if state["best"] is None or point["value"] < state["best"]["value"]:
            state["best"] = {"x": point["x"], "value": point["value"]}
    quarter = (state["hi"] - state["lo"]) // 4
    if state["best"] is not None:
        state["lo"] = max(state["best"]["x"] - quarter, params["lo"])
        state["hi"] = min(state["best"]["x"] + quarter, params["hi"])
    state["step"] = (state["hi"] - state["lo"]) / 4
    return Folded(json.dumps(state), summary(state), None)


def answered(call, *arguments):
    # an exception that reaches the host is a trap without its text
    try:
        return call(*arguments)
    except Err:
        raise
    except Exception as error:
        raise Err(Error_Other(Detail("exception", f"{type(error).__name__}: {error}", None)))


class CampaignCalls(exports.CampaignCalls):
    def plan(self, ctx, state):
        return answered(plan, ctx, state)

    def analyze(self, ctx, state, finished):
        return answered(analyze, ctx, state, finished)
