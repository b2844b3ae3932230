"""Dissolution rate of a Co-Cr-Fe-Mo-Ni coating in chloride solution, in nm/h: a synthetic response surface.

    z           = rule of mixtures + pair interactions - basins + 0.05 * noise(candidate)
    log10(rate) = -1 + 2 / (1 + exp(-z))                                (0.1 to 10 nm/h)

Imitated trends: Cr passivates, with some Mo better still; much Mo beside Cr forms sigma phase and corrodes; Fe and Co
dissolve.
"""

import sys

import alloy

MIXTURE = {"Co": 1.9, "Cr": 0.1, "Fe": 2.2, "Mo": 1.4, "Ni": 0.6}
PAIRS = {("Cr", "Ni"): -0.6, ("Cr", "Mo"): 0.5, ("Co", "Mo"): 0.6, ("Fe", "Mo"): 0.4}
# centre (Co, Cr, Fe, Mo, Ni), depth, width
WELLS = (
    ((0.08, 0.36, 0.05, 0.13, 0.38), 2.8, 0.13),
    ((0.34, 0.34, 0.04, 0.20, 0.08), 1.9, 0.12),
    ((0.06, 0.16, 0.18, 0.06, 0.54), 1.2, 0.12),
)
NOISE = 0.05


def simulate(candidate, x):
    """Returns the dissolution rate in nm/h, to six digits after the point."""
    z = alloy.linear(x, MIXTURE) + alloy.interactions(x, PAIRS) - alloy.basins(x, WELLS)
    return round(10 ** (-1 + 2 * alloy.logistic(z + NOISE * alloy.noise("dissolution", candidate))), 6)


if __name__ == "__main__":
    sys.exit(alloy.main(__doc__.splitlines()[0], "dissolution_rate_nm_h", simulate))
