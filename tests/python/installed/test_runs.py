"""What comes with the wheel, in an environment that has nothing else."""
import fcntl
import html
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import matterstack
from matterstack import CommandError

PLACES = {"operators": {"local": {"plugin": "builtin:compute", "grants": {"compute": ["local"]}}},
          "backends": {"local": {"kind": "local"}}}
SWEEP = {"plugin": "builtin:sweep", "params": {
    "template": {"command": "echo '{\"y\": {x}}' > y.json; test {x} -ne 3", "outputs": ["y.json"],
                 "input": {"x": "{x}"}},
    "grid": {"x": [1, 2, 3]}}}
MEASURE = '''
import math

def measure(point):
    return {"y": point["x"] ** 2, "half": math.sqrt(point["x"])}
'''
CALLS = '''
import matterstack

def plan(ctx, state):
    if state is not None:
        return matterstack.Complete(state)
    tasks = [matterstack.call("lab/measure.py:measure", {"x": x}, f"at-{x}") for x in (4, 9)]
    return matterstack.Run(tasks, {}, "two points")

def analyze(ctx, state, results):
    return {result.task: result.output("result.json").json() for result in results}
'''


class Runs(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(scratch.name)

    def workspace(self, name, campaign, **files):
        place = pathlib.Path("workspaces", name)
        place.mkdir(parents=True)
        (place / "config.json").write_text(json.dumps({"campaign": campaign, **PLACES}))
        for path, text in files.items():
            (place / path.replace("__", "/").replace("_py", ".py")).parent.mkdir(exist_ok=True)
            (place / path.replace("__", "/").replace("_py", ".py")).write_text(text)

    def swept(self):
        self.workspace("sweep", SWEEP)
        run = matterstack.init("sweep", run_id="first", label="trial")
        run.loop()
        return run

    def test_an_id_that_looks_like_an_option_is_an_id(self):
        self.workspace("odd", {"plugin": "builtin:workflow", "params": {"tasks": [
            {"id": "-a b", "operator": "local", "command": "echo 7 > -y", "outputs": ["-y"]}]}})
        run = matterstack.init("odd")
        run.loop()
        self.assertEqual([result.output("-y").json() for result in run.results()], [7])

    def test_a_run_is_made_moved_and_read(self):
        self.workspace("sweep", SWEEP)
        run = matterstack.init("sweep", label="trial", set={"campaign.params.grid": {"x": [1, 2]}})
        self.assertTrue(run.path.is_dir())
        tick = run.step()
        self.assertEqual((tick.run_id, tick.iteration), (run.id, 1))
        status = run.loop(timeout=600)
        self.assertEqual((status.state, status.tasks["completed"]), ("completed", 2))
        self.assertEqual(matterstack.open().id, run.id)
        self.assertEqual(matterstack.open(run.id[:-2], workspaces="workspaces").path, run.path)
        self.assertEqual([row["run_id"] for row in matterstack.runs(label="trial")], [run.id])
        self.assertEqual(matterstack.command("explain", run.path), [])
        self.assertIn("state", dir(status) + list(status))
        with self.assertRaisesRegex(AttributeError, "is `state` meant"):
            status.stat

    def test_a_failed_run_is_a_status_and_no_error(self):
        run = self.swept()
        status = run.loop()
        self.assertEqual((status.state, status.tasks["failed"]), ("failed", 1))
        results = {result.task: result for result in run.results()}
        self.assertEqual([results[f"x={x}"].completed for x in (1, 2, 3)], [True, True, False])
        self.assertTrue(results["x=3"].reason)

    def test_a_table_has_parameters_and_values(self):
        run = self.swept()
        rows = run.table(fields=["y.json"])
        self.assertEqual([(row["params.x"], row["y.y"]) for row in rows][:2], [(1, 1), (2, 2)])
        self.assertEqual(matterstack.table(label="trial", fields=["y.json"]), rows)

    def test_outputs_are_read_as_they_were_left(self):
        run = self.swept()
        first = next(result for result in run.results() if result.task == "x=1")
        self.assertEqual(first.output("y.json").json(), {"y": 1})
        place = pathlib.Path(matterstack.command("path", run.path, "x=1", "y.json")["path"])
        place.chmod(0o644)
        place.write_text('{"y": 7}')
        again = next(result for result in run.results() if result.task == "x=1")
        with self.assertRaises(CommandError) as caught:
            again.output("y.json").bytes()
        self.assertEqual(caught.exception.kind, "machine")

    def test_a_notebook_shows_status_and_figures_and_nothing_acts(self):
        run = self.swept()
        shown = run.show(fields=["y.json"], minimize=["y.y"])._repr_html_()
        self.assertTrue(shown.startswith("<iframe") and 'sandbox=""' in shown)
        page = html.unescape(shown.split('srcdoc="')[1].rsplit('"', 1)[0])
        self.assertIn("<svg", page)
        self.assertIn("y.y", page)
        self.assertIn("Workspace", page)
        for part in ("<nav", '<h2 id="environment"', '<h2 id="tasks"'):
            self.assertNotIn(part, page)
        self.assertTrue(run._repr_html_().startswith("<iframe"))
        gone = matterstack.OpenRun("gone", run.path / "gone")
        self.assertTrue(gone._repr_html_().startswith("<pre>"))

    def test_a_function_is_called(self):
        campaign = {"plugin": "campaign.py", "files": ["lab/measure.py"]}
        self.workspace("calls", campaign, campaign_py=CALLS, lab__measure_py=MEASURE)
        run = matterstack.init("calls")
        status = run.loop()
        self.assertEqual(status.result, {"at-4": {"y": 16, "half": 2}, "at-9": {"y": 81, "half": 3}}, status)
        self.assertEqual([row["params.x"] for row in run.table()], [4, 9])

    def test_errors_have_code_kind_and_hint(self):
        self.workspace("sweep", SWEEP)
        wrong = {"code": 2, "kind": "input"}
        self.fails(lambda: matterstack.init("sweeps"), wrong, "no workspace `sweeps`", "sweep")
        self.fails(lambda: matterstack.init("sweep", set={"campaign.sed": 1}), wrong, "campaign.sed", "seed")
        self.fails(lambda: matterstack.command("statuses"), wrong, "statuses", None)
        self.fails(matterstack.open, wrong, "no run", None)
        pathlib.Path("broken.json").write_text("{")
        error = self.fails(lambda: matterstack.init("sweep", config="broken.json"), wrong, "broken.json", "comments")
        self.assertIn("line 1", error.causes[0])
        self.assertNotIn("line 1", error.message)
        self.assertEqual(error.command[1:3], ["init", "sweep"])

    def test_what_is_no_run_of_ours_is_told_by_its_kind(self):
        script = 'import numpy\n\ndef plan(ctx, state):\n    pass\n\ndef analyze(ctx, state, results):\n    pass\n'
        self.workspace("broken", {"plugin": "campaign.py"}, campaign_py=script)
        error = self.fails(lambda: matterstack.init("broken"), {}, "numpy", None)
        self.assertIn(error.kind, ("input", "plugin"))
        run = self.swept()
        (run.path / "state.sqlite").write_bytes(b"no database" * 1000)
        self.fails(run.status, {"code": 74, "kind": "machine"}, "", "backup")

    def test_a_run_at_work_is_busy(self):
        run = self.swept()
        with (run.path / "lock").open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.fails(run.step, {"code": 3, "kind": "busy"}, "", "")

    def test_what_needs_a_run_is_not_in_the_sandbox(self):
        script = 'import matterstack\n\ndef plan(ctx, state):\n    matterstack.open("latest")\n\n' \
                 'def analyze(ctx, state, results):\n    pass\n'
        self.workspace("reader", {"plugin": "campaign.py"}, campaign_py=script)
        self.fails(lambda: matterstack.init("reader"), {}, "outside of a run; it comes with `pip install", None)

    def test_an_interrupt_ends_the_command_too(self):
        script = "touch begun; until test -e end; do sleep 0.1; done"
        self.workspace("long", {"plugin": "builtin:workflow",
                                "params": {"tasks": [{"id": "a", "command": script, "operator": "local"}]}})
        run = matterstack.init("long", run_id="long")
        self.addCleanup(matterstack.command, "cancel", run.path)
        # interrupted alone, as by `kill`; a terminal interrupts the command as well
        driver = subprocess.Popen([sys.executable, "-c", "import matterstack; matterstack.loop('long')"],
                                  start_new_session=True, stderr=subprocess.PIPE, text=True,
                                  # whoever started the tests in the background lets them ignore interrupts
                                  preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        attempts = run.path / "operators/local"
        while not list(attempts.glob("*/begun")):
            self.assertIsNone(driver.poll(), "the loop has ended")
            time.sleep(0.05)
        # nobody may be at work on it any more when the interrupt has been told
        os.kill(driver.pid, signal.SIGINT)
        told = driver.communicate(timeout=300)[1]
        self.assertIn("KeyboardInterrupt", told)
        self.assertFalse(run.status().driven)
        tasks = run.status().tasks
        self.assertEqual((tasks["queued"] + tasks["running"], tasks["total"]), (1, 1), tasks)

    def fails(self, what, expected, part, hint):
        with self.assertRaises(CommandError) as caught:
            what()
        error = caught.exception
        for key, value in expected.items():
            self.assertEqual(getattr(error, key), value, error)
        self.assertIn(part, str(error))
        if hint is not None:
            self.assertIn(hint, error.hint)
        return error
