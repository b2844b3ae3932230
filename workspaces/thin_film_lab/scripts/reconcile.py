"""Compares a simulated film with the measured one, and fits both parameters to all films measured so far.

The logarithm of the model is linear in ln(sticking) and scattering, so the fit is a weighted linear regression: the
instrument's relative error for the films, and a wide prior around the parameters that the campaign began with. With one
film the prior keeps what the film cannot tell; it fades as films come in.

Standard library only. Exit codes: 0 a result was written, 2 the input is wrong.
"""

import argparse
import math
import sys

import film

FILM_ERROR = 0.01  # relative
PRIOR_LN_STICKING, PRIOR_SCATTERING = 0.5, 2.0  # standard deviations


def fit(films, sticking, scattering):
    """Returns both parameters and their standard errors from pairs of settings and measured thickness."""
    # normal equations for the difference (a, b) from the prior: ln(measured / modelled) = a - b * path
    saa, sab, sbb = 1 / PRIOR_LN_STICKING**2, 0.0, 1 / PRIOR_SCATTERING**2
    ra = rb = 0.0
    for settings, measured in films:
        weight, path = 1 / FILM_ERROR**2, film.path_pa_m(settings)
        residual = math.log(measured / film.thickness_nm(settings, sticking, scattering))
        saa += weight
        sab -= weight * path
        sbb += weight * path * path
        ra += weight * residual
        rb -= weight * path * residual
    determinant = saa * sbb - sab * sab
    fitted = sticking * math.exp((sbb * ra - sab * rb) / determinant)
    return {
        "sticking": round(fitted, 6),
        "sticking_error": round(fitted * math.sqrt(sbb / determinant), 6),
        "scattering_per_pa_m": round(scattering + (saa * rb - sab * ra) / determinant, 6),
        "scattering_error": round(math.sqrt(saa / determinant), 6),
    }


def measured_film(entry):
    """Returns settings and thickness of one film of the history."""
    if not isinstance(entry, dict) or not isinstance(entry.get("recipe"), dict):
        raise film.BadInput("each film of `history` must be an object with a `recipe`")
    return film.recipe(entry["recipe"]), film.number(entry, "thickness_nm", 1e-3, 1e6)


def reconcile(simulation, measurement, history):
    """Returns the comparison and the new parameters."""
    settings = film.recipe(simulation.get("recipe") or {})
    if film.recipe(measurement.get("recipe") or {}) != settings:
        raise film.BadInput("the film was not made with the recipe that was simulated")
    predicted = film.number(simulation, "thickness_nm", 1e-3, 1e6)
    measured = film.number(measurement, "thickness_nm", 1e-3, 1e6)
    before = history.get("films")
    if not isinstance(before, list):
        raise film.BadInput("`films` of the history must be a list")
    films = [measured_film(entry) for entry in before] + [(settings, measured)]
    prior = (
        film.number(history, "sticking", 0.001, 10),
        film.number(history, "scattering_per_pa_m", -10, 100),
    )
    return {
        "predicted_nm": predicted,
        "measured_nm": measured,
        "difference": round((predicted - measured) / measured, 6),
        "films": len(films),
        "parameters": fit(films, *prior),
    }


def main():
    """Reads, fits, writes. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("simulation", help="what simulate.py wrote")
    parser.add_argument("measurement", help="what the robot measured: `recipe` and `thickness_nm`")
    parser.add_argument("history", help="the first parameters, and the `films` before this one")
    parser.add_argument("-o", "--output", required=True, help="where the result goes")
    arguments = parser.parse_args()
    try:
        result = reconcile(*map(film.read, (arguments.simulation, arguments.measurement, arguments.history)))
    except film.BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    film.write(arguments.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
