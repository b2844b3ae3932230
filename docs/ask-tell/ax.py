"""Ax: "ask": {"call": "scripts/bayes.py:ask", "python": "venv/bin/python"}; copy it as bayes.py, not as ax.py."""
from ax.api.client import Client
from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig


def parameter(name, domain):
    integer = isinstance(domain, dict) and "integer" in domain
    items = next(iter(domain.values())) if isinstance(domain, dict) else domain
    if integer or (items is domain and len(items) == 2 and all(type(end) in (int, float) for end in items)):
        return RangeParameterConfig(name=name, bounds=tuple(items), parameter_type="int" if integer else "float")
    return ChoiceParameterConfig(name=name, values=items, parameter_type="str" if type(items[0]) is str else "float")


def value(value):
    value = sum(value) / len(value) if isinstance(value, list) else value
    return (value["mean"], value.get("sem", 0.0)) if isinstance(value, dict) else value


def ask(told):
    client, goals, bounds = Client(random_seed=told["seed"] % 2**32), told["objectives"], told["constraints"].items()
    client.configure_experiment(parameters=[parameter(*item) for item in told["variables"].items()])
    client.configure_optimization(
        objective=", ".join(("-" if word == "MINIMIZE" else "") + name for name, word in goals.items()),
        outcome_constraints=[f"{name} {'<=' if word == 'LESS_THAN' else '>='} {bound}" for name, (word, bound) in bounds])
    for trial in (trial for trial in told["trials"] if trial["state"] in ("completed", "pending")):
        index = client.attach_trial(parameters=trial["params"])
        if trial["state"] == "completed":
            measured = {name: value(trial["result"][name]) for name in {*goals, *told["constraints"]}}
            client.complete_trial(trial_index=index, raw_data=measured)
    return {"trials": [{"params": params} for params in client.get_next_trials(max_trials=told["wanted"]).values()]}
