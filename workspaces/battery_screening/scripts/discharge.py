"""Discharges one cathode in one electrolyte at a constant current: a small single-particle model.

One sphere stands for all particles of the cathode. Lithium diffuses into it (20 shells, explicit Euler with a fixed
step); the terminal voltage is the open-circuit voltage at its surface minus the ohmic drop across the electrolyte in
the pores. The discharge starts where the open-circuit voltage meets the electrolyte's oxidation limit, and ends at
2.5 V or with a full surface. The model is real but crude, and the candidates' numbers are illustrative.

Exit codes: 0 a result was written, 2 the input is wrong, 3 the scheme diverged (the step is too long for this
particle), 4 the electrolyte is oxidised before the cathode can be charged.
"""

import argparse
import math
import sys

import document

SHELLS = 20
THERMAL_V = 0.0257  # RT/F at 25 degrees C
CUTOFF_V = 2.5
CURRENT_A_M2 = 30.0  # at 1C, for 3 mAh/cm2
THICKNESS_M = 1e-4
POROSITY = 0.3
EMPTY, FULL = 0.01, 0.99
SLACK = 1e-9
DIVERGED, NO_WINDOW = 3, 4


class NoResult(Exception):
    """The model has no answer for this candidate; carries the exit code."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def open_circuit(cathode, filling):
    """Open-circuit voltage against lithium at a filling between 0 and 1."""
    entropy = THERMAL_V * math.log((1 - filling) / filling)
    return cathode["voltage_v"] + cathode["slope_v"] * (0.5 - filling) + entropy


def charged(cathode, oxidation_v):
    """The filling at the end of charge: as little lithium as the electrolyte's oxidation limit allows."""
    if open_circuit(cathode, EMPTY) <= oxidation_v:
        return EMPTY
    low, high = EMPTY, FULL
    if open_circuit(cathode, high) > oxidation_v:
        raise NoResult(NO_WINDOW, f"the electrolyte is oxidised at {oxidation_v:g} V, below all of the cathode's range")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if open_circuit(cathode, middle) > oxidation_v else (low, middle)
    if high > 0.9:
        raise NoResult(NO_WINDOW, f"the electrolyte is oxidised at {oxidation_v:g} V, with {high:.0%} of the lithium in")
    return high


class Sphere:
    """Lithium filling of concentric shells; distances in units of the shell's thickness."""

    def __init__(self, cathode, filling, flux, step_s):
        thickness = cathode["radius_m"] / SHELLS
        self.fourier = cathode["diffusivity_m2_s"] * step_s / thickness**2
        self.influx = flux * step_s  # of the mean filling, in one step
        self.volumes = [((i + 1) ** 3 - i**3) / 3 for i in range(SHELLS)]
        self.filling = [filling] * SHELLS
        self.start = filling

    def advance(self):
        """One step. Without sources inside, filling can only rise outwards; a scheme that breaks this has diverged."""
        c = self.filling
        flows = [0.0] + [self.fourier * i * i * (c[i] - c[i - 1]) for i in range(1, SHELLS)]
        flows.append(self.influx * SHELLS**3 / 3)
        self.filling = [c[i] + (flows[i + 1] - flows[i]) / self.volumes[i] for i in range(SHELLS)]
        rising = all(a <= b + SLACK for a, b in zip(self.filling, self.filling[1:]))
        if not rising or self.filling[0] < self.start - SLACK:
            raise NoResult(DIVERGED, f"diverged: D dt / dr^2 is {self.fourier:.3g}, and the explicit scheme needs less")

    def mean(self):
        """The filling of the whole sphere."""
        return math.fsum(c * v for c, v in zip(self.filling, self.volumes)) * 3 / SHELLS**3

    def surface(self):
        """The filling at the surface, extrapolated from the two outermost shells."""
        return min(max(1.5 * self.filling[-1] - 0.5 * self.filling[-2], EMPTY), 1.0)


def discharge(cathode, electrolyte, c_rate, step_s):
    """Returns delivered capacity, energy, mean voltage and the share of the ideal energy that was delivered."""
    drop = c_rate * CURRENT_A_M2 * THICKNESS_M / (electrolyte["conductivity_s_m"] * POROSITY**1.5)
    start = charged(cathode, electrolyte["oxidation_v"])
    sphere = Sphere(cathode, start, c_rate / 3600, step_s)
    charge, energy, ideal = 0.0, 0.0, 0.0
    per_step = c_rate * step_s / 3600 * cathode["capacity_mah_g"]
    while True:
        surface = sphere.surface()
        if surface >= FULL:
            break
        voltage = open_circuit(cathode, surface) - drop
        if voltage <= CUTOFF_V:
            break
        charge += per_step
        energy += per_step * voltage
        ideal += per_step * open_circuit(cathode, min(sphere.mean(), FULL))
        sphere.advance()
    if charge == 0:
        return {"capacity_mah_g": 0.0, "energy_wh_kg": 0.0, "mean_voltage_v": 0.0, "voltage_efficiency": 0.0}
    return {
        "capacity_mah_g": round(charge, 6),
        "energy_wh_kg": round(energy, 6),
        "mean_voltage_v": round(energy / charge, 6),
        "voltage_efficiency": round(energy / ideal, 6),
    }


def read_candidate(path):
    """Returns id, cathode, electrolyte, C rate and step of an input document."""
    given = document.read(path)
    cathode, electrolyte = document.part(given, "cathode"), document.part(given, "electrolyte")
    ranges = {
        "capacity_mah_g": (1, 1000),
        "voltage_v": (1, 6),
        "slope_v": (0, 3),
        "diffusivity_m2_s": (1e-22, 1e-8),
        "radius_m": (1e-9, 1e-3),
    }
    return (
        document.text(given, "candidate"),
        {key: document.number(cathode, key, *limits) for key, limits in ranges.items()},
        {
            "conductivity_s_m": document.number(electrolyte, "conductivity_s_m", 1e-6, 100),
            "oxidation_v": document.number(electrolyte, "oxidation_v", 1, 7),
        },
        document.number(given, "c_rate", 0.01, 20),
        document.number(given, "time_step_s", 0.01, 60),
    )


def main():
    """Reads the input, discharges, writes the result. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", help="JSON with `candidate`, `cathode`, `electrolyte`, `c_rate` and `time_step_s`")
    parser.add_argument("-o", "--output", required=True, help="where the result goes")
    arguments = parser.parse_args()
    try:
        candidate, cathode, electrolyte, c_rate, step_s = read_candidate(arguments.input)
        result = discharge(cathode, electrolyte, c_rate, step_s)
    except document.BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NoResult as error:
        print(f"{candidate}: {error}", file=sys.stderr)
        return error.code
    document.write(arguments.output, {"candidate": candidate, "c_rate": c_rate, **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
