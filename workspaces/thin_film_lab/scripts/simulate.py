"""Simulates the growth of a film with the parameters known so far: thickness after each tenth of the time.

Standard library only. Exit codes: 0 a result was written, 2 the input is wrong.
"""

import argparse
import sys

import film


def simulate(settings, sticking, scattering):
    """The final thickness, and the thickness after each tenth of the time."""
    steps = [dict(settings, time_s=settings["time_s"] * tenth / 10) for tenth in range(1, 11)]
    curve = [
        {"time_s": round(step["time_s"], 6), "thickness_nm": round(film.thickness_nm(step, sticking, scattering), 6)}
        for step in steps
    ]
    return {"thickness_nm": curve[-1]["thickness_nm"], "growth": curve}


def main():
    """Reads, simulates, writes. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", help="JSON with the recipe, `sticking` and `scattering_per_pa_m`")
    parser.add_argument("-o", "--output", required=True, help="where the result goes")
    arguments = parser.parse_args()
    try:
        given = film.read(arguments.input)
        settings = film.recipe(given)
        sticking = film.number(given, "sticking", 0.001, 10)
        scattering = film.number(given, "scattering_per_pa_m", -10, 100)
    except film.BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    film.write(arguments.output, {"recipe": settings, **simulate(settings, sticking, scattering)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
