"""Optuna: "ask": {"call": "scripts/study.py:ask", "python": "venv/bin/python"}; copy it as study.py, not as optuna.py."""
import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial


def distribution(domain):
    if isinstance(domain, dict):
        return IntDistribution(*domain["integer"]) if "integer" in domain else CategoricalDistribution(domain["choices"])
    is_range = len(domain) == 2 and all(type(end) in (int, float) for end in domain)
    return FloatDistribution(*domain) if is_range else CategoricalDistribution(domain)


def number(value):
    value = value["mean"] if isinstance(value, dict) else value
    return sum(value) / len(value) if isinstance(value, list) else value


def ask(told):
    space = {name: distribution(domain) for name, domain in told["variables"].items()}
    sampler = optuna.samplers.TPESampler(seed=told["seed"] % 2**32, constant_liar=True)
    study = optuna.create_study(directions=[word.lower() for word in told["objectives"].values()], sampler=sampler)
    states = {"completed": TrialState.COMPLETE, "pending": TrialState.RUNNING}
    for trial in told["trials"]:
        state = states.get(trial["state"], TrialState.FAIL)
        values = [number(trial["result"][name]) for name in told["objectives"]] if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, values=values, params=trial["params"], distributions=space))
    return {"trials": [{"params": study.ask(space).params} for _ in range(told["wanted"])]}
