"""The answers of an operator's six functions."""
import unittest

from matterstack import BadAnswer
from matterstack_component import operating


class Answers(unittest.TestCase):
    def refused(self, check, answer, *parts):
        with self.assertRaises(BadAnswer) as caught:
            check(answer)
        for part in parts:
            self.assertIn(part, caught.exception.message)

    def test_a_submit(self):
        self.assertEqual(operating.submitted({"handle": {"job": 1}, "external_id": "1"})["external_id"], "1")
        self.refused(operating.submitted, None, "`submit` returned nothing")
        self.refused(operating.submitted, {}, "no `handle`")
        self.refused(operating.submitted, {"handle": 1, "external_id": 1}, "`external_id` is a whole number")
        self.refused(operating.submitted, {"handel": 1}, "is `handle` meant?")

    def test_a_reconcile(self):
        self.assertEqual(operating.found({"found": "no"}), {"found": "no"})
        self.assertEqual(operating.found({"found": "yes", "handle": 1})["handle"], 1)
        self.assertEqual(operating.found({"found": "unknown", "poll_after_ms": 5})["note"], {})
        self.refused(operating.found, {"found": True}, "`found` in the answer of `reconcile` is True", "`yes`")
        self.refused(operating.found, {"found": "maybe"}, "is `maybe`")
        self.refused(operating.found, {"found": "no", "handle": 1}, "`handle`")
        self.refused(operating.found, {"found": "unknown"}, "no `poll_after_ms`")
        self.refused(operating.found, {"found": "unknown", "poll_after_ms": -1}, "negative")

    def test_a_status(self):
        self.assertEqual(operating.report({"status": "queued"}), {"status": "queued"})
        self.assertEqual(operating.report({"status": "failed", "detail": "bad"})["detail"],
                         {"code": "failed", "message": "bad"})
        self.assertEqual(operating.report({"status": "running", "progress": {"step": 1}})["progress"], {"step": 1})
        waits = {"status": "waiting", "waiting": {"kind": "person", "detail": "go"}}
        self.assertEqual(operating.report(waits)["status"], "waiting")
        self.refused(operating.report, {"status": "done"}, "is `done`", "`succeeded`")
        self.refused(operating.report, {"status": "failed"}, "no `detail`")
        self.refused(operating.report, {"status": "waiting"}, '"kind"')
        self.refused(operating.report, {"status": "queued", "detail": "x"}, "`queued`", "`detail`")
        self.refused(operating.report, {"status": "queued", "poll_after_ms": "1"}, "`poll_after_ms` is a text")

    def test_the_rest(self):
        self.assertEqual(operating.collected(None), {})
        self.assertEqual(operating.collected({"output": 1}), {"output": 1})
        self.refused(operating.collected, {"outputs": 1}, "is `output` meant?")
        self.assertEqual(operating.prepared(None), None)
        self.refused(operating.prepared, {1}, "`prepared` is a set")
