"""What scripts import, under an ordinary Python."""
import ast
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import matterstack
from matterstack_component import operating
from matterstack import (
    Attempt, BadAnswer, Complete, Context, Error, Fail, Folded, Hold, Result, Rng, Run, Task, Wait, checked,
    checked_folded, plain,
)

SDK = pathlib.Path(matterstack.__file__).parent


def refused(test, make, *parts):
    with test.assertRaises(BadAnswer) as caught:
        make()
    for part in parts:
        test.assertIn(part, caught.exception.message)


class Answers(unittest.TestCase):
    def test_each_is_a_plain_document(self):
        task = Task("a", "local", ["true"], outputs=["x.txt"], priority=0)
        self.assertEqual(task, {"id": "a", "operator": "local", "command": ["true"], "outputs": ["x.txt"],
                                "priority": 0})
        self.assertEqual(Run([task], {"n": 1}, "first"), {"reason": "first", "tasks": [task], "state": {"n": 1}})
        self.assertEqual(Complete({"x": 1}), {"reason": "", "complete": {"x": 1}})
        self.assertEqual(Wait(wake_at_ms=5), {"reason": "", "wait": True, "wake_at_ms": 5})
        self.assertEqual(Hold("look")["hold"], "look")
        self.assertEqual(Fail("no", code="quota")["fail"], {"message": "no", "code": "quota"})
        self.assertEqual(Folded(1), {"folded": {"state": 1}})
        self.assertEqual(Run([], cancel=["a"], known="skip")["known"], "skip")

    def test_what_is_checked_is_as_the_host_gets_it(self):
        @dataclass
        class State:
            n: int
            seen: tuple

        self.assertEqual(checked(Wait(State(1, (2, 3))))["state"], {"n": 1, "seen": [2, 3]})
        self.assertEqual(checked({"wait": True, "summary": None}, "kept"), {"wait": True, "state": "kept"})
        self.assertEqual(checked({"complete": None, "state": None})["state"], None)
        self.assertEqual(checked_folded({"a": 1}), {"state": {"a": 1}})
        self.assertEqual(checked_folded(Folded({"a": 1}, {"text": "x"})), {"state": {"a": 1}, "summary": {"text": "x"}})
        self.assertEqual(checked_folded({"folded": 1, "more": 2}), {"state": {"folded": 1, "more": 2}})

    def test_half_a_character_and_a_time_before_all_times_are_no_answer(self):
        half = json.loads('"\\ud83d"')
        refused(self, lambda: checked({"complete": {"a": [half]}}), "`complete.a[0]` holds half", "`\\ud83d`")
        refused(self, lambda: checked({"complete": {half: 1}}), "`complete` holds half a character")
        self.assertEqual(checked({"complete": "\U0001f600 é"})["complete"], "\U0001f600 é")
        refused(self, lambda: checked(Wait(wake_at_ms=-1)), "`wake_at_ms` is -1")

    def test_an_error_is_made_of_texts(self):
        for wrong in (("other", 5, "m"), ("other", "c", b"m"), ("transient", "c", "m", -7), ("other", "c", "m", 1.5)):
            with self.assertRaises(TypeError):
                Error(*wrong)
        refused(self, lambda: Error("other", "c", "m", None, {"x": float("nan")}), "`data.x` is NaN")

        class Own(BadAnswer):
            def __init__(self):
                pass

        self.assertEqual((Own().kind, Own().message), ("other", "there is no message"))

    def test_an_unknown_key_is_named_with_the_nearest(self):
        refused(self, lambda: checked({"resaon": "", "wait": True}), "`resaon`", "is `reason` meant?")
        refused(self, lambda: checked({"tasks": [{"id": "a", "depend_on": []}]}), "`tasks[0]`", "is `depends_on`")
        refused(self, lambda: checked({"hold": {"mesage": "x"}}), "`hold`", "is `message` meant?")
        refused(self, lambda: checked({"xyz": "", "wait": True}), "`xyz`", "known: `state`")
        refused(self, lambda: checked_folded({"folded": {"state": 1, "sumary": 1}}), "is `summary` meant?")
        with self.assertRaisesRegex(TypeError, "is `summary` meant"):
            Run([], sumary={})

    def test_what_cannot_be_meant_is_refused(self):
        refused(self, lambda: checked(None), "`plan` returned nothing")
        refused(self, lambda: checked("x"), "`plan` returned a text")
        refused(self, lambda: checked(i for i in ()), "`yield`")
        refused(self, lambda: checked({}), "none of `tasks`")
        refused(self, lambda: checked({"wait": True, "hold": "x"}), "`wait` and `hold`")
        refused(self, lambda: checked({"wait": False}), "`wait` is False")
        refused(self, lambda: checked({"tasks": {}}), "`tasks` is a document, and not a list of tasks")
        refused(self, lambda: checked({"tasks": ["a"]}), "`tasks[0]` is a text")
        refused(self, lambda: checked({"wait": True, "reason": 1}), "`reason` is a whole number")
        refused(self, lambda: checked({"wait": True, "cancel": [1]}), "`cancel`")
        refused(self, lambda: checked({"wait": True, "wake_at_ms": True}), "`wake_at_ms` is True")
        refused(self, lambda: checked({"wait": True, "known": "all"}), "`known` is `all`")
        refused(self, lambda: checked({"fail": 3}), "`fail` is a whole number")
        refused(self, lambda: checked_folded({"folded": {}}), "no `state`")

    def test_what_is_no_json_is_named_by_its_path(self):
        class Model:
            pass

        looped = []
        looped.append(looped)
        for value, *parts in (
            ({"best": [1, float("nan")]}, "`state.best[1]` is NaN"),
            ({"x": float("-inf")}, "`state.x` is infinite"),
            ({"seen": {1}}, "`state.seen` is a set", "sorted"),
            ([{"model": b"x"}], "`state[0].model` is bytes", "ctx.write"),
            (Model(), "`state` is a Model"),
            ({"n": {1: 2}}, "`state.n` has the key 1", "str(key)"),
            (2**53 + 1, "`state` is 9007199254740993", "text"),
            (10**5000, "`state` is of 16610 bits"),
            (datetime(2024, 1, 2), "isoformat"),
            (Decimal(1), "float"),
            (deque([1]), "list"),
            (looped, "contains itself"),
        ):
            refused(self, lambda: checked(Wait(value)), *parts)
        self.assertEqual(plain(150000000000000000), 1.5e17)
        self.assertEqual(plain([2**53 - 1, True, None]), [2**53 - 1, True, None])


