"""`python3 -m unittest` in this folder, or `pytest`: the functions are plain Python, so plain tests call them."""
import unittest

from campaign import analyze, plan
from matterstack import Context, Result, checked

PARAMS = {"from": 0, "step": 1, "iterations": 2}


def measured(x):
    """A result as the campaign sees it."""
    return Result.of(f"at-{x}", {"y.txt": f"{x} {(x - 3) ** 2 + 1}\n"})


class Campaign(unittest.TestCase):
    def test_it_begins_with_five_points(self):
        # `checked` raises what the host would refuse
        answer = checked(plan(Context(PARAMS), None))
        self.assertEqual([task["id"] for task in answer["tasks"]], ["i1-1", "i1-2", "i1-3", "i1-4", "i1-5"])

    def test_it_goes_on_from_the_lowest_point(self):
        ctx = Context(PARAMS)
        state = analyze(ctx, plan(ctx, None)["state"], [measured(x) for x in (-2, -1, 0, 1, 2)])
        self.assertEqual(state, {"x": 2.0, "y": 2.0, "step": 0.5})

    def test_it_ends_after_its_iterations(self):
        state = {"x": 3, "y": 1, "step": 0.25}
        self.assertEqual(plan(Context(PARAMS, iteration=3), state)["complete"], {"x": 3, "y": 1})


if __name__ == "__main__":
    unittest.main()
