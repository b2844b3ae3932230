"""The growth model of the sputtering chamber, and JSON documents in and out.

    thickness = sticking * flux(power) * time * exp(-scattering * pressure * distance)

`sticking` (the share of arriving atoms that stay) and `scattering` (in 1/(Pa m)) are what the laboratory does not know.
The chamber is invented; the form is the usual one for sputtering through a thin gas. Standard library only.
"""

import json
import math
import os

DISTANCE_M = 0.10
FLUX_NM_S_W = 0.004  # at the target, per watt
RECIPE = {"power_w": (10, 500), "pressure_pa": (0.1, 10), "time_s": (1, 100_000)}


class BadInput(Exception):
    """A document cannot be used; the message says which one and why."""


def read(path):
    """Returns the object in a JSON file."""
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as error:
        raise BadInput(f"`{path}` cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"`{path}` is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadInput(f"`{path}` must hold an object")
    return document


def number(document, key, least, most):
    """Returns the number under a key, which must lie in a range."""
    value = document.get(key)
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not good or not least <= value <= most:
        raise BadInput(f"`{key}` must be a number from {least:g} to {most:g}, not {json.dumps(value)}")
    return float(value)


def recipe(document):
    """Returns the three settings of a deposition."""
    return {key: number(document, key, *limits) for key, limits in RECIPE.items()}


def path_pa_m(settings):
    """Pressure times distance: how much gas an atom meets."""
    return settings["pressure_pa"] * DISTANCE_M


def ideal_nm(settings):
    """The thickness if every atom arrived and stayed."""
    return FLUX_NM_S_W * settings["power_w"] * settings["time_s"]


def thickness_nm(settings, sticking, scattering):
    """The thickness that the model gives."""
    return sticking * ideal_nm(settings) * math.exp(-scattering * path_pa_m(settings))


def write(path, document):
    """Writes a JSON file aside and renames it into place, so that nobody sees half of it."""
    aside = f"{path}.part"
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, sort_keys=True)
        file.write("\n")
    os.replace(aside, path)