class Contexts(unittest.TestCase):
    def test_a_context_is_made_from_what_matters(self):
        files = {"start.csv": "1,2", "model": b"\x00", "table": {"a": 1}}
        ctx = Context({"points": 3}, files=files, open_tasks=["b", "a"])
        self.assertEqual((ctx.params, ctx.iteration, ctx.asked, ctx.open_tasks), ({"points": 3}, 1, ["first"], 2))
        self.assertEqual((ctx.text("start.csv"), ctx.read("model"), ctx.json("table")), ("1,2", b"\x00", {"a": 1}))
        self.assertEqual(ctx.open_tasks_after("a"), ["b"])
        self.assertEqual(ctx.read(ctx.inputs["model"].sha256), b"\x00")
        self.assertEqual(ctx.inputs["start.csv"].text(), "1,2")
        self.assertEqual(ctx.read(ctx.write("new")), b"new")
        with self.assertRaisesRegex(Error, "has no `start.cs`; is `start.csv` meant"):
            ctx.text("start.cs")
        with self.assertRaisesRegex(Error, "no digest"):
            ctx.read("0" * 64)
        with self.assertRaisesRegex(TypeError, "text or bytes"):
            ctx.write(1)
        with self.assertRaisesRegex(ValueError, "no level"):
            ctx.log("x", "loud")

    def test_random_numbers_are_those_of_the_other_sdks(self):
        # the numbers that plugins/sdk/rust/src/rng.rs gives for seed 42 and stream 7
        rng = Rng(42, 7)
        self.assertEqual([rng.next_u64() for _ in range(3)], NUMBERS)
        ctx = Context(seed=42, decision=7)
        self.assertEqual([ctx.random(), ctx.random()], [0.9648978529284752, 0.8709958061309743])
        self.assertEqual(ctx.rng().next_u64(), NUMBERS[0])
        items = list(range(10))
        Rng(1, 1).shuffle(items)
        self.assertEqual(sorted(items), list(range(10)))
        self.assertTrue(all(Rng(1, n).below(3) in range(3) for n in range(100)))
        self.assertEqual(Rng(1, 1).below(0), 0)
        self.assertTrue(-6 < Rng(1, 1).normal() < 6)

    def test_results_are_made_for_a_test(self):
        result = Result.of("a", {"value.json": {"x": 1}, "log": "text"}, data={"e": 2})
        self.assertTrue(result.completed)
        self.assertEqual(result.output("value.json").json(), {"x": 1})
        self.assertEqual(result.outputs[1].text(), "text")
        self.assertEqual(Context().json(result.output("value.json")), {"x": 1})
        self.assertEqual((result.data, result.code, result["task"], result.supersedes), ({"e": 2}, None, "a", None))
        self.assertEqual(result.output("none", None), None)
        with self.assertRaisesRegex(Error, "no output `value`; its outputs: `value.json`, `log`"):
            result.output("value")
        with self.assertRaisesRegex(AttributeError, "is `outcome` meant"):
            result.outcme
        with self.assertRaisesRegex(TypeError, "is `reason` meant"):
            Result.of("a", resaon="x")
        self.assertFalse(Result.of("a", outcome="failed", code="exit-code").completed)
        self.assertEqual(json.loads(json.dumps(result))["task"], "a")

    def test_a_large_document_and_a_remote_file(self):
        given = Result.of("a", {"big": {"x": 1}})
        big = given.outputs[0]
        late = matterstack._result(big.__dict__["run"], {"task": "a", "outcome": "completed", "outputs": [],
                                                          "data_sha256": big.sha256, "data_size": big.size})
        self.assertEqual(late.data, {"x": 1})
        big["remote"] = {"backend": "cluster", "path": "/x"}
        with self.assertRaisesRegex(Error, "stayed on `cluster`"):
            big.bytes()

    def test_an_attempt_is_made_from_what_matters(self):
        attempt = Attempt({"id": "t", "command": ["true"]}, handle={"job": 1})
        self.assertEqual((attempt.task.id, attempt.task.command, attempt.handle["job"]), ("t", ["true"], 1))
        self.assertEqual((attempt.task.input, attempt.config, attempt.number), (None, {}, 1))

    def test_a_kind_of_error_is_one_of_the_contract(self):
        self.assertEqual(Error("transient", "busy", "later", 500).retry_after_ms, 500)
        with self.assertRaisesRegex(ValueError, "no kind"):
            Error("bad", "x", "y")


