"""Turnover frequency of a binary alloy: a synthetic binding energy and a two-step microkinetic model of it.

    A + * <-> A*        barrier 0.90 eV + 0.5 * binding
    A*    ->  B + *     barrier 0.40 eV - 0.5 * binding

The binding energy is the average over the alloy, plus a bowing that grows with the difference of the two elements, plus
a small term for strain. Rates follow from transition state theory at 500 K, the coverage from the steady state. The
volcano is real for this mechanism; the alloy's energies are invented.

Standard library only. Exit codes: 0 a result was written, 2 the input is wrong.
"""

import argparse
import json
import math
import os
import sys

BOLTZMANN_EV = 8.617333e-5
PLANCK_EV = 4.135668e-15
TEMPERATURE_K = 500.0
BOWING_EV, STRAIN_EV = -0.18, -0.06


class BadInput(Exception):
    """The input cannot be computed; the message says why."""


def read(path):
    """Returns the input document: the candidate's id and its two elements, each with `fraction` and `binding_ev`."""
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
    except OSError as error:
        raise BadInput(f"`{path}` cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"`{path}` is not JSON: {error}") from None
    if not isinstance(given, dict) or not isinstance(given.get("candidate"), str):
        raise BadInput(f"`{path}` must hold an object with the text `candidate`")
    elements = given.get("elements")
    if not isinstance(elements, list) or len(elements) != 2 or not all(isinstance(e, dict) for e in elements):
        raise BadInput("`elements` must be a list of two objects")
    parts = [(number(e, "fraction", 0, 1), number(e, "binding_ev", -5, 5)) for e in elements]
    if abs(parts[0][0] + parts[1][0] - 1) > 1e-9:
        raise BadInput(f"the two fractions sum to {parts[0][0] + parts[1][0]:g}, not to 1")
    return given["candidate"], parts


def number(document, key, least, most):
    """Returns the number under a key, which must lie in a range."""
    value = document.get(key)
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not least <= value <= most:
        raise BadInput(f"`{key}` must be a number from {least} to {most}, not {json.dumps(value)}")
    return float(value)


def binding(parts):
    """Binding energy of the intermediate on the alloy, in eV."""
    (x, a), (y, b) = parts
    mixing = 4 * x * y
    return x * a + y * b + mixing * (BOWING_EV * abs(a - b) + STRAIN_EV)


def turnover(binding_ev):
    """Turnover frequency in 1/s, and the share of sites that are covered."""
    adsorb = max(0.90 + 0.5 * binding_ev, binding_ev, 0.0)
    react = max(0.40 - 0.5 * binding_ev, 0.0)
    thermal = BOLTZMANN_EV * TEMPERATURE_K
    rate = lambda barrier: thermal / PLANCK_EV * math.exp(-barrier / thermal)
    forward, backward, onward = rate(adsorb), rate(adsorb - binding_ev), rate(react)
    covered = forward / (forward + backward + onward)
    return onward * covered, covered


def main():
    """Reads, computes, writes aside and renames. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", help="JSON with `candidate` and `elements`")
    parser.add_argument("-o", "--output", required=True, help="where the result goes")
    arguments = parser.parse_args()
    try:
        candidate, parts = read(arguments.input)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    energy = binding(parts)
    frequency, covered = turnover(energy)
    result = {
        "candidate": candidate,
        "binding_ev": round(energy, 6),
        "log10_tof_per_s": round(math.log10(frequency), 6),
        "coverage": round(covered, 6),
    }
    aside = f"{arguments.output}.part"
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    os.replace(aside, arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
