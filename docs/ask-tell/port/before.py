"""A loop of Ax and submitit: python before.py"""
import time

import submitit
from ax.api.client import Client
from ax.api.configs import RangeParameterConfig
from evaluate import evaluate

TRIALS, PARALLEL = 12, 3

client = Client()
client.configure_experiment(parameters=[
    RangeParameterConfig(name="x", bounds=(0, 1), parameter_type="float"),
    RangeParameterConfig(name="y", bounds=(0, 1), parameter_type="float"),
])
client.configure_optimization(objective="-loss")
executor = submitit.AutoExecutor(folder="jobs", cluster="local")
executor.update_parameters(timeout_min=5, cpus_per_task=1)
jobs, started = {}, 0
while jobs or started < TRIALS:
    for index, job in list(jobs.items()):
        if job.done():
            try:
                client.complete_trial(trial_index=index, raw_data=job.result())
            except submitit.core.utils.FailedJobError:
                client.mark_trial_failed(trial_index=index)
            del jobs[index]
    room = min(PARALLEL - len(jobs), TRIALS - started)
    if room:
        for index, parameters in client.get_next_trials(max_trials=room).items():
            jobs[index] = executor.submit(evaluate, parameters)
            started += 1
    time.sleep(1)
print(client.get_best_parameterization()[:2])
