"""Proposes blends: a Gaussian process of what was measured, and the blend of which most improvement is expected.

Nothing in here knows of matterstack but the names in `told`, which docs/ask-tell.md explains.
"""
import csv
import random
import warnings

MATERIALS = ["pce10", "p3ht", "pcbm", "oidtbr"]
FIRST = 8  # blends at random before there is a model


def blends():
    """Every blend that the laboratory can mix, without what was measured of it."""
    with open("blends.csv", newline="") as file:
        return [tuple(float(row[name]) for name in MATERIALS) for row in csv.DictReader(file)]


def blend_of(params):
    return tuple(params[name] for name in MATERIALS)


def ask(told):
    taken = {blend_of(trial["params"]) for trial in told["trials"]}
    free = [blend for blend in blends() if blend not in taken]
    done = [trial for trial in told["trials"] if trial["state"] == "completed"]
    chance = random.Random(told["seed"])
    if len(done) < FIRST:
        chosen = chance.sample(free, min(told["wanted"], len(free)))
    else:
        chosen = most_promising(done, free, taken, told["wanted"], told["seed"])
    return {"trials": [{"params": dict(zip(MATERIALS, blend))} for blend in chosen]}


def most_promising(done, free, taken, wanted, seed):
    import numpy as np
    from scipy.stats import norm
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    warnings.simplefilter("ignore")
    x = np.array([blend_of(trial["params"]) for trial in done])
    y = np.log([max(trial["result"]["degradation"], 1e-4) for trial in done])
    pending = np.array(sorted(taken - {tuple(point) for point in x.tolist()})).reshape(-1, len(MATERIALS))
    kernel = ConstantKernel() * Matern([0.5] * len(MATERIALS), (0.05, 5.0), nu=2.5) + WhiteKernel(0.05, (1e-3, 1.0))
    model = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=2, random_state=seed % 2**32)
    model.fit(x, y)
    fitted = GaussianProcessRegressor(model.kernel_, normalize_y=True, optimizer=None)
    chosen, candidates = [], np.array(free)
    for _ in range(min(wanted, len(free))):
        # what is under way is taken for what the model expects of it, so that nothing is measured twice for one reason
        others = np.vstack([pending, np.array(chosen).reshape(-1, len(MATERIALS))])
        believed = model.predict(others) if len(others) else np.array([])
        fitted.fit(np.vstack([x, others]), np.concatenate([y, believed]))
        mean, sd = fitted.predict(candidates, return_std=True)
        gain = (min(y) - mean) / np.maximum(sd, 1e-9)
        improvement = sd * (gain * norm.cdf(gain) + norm.pdf(gain))
        for index in np.argsort(-improvement):
            blend = tuple(candidates[index].tolist())
            if blend not in chosen:
                chosen.append(blend)
                break
    return chosen
