"""BayBE: "ask": {"call": "scripts/bayes.py:ask", "python": "venv/bin/python"}; copy it as bayes.py, not as baybe.py."""
import pandas as pd
from baybe import Campaign, objectives, parameters, searchspace, targets


def parameter(name, domain):
    items = next(iter(domain.values())) if isinstance(domain, dict) else domain
    items = range(items[0], items[1] + 1) if isinstance(domain, dict) and "integer" in domain else items
    if not all(type(item) in (int, float) for item in items):
        return parameters.CategoricalParameter(name, values=items)
    is_range = items is domain and len(items) == 2
    return (parameters.NumericalContinuousParameter if is_range else parameters.NumericalDiscreteParameter)(name, items)


def value(value):
    return value["mean"] if isinstance(value, dict) else sum(value) / len(value) if isinstance(value, list) else value


def ask(told):
    goals = [targets.NumericalTarget(name, minimize=word == "MINIMIZE") for name, word in told["objectives"].items()]
    objective = goals[0].to_objective() if len(goals) == 1 else objectives.ParetoObjective(goals)
    space = searchspace.SearchSpace.from_product([parameter(*item) for item in told["variables"].items()])
    campaign, rows = Campaign(space, objective), {"completed": [], "pending": []}
    for trial in told["trials"]:
        measured = {goal: value(trial["result"][goal]) for goal in told["objectives"] if trial["state"] == "completed"}
        rows.get(trial["state"], []).append({**trial["params"], **measured})
    if rows["completed"]:
        campaign.add_measurements(pd.DataFrame(rows["completed"]))
    pending = pd.DataFrame(rows["pending"]) if rows["completed"] and rows["pending"] else None
    return {"trials": [{"params": row} for row in campaign.recommend(told["wanted"], pending).to_dict("records")]}
