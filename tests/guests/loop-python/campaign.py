"""The closed-loop test campaign as a plain script, and the source of a component; `loop-rust` says what it does."""
from matterstack import Complete, Folded, Hold, Run, Task, Wait

SCRIPT = 'echo "{\\"x\\": $1, \\"value\\": $((($1 - $2) * ($1 - $2)))}" > value.json'
FORM = {"properties": {"note": {"type": "string"}, "n": {"type": "number"}}}


def point(ctx, state, k, before, notes):
    lo, hi, params = state["lo"], state["hi"], ctx.params
    x = lo + (hi - lo) * k // 4 + int(ctx.random() * params.get("jitter", 0))
    task = Task(f"i{ctx.iteration}-x{x}", "local", ["sh", "-c", SCRIPT, "sh", str(x), str(params["target"])],
                outputs=["value.json"])
    if ctx.iteration == params.get("fails_in") and k == 2:
        task.update(command=["sh", "-c", "exit 3"], allow_failure=True)
    if notes is not None:
        task["files"] = {"notes.txt": {"digest": notes}}
    if params.get("watch") and before is not None:
        task.update(depends_on=[before], allow_dependency_failure=True)
    return task


def first_state(ctx):
    lo, hi = ctx.params["lo"], ctx.params["hi"]
    start = ctx.json("start") if "start" in ctx.inputs else {}
    # a whole number beyond 2^53, which crosses, is reckoned with, and comes back
    carried = ctx.params.get("carried", 0)
    return {"lo": lo, "hi": hi, "step": (hi - lo) / 4, "best": None, "evaluated": 0, "carried": carried, "dose": 0,
            "label": start.get("label"), "numbers": start.get("numbers"), "signs": start.get("signs"), "notes": None,
            "asked": [], "waiting": [], "failed": [], "cancelled": 0, "corrected": 0}


def summary(state):
    evaluated, best = state["evaluated"], state["best"]
    metrics = {} if best is None else {"metrics": {"best": best["value"]}}
    return {"text": f"{evaluated} points evaluated", "done": evaluated, **metrics}


def plan(ctx, state):
    state = first_state(ctx) if state is None else state
    state["asked"].append("+".join(ctx.asked))
    more = {"summary": summary(state)}
    if state["waiting"]:
        return wait(ctx, state, more)
    if ctx.iteration > ctx.params["iterations"]:
        return end(ctx, state, more)
    notes, label = None, state["label"]
    if label is not None:
        notes = state["notes"] = ctx.write(f"{label}, round {ctx.iteration}\n")
    tasks = []
    for k in (1, 2, 3):
        tasks.append(point(ctx, state, k, tasks[-1].id if tasks else None, notes))
    if ctx.params.get("watch"):
        tasks.append(Task(f"i{ctx.iteration}-watch", "local", ["sleep", "1000"]))
    state["waiting"] = [task.id for task in tasks]
    told = "" if label is None else f"{label}: "
    return Run(tasks, state, f"{told}three points between {state['lo']} and {state['hi']}", **more)


def wait(ctx, state, more):
    if all(task.endswith("-watch") for task in state["waiting"]):
        return Wait(state, "only the watch is left", cancel=ctx.open_tasks_after(), **more)
    if "wake_s" in ctx.params:
        more["wake_at_ms"] = ctx.now_ms + 1000 * ctx.params["wake_s"]
    return Wait(state, f"{len(state['waiting'])} are waited for, {ctx.open_tasks} are open", **more)


def end(ctx, state, more):
    if ctx.params.get("ask") and ctx.supplied is None:
        return Hold("is this the right one? 🧪", state, "a person looks at it", code="look",
                    data={"form": FORM}, **more)
    notes = None if state["notes"] is None else ctx.text(state["notes"])
    result = {key: state[key] for key in ("best", "evaluated", "failed", "cancelled", "corrected", "asked")}
    result.update(unit="µm", notes=notes, supplied=ctx.supplied)
    return Complete(result, state, "the iterations are used up", **more)


def analyze(ctx, state, results):
    waited = bool(state["waiting"])
    for result in results:
        if result.supersedes is not None:
            state["corrected"] += 1
            continue
        state["waiting"] = [task for task in state["waiting"] if task != result.task]
        if result.completed:
            found = result.output("value.json").json()
            state["evaluated"] += 1
            if state["best"] is None or found["value"] < state["best"]["value"]:
                state["best"] = {"x": found["x"], "value": found["value"]}
        elif result.outcome == "cancelled":
            state["cancelled"] += 1
        else:
            state["failed"].append({"task": result.task, "code": result.code})
    if waited and not state["waiting"]:
        narrow(ctx, state)
    return Folded(state, summary(state))


def narrow(ctx, state):
    quarter = (state["hi"] - state["lo"]) // 4
    if state["best"] is not None:
        state["lo"] = max(state["best"]["x"] - quarter, ctx.params["lo"])
        state["hi"] = min(state["best"]["x"] + quarter, ctx.params["hi"])
    state["step"] = (state["hi"] - state["lo"]) / 4
    state["dose"] = state["dose"] * 1.5 + state["carried"]
