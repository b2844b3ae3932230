"""Proposes blends with BoTorch: a Gaussian process of what was measured, and most expected improvement."""
import csv
import random

MATERIALS = ["pce10", "p3ht", "pcbm", "oidtbr"]
FIRST = 8  # blends at random before there is a model


def blends():
    with open("blends.csv", newline="") as file:
        return [tuple(float(row[name]) for name in MATERIALS) for row in csv.DictReader(file)]


def ask(told):
    blend = lambda trial: tuple(trial["params"][name] for name in MATERIALS)
    taken = {blend(trial) for trial in told["trials"]}
    free = [one for one in blends() if one not in taken]
    done = [trial for trial in told["trials"] if trial["state"] == "completed"]
    if len(done) < FIRST:
        chosen = random.Random(told["seed"]).sample(free, told["wanted"])
    else:
        pending = [blend(trial) for trial in told["trials"] if trial["state"] == "pending"]
        chosen = most_promising([(blend(trial), trial["result"]["degradation"]) for trial in done], pending, free, told)
    return {"trials": [{"params": dict(zip(MATERIALS, one))} for one in chosen]}


def most_promising(done, pending, free, told):
    import torch
    from botorch.acquisition import qLogNoisyExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.models.transforms import Standardize
    from botorch.optim import optimize_acqf_discrete
    from gpytorch.mlls import ExactMarginalLogLikelihood

    torch.set_default_dtype(torch.double)
    torch.set_num_threads(1)
    torch.manual_seed(told["seed"] % 2**32)
    x = torch.tensor([point for point, _ in done])
    y = -torch.tensor([[max(value, 1e-4)] for _, value in done]).log()
    model = SingleTaskGP(x, y, outcome_transform=Standardize(1))
    fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
    waiting = torch.tensor(pending) if pending else None
    gain = qLogNoisyExpectedImprovement(model, x, X_pending=waiting)
    chosen, _ = optimize_acqf_discrete(gain, q=told["wanted"], choices=torch.tensor(free), max_batch_size=256)
    return [tuple(point) for point in chosen.tolist()]