class Schemas(unittest.TestCase):
    def test_the_types_have_the_keys_of_the_published_schemas(self):
        folder = os.environ.get("MATTERSTACK_SCHEMAS")
        if folder is None:
            self.skipTest("MATTERSTACK_SCHEMAS names no folder")
        read = {path.stem: json.loads(path.read_text()) for path in pathlib.Path(folder).iterdir()}
        named = {"tasks", "results", "decision", "context", "operator", "summary", "job", "usage"}
        self.assertLessEqual(named, set(read))

        def keys(schema, name=None):
            return list((read[schema]["$defs"][name] if name else read[schema])["properties"])

        self.assertEqual(list(Task.KEYS), keys("tasks", "Task"))
        self.assertEqual(sorted(Result.KEYS), sorted(keys("results", "Result")))
        self.assertEqual(list(matterstack.File.KEYS), keys("results", "Output"))
        self.assertEqual(list(matterstack.Resources.__annotations__), keys("tasks", "Resources"))
        self.assertEqual(list(matterstack.Retry.__annotations__), keys("tasks", "Retry"))
        self.assertEqual(list(matterstack.Summary.__annotations__), keys("summary"))
        self.assertEqual(list(matterstack.Job.__annotations__), keys("job"))
        self.assertEqual(list(matterstack.Usage.__annotations__), keys("usage"))
        self.assertEqual(list(matterstack.DECISION), keys("decision"))
        self.assertEqual(list(matterstack.DETAIL), keys("decision", "Detail"))
        ctx = Context({})
        self.assertEqual([key for key in keys("context") if not hasattr(ctx, key)], [])

        def cases(name, key):
            of = read["operator"]["$defs"][name]["oneOf"]
            return sorted(case["properties"][key]["const"] for case in of)

        self.assertEqual(sorted(operating.FOUND), cases("Found", "found"))
        self.assertEqual(sorted(operating.STATUS), cases("StatusReport", "status"))
        self.assertEqual(sorted(operating.DETAILED),
                         sorted(case["properties"]["status"]["const"]
                                for case in read["operator"]["$defs"]["StatusReport"]["oneOf"]
                                if "detail" in case["properties"]))


