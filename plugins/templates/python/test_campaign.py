"""`python3 -m unittest` in this folder, or `pytest`: the functions are plain Python, so plain tests call them."""
import unittest
from types import SimpleNamespace

from campaign import analyze, plan

PARAMS = {"from": 0, "step": 1, "iterations": 2}


def context(iteration):
    return SimpleNamespace(params=PARAMS, iteration=iteration)


def measured(x):
    """A result as the campaign sees it."""
    file = SimpleNamespace(text=lambda: f"{x} {(x - 3) ** 2 + 1}\n")
    return SimpleNamespace(outcome="completed", output=lambda path: file)


class Campaign(unittest.TestCase):
    def test_it_begins_with_five_points(self):
        answer = plan(context(1), None)
        self.assertEqual([task["id"] for task in answer["tasks"]], ["i1-1", "i1-2", "i1-3", "i1-4", "i1-5"])

    def test_it_goes_on_from_the_lowest_point(self):
        state = plan(context(1), None)["state"]
        state = analyze(context(1), state, [measured(x) for x in (-2, -1, 0, 1, 2)])
        self.assertEqual(state, {"x": 2.0, "y": 2.0, "step": 0.5})

    def test_it_ends_after_its_iterations(self):
        state = {"x": 3, "y": 1, "step": 0.25}
        self.assertEqual(plan(context(3), state)["complete"], {"x": 3, "y": 1})


if __name__ == "__main__":
    unittest.main()
