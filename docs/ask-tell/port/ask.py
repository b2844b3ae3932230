"""The same loop's decisions, after: asked by matterstack."""
from ax.api.client import Client
from ax.api.configs import RangeParameterConfig


def ask(told):
    client = Client(random_seed=told["seed"] % 2**32)
    client.configure_experiment(parameters=[
        RangeParameterConfig(name="x", bounds=(0, 1), parameter_type="float"),
        RangeParameterConfig(name="y", bounds=(0, 1), parameter_type="float"),
    ])
    client.configure_optimization(objective="-loss")
    for trial in told["trials"]:
        if trial["state"] in ("completed", "pending"):
            index = client.attach_trial(parameters=trial["params"])
            if trial["state"] == "completed":
                client.complete_trial(trial_index=index, raw_data=trial["result"])
    return {"trials": [{"params": params} for params in client.get_next_trials(max_trials=told["wanted"]).values()]}