class Calls(unittest.TestCase):
    def test_a_task_calls_a_function_of_a_pinned_file(self):
        task = matterstack.call("lab/m.py:f", {"x": 1.5}, "a", "hpc", python="python3.11", priority=3,
                                files={"data.csv": {"path": "data.csv"}}, outputs=["*.log"])
        self.assertEqual(checked(Run([task]))["tasks"], [task])
        files = task.pop("files")
        self.assertEqual(task, {"id": "a", "operator": "hpc", "outputs": ["result.json", "*.log"], "priority": 3,
                                "command": ["python3.11", "_call.py", "m.py", "f", "params.json", "result.json"]})
        self.assertEqual(sorted(files), ["_call.py", "data.csv", "m.py", "params.json"])
        self.assertEqual(files["m.py"], {"path": "lab/m.py"})
        self.assertEqual(json.loads(files["params.json"]["content"]), {"x": 1.5})

    def test_what_cannot_be_called_is_named(self):
        for wrong in ("m.py", "m:f", "m.py:f()", "m.py:"):
            with self.assertRaisesRegex(ValueError, "measure.py:measure"):
                matterstack.call(wrong, None, "a")
        with self.assertRaisesRegex(ValueError, "params.json"):
            matterstack.call("m.py:f", None, "a", files={"params.json": {"content": ""}})
        refused(self, lambda: matterstack.call("m.py:f", {"x": {1}}, "a"), "`argument.x`")

    def test_what_calls_it_is_what_a_program_that_decides_is_called_by(self):
        asked = SDK.parents[1] / "campaigns/ask-tell/src/call.py"
        self.assertEqual(matterstack.CALL, asked.read_text())


class Source(unittest.TestCase):
    def test_it_is_python_3_9_and_has_nothing_but_the_standard_library(self):
        tree = ast.parse(pathlib.Path(matterstack.__file__).read_text(), feature_version=(3, 9))
        imported = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                    for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))}
        self.assertEqual(imported - {"__future__", "dataclasses", "decimal", "difflib", "hashlib", "json", "math",
                                     "matterstack_runs"},
                         {"typing"})
        ast.parse(SDK.joinpath("matterstack_runs.py").read_text(), feature_version=(3, 9))

    def test_what_needs_the_command_is_named_and_told_apart(self):
        with tempfile.TemporaryDirectory() as scratch:
            alone = pathlib.Path(scratch, "matterstack.py")
            alone.write_text(SDK.joinpath("matterstack.py").read_text())
            ask = "import sys; sys.path[:] = [sys.argv[1], *sys.path]; import matterstack; matterstack.%s"
            words = [[sys.executable, "-I", "-c", ask % name, scratch] for name in ("open", "opened")]
            said = [subprocess.run(word, capture_output=True, text=True).stderr for word in words]
        self.assertIn("`matterstack.open` is for programs", said[0])
        self.assertIn("module 'matterstack' has no attribute 'opened'", said[1])
        self.assertTrue({*matterstack.OF_RUNS, "Task"} <= set(dir(matterstack)))
        for name in matterstack.OF_RUNS:
            self.assertTrue(getattr(matterstack, name).__doc__, name)

    def test_what_people_use_says_what_it_is(self):
        public = [value for name, value in vars(matterstack).items()
                  if not name.startswith("_") and getattr(value, "__module__", "") == "matterstack"]
        self.assertGreater(len(public), 15)
        for value in public:
            self.assertTrue(value.__doc__, value)


NUMBERS = [4673939892570984385, 2880332825119025868, 303376480709518290]

if __name__ == "__main__":
    unittest.main()
