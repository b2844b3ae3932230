"""`python3 -m unittest` in this folder, or `pytest`: the functions are plain Python, so plain tests call them."""
import unittest

from balance import prepare, submit
from matterstack import Attempt, Error


class Jobs:
    """Stands for the compute systems of the host."""

    def __init__(self):
        self.given = []

    def submit(self, backend, job):
        self.given.append((backend, job))
        return {"handle": 7}


class Balance(unittest.TestCase):
    def test_what_the_balance_does_not_carry_is_refused(self):
        with self.assertRaises(Error) as refused:
            prepare(Attempt({"id": "anvil", "input": {"grams": 90000}}))
        self.assertEqual((refused.exception.kind, refused.exception.code), ("invalid", "grams"))

    def test_a_sample_is_weighed_once(self):
        jobs = Jobs()
        self.assertEqual(submit(Attempt({"id": "salt"}, prepared={"grams": 12.5}, compute=jobs)), {"handle": 7})
        [(backend, job)] = jobs.given
        self.assertEqual((backend, "12.5" in job["command"][1]), ("local", True))


if __name__ == "__main__":
    unittest.main()
