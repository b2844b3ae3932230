"""Friction coefficient of a Co-Cr-Fe-Mo-Ni coating in dry sliding: a synthetic response surface.

    z  = rule of mixtures + pair interactions - basins + 0.03 * noise(candidate)
    mu = 0.01 + 0.49 / (1 + exp(-z))                                    (0.01 to 0.50)

Imitated trends: hard Mo-rich phases and lubricating Mo oxides lower friction, Cr with Mo hardens, Fe and Ni adhere.
"""

import sys

import alloy

MIXTURE = {"Co": 0.7, "Cr": 0.9, "Fe": 1.9, "Mo": 0.3, "Ni": 1.7}
PAIRS = {("Cr", "Mo"): -0.5, ("Co", "Mo"): -0.6, ("Fe", "Ni"): 0.5, ("Co", "Fe"): 0.3}
# centre (Co, Cr, Fe, Mo, Ni), depth, width
WELLS = (
    ((0.22, 0.14, 0.06, 0.48, 0.10), 2.9, 0.14),
    ((0.46, 0.22, 0.05, 0.20, 0.07), 2.3, 0.13),
    ((0.08, 0.40, 0.08, 0.32, 0.12), 1.6, 0.12),
)
NOISE = 0.03


def simulate(candidate, x):
    """Returns the friction coefficient, to six digits after the point."""
    z = alloy.linear(x, MIXTURE) + alloy.interactions(x, PAIRS) - alloy.basins(x, WELLS)
    return round(0.01 + 0.49 * alloy.logistic(z + NOISE * alloy.noise("friction", candidate)), 6)


if __name__ == "__main__":
    sys.exit(alloy.main(__doc__.splitlines()[0], "friction_coefficient", simulate))
