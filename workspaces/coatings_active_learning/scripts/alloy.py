"""What both simulators share: the input document, the surface's building blocks, noise and the result document.

Standard library only. Everything here is synthetic: the surfaces imitate trends, they do not predict them.
"""

import argparse
import hashlib
import json
import math
import os
import statistics
import sys

ELEMENTS = ("Co", "Cr", "Fe", "Mo", "Ni")
SUM_TOLERANCE = 1e-6


class BadInput(Exception):
    """The input document cannot be simulated; the message says why."""


def read_input(path):
    """Returns the candidate's id and its five fractions, in the order of ELEMENTS."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as error:
        raise BadInput(f"`{path}` cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"`{path}` is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadInput(f"`{path}` must hold an object with `candidate` and `composition`")
    for key in ("candidate", "composition"):
        if key not in document:
            raise BadInput(f"`{path}` has no `{key}`")
    candidate = document["candidate"]
    if not isinstance(candidate, str) or not candidate:
        raise BadInput("`candidate` must be a text that is not empty")
    return candidate, fractions(document["composition"])


def fractions(composition):
    """Checks a composition and returns its fractions, in the order of ELEMENTS."""
    if not isinstance(composition, dict):
        raise BadInput("`composition` must be an object from element to fraction")
    missing = [element for element in ELEMENTS if element not in composition]
    if missing:
        raise BadInput(f"`composition` has no {', '.join(f'`{element}`' for element in missing)}")
    unknown = sorted(set(composition) - set(ELEMENTS))
    if unknown:
        raise BadInput(f"`composition` has `{unknown[0]}`, which is none of {', '.join(ELEMENTS)}")
    values = []
    for element in ELEMENTS:
        value = composition[element]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value <= 1:
            raise BadInput(f"`composition.{element}` is {json.dumps(value)}, not a fraction from 0 to 1")
        values.append(float(value))
    total = math.fsum(values)
    if abs(total - 1) > SUM_TOLERANCE:
        raise BadInput(f"the fractions of `composition` sum to {total:.6g}, not to 1")
    return values


def linear(x, weights):
    """The rule of mixtures: the sum of fraction times weight."""
    return math.fsum(fraction * weights[element] for fraction, element in zip(x, ELEMENTS))


def interactions(x, pairs):
    """The sum of weight times the product of two fractions, four times it, so that a half-and-half binary counts once."""
    of = dict(zip(ELEMENTS, x))
    return math.fsum(4 * weight * of[a] * of[b] for (a, b), weight in pairs.items())


def basins(x, wells):
    """The sum of depth times a Gaussian of the distance to each well's centre."""
    total = []
    for centre, depth, width in wells:
        squared = math.fsum((fraction - middle) ** 2 for fraction, middle in zip(x, centre))
        total.append(depth * math.exp(-squared / (2 * width * width)))
    return math.fsum(total)


def logistic(z):
    """Maps any number into 0 to 1."""
    return 1 / (1 + math.exp(-z))


def noise(purpose, candidate):
    """A number from the standard normal distribution that depends on nothing but its two arguments."""
    digest = hashlib.sha256(f"{purpose}:{candidate}".encode()).digest()
    uniform = (int.from_bytes(digest[:6], "big") + 0.5) / 2**48
    return statistics.NormalDist().inv_cdf(uniform)


def main(description, key, simulate):
    """Reads the input, simulates, writes the result aside and renames it into place. Returns the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("input", help="JSON with `candidate` and `composition`")
    parser.add_argument("-o", "--output", required=True, help="where the result goes")
    arguments = parser.parse_args()
    try:
        candidate, x = read_input(arguments.input)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    result = {"candidate": candidate, "composition": dict(zip(ELEMENTS, x)), key: simulate(candidate, x)}
    aside = f"{arguments.output}.part"
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    os.replace(aside, arguments.output)
    return 0
