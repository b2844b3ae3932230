"""Answers the tests with what the simulators compute, many points in one process.

A line `{"candidate": …, "composition": …}` is answered by `[friction, dissolution]`; a line `{"random": seed, "count":
n}` by such a pair for each of n compositions drawn uniformly.
"""

import json
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])

import alloy
import sim_dissolution
import sim_friction


def simulate(candidate, x):
    return [sim_friction.simulate(candidate, x), sim_dissolution.simulate(candidate, x)]


def draw(generator):
    parts = [generator.expovariate(1) for _ in alloy.ELEMENTS]
    return [part / sum(parts) for part in parts]


for line in sys.stdin:
    request = json.loads(line)
    if "random" in request:
        generator = random.Random(request["random"])
        answer = [simulate(f"c{n + 1:03}", draw(generator)) for n in range(request["count"])]
    else:
        answer = simulate(request["candidate"], alloy.fractions(request["composition"]))
    print(json.dumps(answer), flush=True)
