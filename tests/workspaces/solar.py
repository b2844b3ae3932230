"""How many measurements the program of the workspace needs, when each result comes before the next is asked for.

python3 solar.py WORKSPACE TRIALS SEED…    prints, for each seed, the number of the measurement that was the best of all, or 0.
"""
import csv
import os
import random
import sys

workspace, trials, seeds = sys.argv[1], int(sys.argv[2]), [int(seed) for seed in sys.argv[3:]]
sys.path.insert(0, f"{workspace}/scripts")
os.chdir(f"{workspace}/data")
import ask  # noqa: E402
import measure  # noqa: E402

with open("measured.csv", newline="") as file:
    best = min(measure.measure({name: float(row[name]) for name in ask.MATERIALS})["degradation"] for row in csv.DictReader(file))


def first_of_the_best(seed):
    chance, told = random.Random(seed), []
    for number in range(1, trials + 1):
        (proposed,) = ask.ask({"seed": chance.getrandbits(53), "wanted": 1, "trials": told})["trials"]
        result = measure.measure(proposed["params"])
        told.append({"params": proposed["params"], "state": "completed", "result": result})
        if result["degradation"] == best:
            return number
    return 0


print(*(first_of_the_best(seed) for seed in seeds))
