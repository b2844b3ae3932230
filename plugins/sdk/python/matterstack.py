"""Campaigns and operators for MatterStack in Python.

A campaign is two functions, `plan(ctx, state)` and `analyze(ctx, state, results)`; an operator is six. What they get
and what they answer are plain documents. The classes here only add names to them: each is a `dict` whose keys can also
be read as attributes, and a plain `dict` may always be returned in its place.

The same file is in the sandbox and needs nothing but Python 3.9, so that a test calls the functions directly:

    from matterstack import Context, Result, checked
    from campaign import analyze, plan

    def test_it_starts_with_three_points():
        answer = checked(plan(Context({"points": 3}), None))
        assert len(answer["tasks"]) == 3
"""
from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
from decimal import Decimal
from typing import (TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple, TypedDict,
                    Union)

if TYPE_CHECKING:
    from matterstack_runs import CommandError, OpenRun, command, init, loop, open, runs, step, table

KINDS = ("invalid", "rejected", "transient", "denied", "ambiguous", "other")
LEVELS = ("debug", "info", "warn", "error")
NEXT = ("tasks", "complete", "wait", "hold", "fail")
DECISION = ("state", "reason", *NEXT, "cancel", "wake_at_ms", "summary", "known")
DETAIL = ("code", "message", "data")
# how deep the documents of an answer may be nested
DEPTH_MAX = 100
PIECE = 16 * 1024 * 1024
# what is there beside the sandbox alone: it starts the command
OF_RUNS = ("CommandError", "OpenRun", "command", "init", "loop", "open", "runs", "step", "table")
_KEEP: Any = object()
_NOTHING: Any = object()


class Error(Exception):
    """An error whose kind says whether a further try can help.

    `kind` is `invalid` (can never be right as it stands), `rejected` (understood and refused), `transient` (passes by
    itself, perhaps after `retry_after_ms`), `denied` (not granted), `ambiguous` (may or may not have taken effect) or
    `other`. `code` is a short word for programs, `message` one sentence for a person.
    """

    # what one is that has not called `__init__` of this class
    kind, code, message, retry_after_ms, data = "other", "error", "there is no message", None, None

    def __init__(self, kind: str, code: str, message: str, retry_after_ms: Optional[int] = None, data: Any = None):
        if kind not in KINDS:
            raise ValueError(f"`{kind}` is no kind of error; there are {_listed(KINDS)}")
        for name, text in (("code", code), ("message", message)):
            if not isinstance(text, str):
                raise TypeError(f"`{name}` of an error is {_a(text)}, and not a text")
        if retry_after_ms is not None and not _is_count(retry_after_ms):
            raise TypeError(f"`retry_after_ms` of an error is {retry_after_ms!r}, and no number of milliseconds")
        super().__init__(message)
        self.kind, self.code, self.message = kind, code, message
        self.retry_after_ms, self.data = retry_after_ms, plain(data, "data")


class BadAnswer(Error):
    """What a function answered cannot be meant so."""

    def __init__(self, message: str):
        super().__init__("other", "bad-answer", message)


class Resources(TypedDict, total=False):
    """What a command needs."""

    cores: int
    memory_mb: int
    gpus: int
    counts: Dict[str, int]
    walltime_s: float
    nodes: int
    tasks: int
    signal_before_s: int


class Retry(TypedDict, total=False):
    """What follows a failed attempt."""

    max_attempts: int
    backoff_s: float
    on: Dict[str, Any]
    carry: List[str]


class Summary(TypedDict, total=False):
    """How far a campaign has come."""

    text: str
    done: float
    total: float
    metrics: Dict[str, float]


class Job(TypedDict, total=False):
    """What an operator hands to a compute backend."""

    command: Union[str, List[str]]
    env: Dict[str, Any]
    resources: Resources
    outputs: List[Any]
    launcher: Union[str, List[str]]


class Usage(TypedDict, total=False):
    """What an attempt used."""

    cpu_s: float
    memory_peak_mb: float
    cost: Dict[str, Any]
    material: Dict[str, Any]


class Document(dict):
    """A document whose keys can be read as attributes; one that may be there and is not is None."""

    KEYS: Tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        if name in self.KEYS:
            return None
        raise AttributeError(f"{type(self).__name__} has no `{name}`{_nearest(name, [*self.KEYS, *self])}")


class File(Document):
    """A file that the run has: an output of a task or an input of the campaign."""

    KEYS = ("path", "sha256", "size", "remote")
    path: str
    sha256: str
    size: int
    remote: Optional[Dict[str, str]]

    def bytes(self) -> bytes:
        """Reads the whole file."""
        return _read(self.__dict__.get("run"), self)

    def text(self, encoding: str = "utf-8") -> str:
        """Reads the file as text."""
        return self.bytes().decode(encoding)

    def json(self) -> Any:
        """Reads the file as JSON."""
        return json.loads(self.bytes())


class Result(Document):
    """What became of a task."""

    KEYS = ("task", "outcome", "code", "reason", "allow_failure", "attempt", "attempts", "data", "data_sha256",
            "data_size", "outputs", "supersedes")
    task: str
    outcome: str
    code: Optional[str]
    reason: Optional[str]
    allow_failure: bool
    attempt: Optional[str]
    attempts: int
    data_sha256: Optional[str]
    data_size: Optional[int]
    outputs: List[File]
    supersedes: Optional[str]

    @classmethod
    def of(cls, task: str, outputs: Optional[Mapping[str, Union[str, bytes, Any]]] = None, outcome: str = "completed",
           **more: Any) -> "Result":
        """Makes a result for a test. `outputs` maps paths to what the files hold: text, bytes, or a JSON document."""
        run = _TestRun()
        files = [_kept(run, path, held) for path, held in (outputs or {}).items()]
        for key in more:
            if key not in cls.KEYS:
                raise TypeError(f"a result has no `{key}`{_nearest(key, cls.KEYS)}")
        return _result(run, {"task": task, "outcome": outcome, "allow_failure": False, "attempts": 1, **more,
                             "outputs": files})

    @property
    def completed(self) -> bool:
        """Whether the task completed."""
        return self["outcome"] == "completed"

    @property
    def data(self) -> Any:
        """The output document, as the operator gave it."""
        if "data" not in self and self.data_sha256 is not None:
            self["data"] = json.loads(_read(self.__dict__.get("run"), self.data_sha256, self.data_size))
        return self.get("data")

    def output(self, path: str, default: Any = _NOTHING) -> Any:
        """Returns the output file with this path; if there is none, `default`, or an error where none is given."""
        for file in self["outputs"]:
            if file["path"] == path:
                return file
        if default is not _NOTHING:
            return default
        has = _listed([file["path"] for file in self["outputs"]]) if self["outputs"] else "none"
        raise Error("invalid", "no-output", f"the task `{self['task']}` has no output `{path}`; its outputs: {has}")


class Task(Document):
    """A task; `matterstack config schema tasks` says what each key means."""

    KEYS = ("id", "operator", "command", "files", "env", "depends_on", "outputs", "resources", "priority", "retry",
            "allow_failure", "allow_dependency_failure", "input")

    def __init__(self, id: str, operator: Optional[str] = None, command: Union[str, Sequence[str], None] = None, *,
                 files: Optional[Mapping[str, Mapping[str, Any]]] = None, env: Optional[Mapping[str, Any]] = None,
                 depends_on: Optional[Sequence[str]] = None, outputs: Optional[Sequence[Any]] = None,
                 resources: Optional[Resources] = None, priority: Optional[int] = None,
                 retry: Optional[Retry] = None, allow_failure: Optional[bool] = None,
                 allow_dependency_failure: Optional[bool] = None, input: Any = None):
        given = locals()
        super().__init__((key, given[key]) for key in self.KEYS if given[key] is not None)


def call(function: str, argument: Any, id: str, operator: Optional[str] = None, *, python: str = "python3",
         files: Optional[Mapping[str, Mapping[str, Any]]] = None, outputs: Sequence[Any] = (), **more: Any) -> Task:
    """Makes a task that calls a Python function: with `call("measure.py:measure", {"x": 1}, "at-1")` it runs
    `measure({"x": 1})` of the workspace's file `measure.py`, and what that returns is the output `result.json`.

    `python` is the interpreter there; it needs nothing of ours. The file is alone in the task's directory: what it
    imports is installed, or stands in `files`. `more` is as in `Task`.
    """
    path, _, name = function.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise ValueError(f"`{function}` names no function of a file; it is written as `measure.py:measure`")
    file = path.rpartition("/")[2]
    given = {file: {"path": path}, "_call.py": {"content": CALL},
             "params.json": {"content": json.dumps(plain(argument, "argument"))}}
    for taken in given:
        if taken in (files or {}):
            raise ValueError(f"`files` has `{taken}`, which `call` puts there itself")
    return Task(id, operator, [python, "_call.py", file, name, "params.json", "result.json"],
                files={**given, **(files or {})}, outputs=["result.json", *outputs], **more)


# the program that calls it, as `builtin:ask-tell` has it
CALL = '''\
"""Calls a function of a file: the JSON document INPUT goes in as a dict, what it returns comes out as OUTPUT.

python _call.py FILE FUNCTION INPUT OUTPUT [NAME]: a plain number is returned as the value of NAME.
"""
import importlib.util
import json
import os
import sys

ANSWER_KEYS = ("trials", "abandon", "stop")


def plain(value):
    """Numbers and arrays of other libraries as JSON has them."""
    for method in ("tolist", "item"):
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def load(path):
    sys.path.insert(0, os.getcwd())
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def write(value, output):
    if output == "trials.json" and isinstance(value, dict) and not any(key in value for key in ANSWER_KEYS):
        output = "decision.json"
    text = json.dumps(value, default=plain)
    with open(output + ".part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(output + ".part", output)


def main(path, function, source, output, name=None):
    with open(source, encoding="utf-8") as file:
        document = json.load(file)
    value = getattr(load(path), function)(document)
    if name is not None and not isinstance(value, dict):
        value = {name: value}
    write(value, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
'''


class Answer(Document):
    """The answer of `plan`. `reason` is one sentence on why, for the record; without `state` the state stays."""

    KEYS = DECISION

    def _with(self, key: str, value: Any, state: Any, more: Mapping[str, Any]) -> None:
        for name in more:
            if name not in ("cancel", "wake_at_ms", "summary", "known"):
                raise TypeError(f"an answer has no `{name}`{_nearest(name, DECISION)}")
        self[key] = value
        if state is not _KEEP:
            self["state"] = state
        self.update((name, value) for name, value in more.items() if value is not None)


class Run(Answer):
    """Run these tasks."""

    def __init__(self, tasks: Iterable[Mapping[str, Any]], state: Any = _KEEP, reason: str = "", **more: Any):
        super().__init__(reason=reason)
        self._with("tasks", list(tasks), state, more)


class Complete(Answer):
    """The campaign has reached its end, with this result."""

    def __init__(self, result: Any = None, state: Any = _KEEP, reason: str = "", **more: Any):
        super().__init__(reason=reason)
        self._with("complete", result, state, more)


class Wait(Answer):
    """Plan nothing now."""

    def __init__(self, state: Any = _KEEP, reason: str = "", **more: Any):
        super().__init__(reason=reason)
        self._with("wait", True, state, more)


class Hold(Answer):
    """A person must decide: the run is held until `resume`. `data` may hold a `form` for that person."""

    def __init__(self, message: str, state: Any = _KEEP, reason: str = "", *, code: Optional[str] = None,
                 data: Any = None, **more: Any):
        super().__init__(reason=reason)
        self._with("hold", _said(message, code, data), state, more)


class Fail(Answer):
    """The campaign gives up: the run is failed."""

    def __init__(self, message: str, state: Any = _KEEP, reason: str = "", *, code: Optional[str] = None,
                 data: Any = None, **more: Any):
        super().__init__(reason=reason)
        self._with("fail", _said(message, code, data), state, more)


class Folded(Document):
    """The answer of `analyze` with a summary beside the state."""

    def __init__(self, state: Any, summary: Optional[Summary] = None):
        super().__init__(folded={"state": state} if summary is None else {"state": state, "summary": summary})


class Rng:
    """A small random stream that repeats (SplitMix64): the same numbers on every machine and in every SDK."""

    MASK = (1 << 64) - 1

    def __init__(self, seed: int, stream: int):
        self._at = seed & self.MASK
        self._at = self.next_u64() ^ (stream * 0xD134_2543_DE82_EF95 & self.MASK)

    def next_u64(self) -> int:
        """Returns 64 random bits."""
        self._at = (self._at + 0x9E37_79B9_7F4A_7C15) & self.MASK
        z = self._at
        z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9 & self.MASK
        z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB & self.MASK
        return z ^ (z >> 31)

    def uniform(self) -> float:
        """Returns a number from 0 up to but without 1, uniformly."""
        return (self.next_u64() >> 11) / (1 << 53)

    def below(self, n: int) -> int:
        """Returns a whole number from 0 up to but without `n`, uniformly; 0 if `n` is 0."""
        return self.next_u64() * n >> 64

    def normal(self) -> float:
        """Returns a number from the normal distribution with mean 0 and deviation 1."""
        radius = math.sqrt(-2.0 * math.log(1.0 - self.uniform()))
        return radius * math.cos(math.tau * self.uniform())

    def shuffle(self, items: List[Any]) -> None:
        """Puts the items in random order."""
        for last in range(len(items) - 1, 0, -1):
            other = self.below(last + 1)
            items[last], items[other] = items[other], items[last]


class Context:
    """What a decision may depend on, beside the state.

    In a test it is made from what matters there: `Context({"points": 3}, iteration=2, files={"start.csv": "1,2"})`.
    `files` are inputs by name (text, bytes, or a JSON document), `open_tasks` a number or the ids.
    """

    #: The number of this decision in the run, from 1.
    decision: int
    #: For `plan` the iteration that would be planned, from 1; for `analyze` the newest one planned.
    iteration: int
    #: Milliseconds since 1970, recorded once per decision; `datetime.now()` says the same.
    now_ms: int
    #: `campaign.seed` of the configuration.
    seed: int
    #: Why `plan` is asked: `first`, `results`, `time`, `changed`, `reopened`, `resumed`, `waited`.
    asked: List[str]
    #: How many tasks are planned and have not ended.
    open_tasks: int

    def __init__(self, params: Any = None, *, files: Optional[Mapping[str, Any]] = None, supplied: Any = None,
                 decision: int = 1, iteration: int = 1, now_ms: int = 0, seed: int = 0,
                 asked: Sequence[str] = ("first",), open_tasks: Union[int, Sequence[str]] = 0, run_id: str = "test",
                 _run: Any = None):
        self.decision, self.iteration, self.now_ms, self.seed = decision, iteration, now_ms, seed
        self.asked = list(asked)
        ids = [] if isinstance(open_tasks, int) else sorted(open_tasks, key=str.encode)
        self.open_tasks = open_tasks if isinstance(open_tasks, int) else len(ids)
        params = {} if params is None else params
        self._run = _TestRun(params, files or {}, supplied, run_id, ids) if _run is None else _run
        self._asked_of_run: Dict[str, Any] = {}
        self._drawn = 0

    def _ask(self, what: str, ask: Any) -> Any:
        if what not in self._asked_of_run:
            self._asked_of_run[what] = ask()
        return self._asked_of_run[what]

    @property
    def params(self) -> Any:
        """`campaign.params` of the configuration."""
        return self._ask("params", self._run.params)

    @property
    def inputs(self) -> Dict[str, File]:
        """The campaign's pinned inputs by name."""
        return self._ask("inputs", lambda: {name: _file(self._run, {"path": name, **file})
                                            for name, file in self._run.inputs().items()})

    @property
    def supplied(self) -> Any:
        """What a person supplied with `resume --set` after a hold; None if nothing."""
        return self._ask("supplied", self._run.supplied)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._ask("run_id", self._run.id)

    def open_tasks_after(self, after: Optional[str] = None, max: int = 10_000) -> List[str]:
        """Ids of tasks that have not ended, sorted, of those behind `after`: at most `max`, and at most 10000."""
        return self._run.open_tasks(after, max)

    def random(self) -> float:
        """Returns the next random number from 0 up to but without 1: the first 53 bits of the SHA-256 of the text
        `SEED DECISION COUNTER`, where the counter begins with 0 in each call. Every SDK gives the same numbers.
        """
        text = f"{self.seed} {self.decision} {self._drawn}"
        self._drawn += 1
        return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11) / (1 << 53)

    def rng(self) -> Rng:
        """Starts a fast random stream of this decision from its beginning."""
        return Rng(self.seed, self.decision)

    def read(self, file: Union[str, Mapping[str, Any]]) -> bytes:
        """Reads a file: an output of a result, an input by its name, or any file of the run by its digest."""
        if isinstance(file, str) and not _is_digest(file):
            if file not in self.inputs:
                raise Error("invalid", "no-input", f"`campaign.inputs` has no `{file}`{_nearest(file, self.inputs)}")
            file = self.inputs[file]
        return _read(self._run, file)

    def text(self, file: Union[str, Mapping[str, Any]], encoding: str = "utf-8") -> str:
        """Reads a file as text."""
        return self.read(file).decode(encoding)

    def json(self, file: Union[str, Mapping[str, Any]]) -> Any:
        """Reads a file as JSON."""
        return json.loads(self.read(file))

    def write(self, held: Union[str, bytes]) -> str:
        """Keeps bytes in the run and returns their digest, by which tasks name them as `{"digest": …}`."""
        if not isinstance(held, (str, bytes, bytearray)):
            raise TypeError(f"`write` takes text or bytes, and this is {_a(held)}")
        return self._run.write(held.encode() if isinstance(held, str) else bytes(held))

    def log(self, message: Any, level: str = "info") -> None:
        """Writes one message to the run's log."""
        if level not in LEVELS:
            raise ValueError(f"`{level}` is no level; there are {_listed(LEVELS)}")
        self._run.log(level, str(message))


class _TestRun:
    """A run that gives what a test has said."""

    def __init__(self, params: Any = None, files: Mapping[str, Any] = {}, supplied: Any = None, id: str = "test",
                 open: Sequence[str] = ()):
        self.kept: Dict[str, bytes] = {}
        self._told = (id, params, supplied, list(open))
        self._inputs = {name: {key: value for key, value in _kept(self, name, held).items() if key != "path"}
                        for name, held in files.items()}

    def id(self) -> str:
        return self._told[0]

    def params(self) -> Any:
        return self._told[1]

    def inputs(self) -> Dict[str, Any]:
        return self._inputs

    def supplied(self) -> Any:
        return self._told[2]

    def open_tasks(self, after: Optional[str], max: int) -> List[str]:
        behind = [id for id in self._told[3] if after is None or id.encode() > after.encode()]
        return behind[:min(max, 10_000)]

    def read(self, digest: str, offset: int, max: int) -> bytes:
        if digest not in self.kept:
            raise Error("denied", "unknown-digest", f"`{digest}` is no input, and no digest of a file of the run")
        return self.kept[digest][offset:offset + max]

    def write(self, held: bytes) -> str:
        digest = hashlib.sha256(held).hexdigest()
        self.kept[digest] = held
        return digest

    def log(self, level: str, message: str) -> None:
        print(f"{level}: {message}")


def checked(answer: Any, state: Any = None) -> Dict[str, Any]:
    """Returns the answer of `plan` as the plain document that it is for the host; raises if it cannot be meant so.
    `state` is what stays where the answer has none.
    """
    said = document(answer, "", "plan", 'such as `{"wait": True}`')
    _known_keys(said, DECISION, "the answer of `plan`")
    given = [key for key in NEXT if key in said]
    if len(given) != 1:
        raise BadAnswer(f"`plan` answers {'none' if not given else _listed(given, ' and ')} of {_listed(NEXT)}: "
                        "it has to be exactly one")
    if "tasks" in said:
        _is(said, "tasks", list, "a list of tasks")
        for position, task in enumerate(said["tasks"]):
            if not isinstance(task, dict):
                raise BadAnswer(f"`tasks[{position}]` is {_a(task)}, and not a task")
            _known_keys(task, Task.KEYS, f"`tasks[{position}]`")
    if said.get("wait", True) is not True:
        raise BadAnswer(f"`wait` is {_a(said['wait'])}; it can only be True")
    for key in ("hold", "fail"):
        if key in said:
            detail(said[key], key)
    for key, kind, called in (("reason", str, "a text"), ("cancel", list, "a list of task ids"),
                              ("summary", dict, "a document"), ("wake_at_ms", int, "a whole number")):
        if said.get(key) is None:
            said.pop(key, None)
        else:
            _is(said, key, kind, called)
    if said.get("wake_at_ms", 0) < 0:
        raise BadAnswer(f"`wake_at_ms` is {said['wake_at_ms']}; it cannot be negative")
    if not all(isinstance(id, str) for id in said.get("cancel", ())):
        raise BadAnswer("`cancel` holds something that is no text; it is a list of task ids")
    if said.get("known", "skip") not in ("skip", None):
        raise BadAnswer(f"`known` is `{said['known']}`; it can be `skip`")
    said.setdefault("state", state)
    return said


def checked_folded(answer: Any) -> Dict[str, Any]:
    """Returns the answer of `analyze` as `{"state": …, "summary": …}`; raises if it cannot be meant so."""
    said = plain(answer, "state")
    if not (isinstance(said, dict) and list(said) == ["folded"]):
        return {"state": said}
    _is(said, "folded", dict, "a document with `state`")
    folded = said["folded"]
    _known_keys(folded, ("state", "summary"), "`folded`")
    if "state" not in folded:
        raise BadAnswer("`folded` has no `state`")
    if folded.get("summary") is not None:
        _is(folded, "summary", dict, "a document")
    return folded


def detail(said: Any, where: str, code: str = "script") -> Dict[str, Any]:
    """Returns a sentence, or `{"code", "message", "data"}`, as the latter."""
    if isinstance(said, str):
        return {"code": code, "message": said}
    if not isinstance(said, dict):
        raise BadAnswer(f"`{where}` is {_a(said)}; it is a sentence, or a document with `message`, `code` and `data`")
    _known_keys(said, DETAIL, f"`{where}`")
    if not isinstance(said.get("message"), str):
        raise BadAnswer(f"`{where}` has no text under `message`")
    if not isinstance(said.get("code", ""), str):
        raise BadAnswer(f"`{where}.code` is {_a(said['code'])}, and not a text")
    return {"code": code, **said}


def document(value: Any, path: str, call: str, example: str) -> Dict[str, Any]:
    """Returns what a call answered as a plain `dict`; raises if it is none."""
    if value is None:
        raise BadAnswer(f"`{call}` returned nothing; it has to return a document, {example}")
    if not isinstance(value, Mapping) and not dataclasses.is_dataclass(value):
        how = "; it has `yield` where `return` is meant" if type(value).__name__ == "generator" else ""
        how = "; it must be no `async def`" if type(value).__name__ == "coroutine" else how
        raise BadAnswer(f"`{call}` returned {_a(value)}{how}; it has to return a document, {example}")
    return plain(value, path)


def plain(value: Any, path: str = "", depth: int = 0) -> Any:
    """Returns a value as JSON can hold it: dicts, lists, texts, numbers, True, False and None. Raises with the path of
    what is nothing of that.
    """
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _whole_text(value, path)
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if -(1 << 53) < value < 1 << 53 else _large(value, path)
    if kind is float:
        if math.isfinite(value):
            return value
        number = "NaN" if math.isnan(value) else "infinite"
        raise BadAnswer(f"{_at(path)} is {number}, which JSON has no number for")
    if depth > DEPTH_MAX:
        raise BadAnswer(f"{_at(path[:60])}… contains itself, or is nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, Mapping):
        return _plain_items(value.items(), path, depth)
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{path}[{place}]", depth + 1) for place, item in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return _plain_items(items, path, depth)
    for base in (str, int, float):
        if isinstance(value, base):
            return plain(base(value), path, depth)
    raise BadAnswer(f"{_at(path)} is {_a(value)}, which is no JSON{_instead(value)}")


def _plain_items(items: Iterable[Tuple[Any, Any]], path: str, depth: int) -> Dict[str, Any]:
    made = {}
    for key, value in items:
        if not isinstance(key, str):
            raise BadAnswer(f"{_at(path)} has the key {key!r}, which is {_a(key)}: in JSON every key is a text, so use "
                            "`str(key)`")
        key = plain(key, path)
        made[key] = plain(value, f"{path}.{key}" if path else key, depth + 1)
    return made


def _whole_text(value: str, path: str) -> str:
    """A text of whole characters: half of one, which `json.loads` lets pass, is no UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(value[error.start]):04x}"
        raise BadAnswer(f"{_at(path)} holds half a character (`{half}`, a lone surrogate), which no text in UTF-8 "
                        "can") from None
    return value


def _large(value: int, path: str) -> Any:
    """A whole number beyond 2^53, if a double has the same digits."""
    try:
        near = float(value)
        if int(Decimal(repr(near))) == value:
            return near
    except OverflowError:
        pass
    raise BadAnswer(f"{_at(path)} is {_digits(value)}, a whole number beyond 2^53 that JSON numbers cannot hold "
                    "exactly; keep it as a text")


def _digits(value: int) -> str:
    return str(value) if value.bit_length() < 200 else f"of {value.bit_length()} bits"


def _instead(value: Any) -> str:
    kind, module = type(value).__name__, type(value).__module__
    ways = {"set": "`sorted(…)` makes a list of it", "frozenset": "`sorted(…)` makes a list of it",
            "bytes": "`ctx.write(…)` keeps bytes and returns a digest",
            "bytearray": "`ctx.write(…)` keeps bytes and returns a digest",
            "generator": "`list(…)` makes a list of it", "range": "`list(…)` makes a list of it",
            "map": "`list(…)` makes a list of it", "zip": "`list(…)` makes a list of it",
            "deque": "`list(…)` makes a list of it", "Decimal": "`float(…)` or `str(…)` makes JSON of it",
            "Fraction": "`float(…)` or `str(…)` makes JSON of it", "datetime": "`.isoformat()` makes a text of it",
            "date": "`.isoformat()` makes a text of it", "UUID": "`str(…)` makes a text of it",
            "complex": "`[z.real, z.imag]` makes JSON of it"}
    way = ways.get(kind, "`.tolist()` makes JSON of it" if module.startswith("numpy") else "")
    return f"; {way}" if way else ""


def _is(said: Mapping[str, Any], key: str, kind: type, called: str) -> None:
    if not isinstance(said[key], kind) or isinstance(said[key], bool):
        raise BadAnswer(f"`{key}` is {_a(said[key])}, and not {called}")


def _known_keys(said: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in said:
        if key not in known:
            raise BadAnswer(f"{where} has an unknown key `{key}`{_nearest(key, known) or '; known: ' + _listed(known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; is `{near[0]}` meant?" if near else ""


def _listed(names: Iterable[str], last: str = ", ") -> str:
    names = [f"`{name}`" for name in names]
    return ", ".join(names[:-1]) + last + names[-1] if len(names) > 1 else "".join(names)


def _at(path: str) -> str:
    return f"`{path}`" if path else "the answer"


def _a(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    called = {str: "a text", int: "a whole number", float: "a number", list: "a list", tuple: "a tuple",
              dict: "a document", bytes: "bytes"}
    name = type(value).__name__
    return called.get(type(value)) or (f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)


def _said(message: str, code: Optional[str], data: Any) -> Any:
    more = {"code": code, "data": data}
    more = {key: value for key, value in more.items() if value is not None}
    return {"message": message, **more} if more else message


def _file(run: Any, given: Mapping[str, Any]) -> File:
    file = File(given)
    file.__dict__["run"] = run
    return file


def _result(run: Any, given: Mapping[str, Any]) -> Result:
    result = Result(given)
    result["outputs"] = [_file(run, file) for file in given.get("outputs", ())]
    result.__dict__["run"] = run
    return result


def _kept(run: Any, path: str, held: Any) -> File:
    if isinstance(held, (str, bytes)):
        held = held.encode() if isinstance(held, str) else held
    else:
        held = json.dumps(plain(held, path)).encode()
    return _file(run, {"path": path, "sha256": run.write(held), "size": len(held)})


def _read(run: Any, file: Union[str, Mapping[str, Any]], size: Optional[int] = None) -> bytes:
    """The bytes of a file, in as many pieces as it takes."""
    if isinstance(file, Mapping):
        if file.get("remote") is not None:
            place = file["remote"]
            raise Error("invalid", "remote", f"`{file.get('path')}` stayed on `{place.get('backend')}` as "
                        f"`{place.get('path')}`, and cannot be read here")
        # a file knows where it is read from, which in a test is not where the context reads
        run = getattr(file, "__dict__", {}).get("run", run)
        size, file = file.get("size"), file.get("sha256")
    if not isinstance(file, str) or run is None:
        raise TypeError(f"a file is an output, the name of an input, or a digest, and this is {_a(file)}")
    parts: List[bytes] = []
    at = 0
    while size is None or at < size:
        part = run.read(file, at, PIECE)
        parts.append(part)
        at += len(part)
        if len(part) < PIECE:
            break
    return b"".join(parts)


class Attempt:
    """One try at a task, as an operator gets it. In a test it is made from what matters there, and `compute` and
    `lifecycle` are whatever objects the test gives.
    """

    #: The run's id.
    run_id: str
    #: The attempt's id, and the name of everything made outside for it.
    attempt_id: str
    #: The number of this attempt at its task, from 1.
    number: int
    #: The task.
    task: Task
    #: The key under which the outside must know this attempt.
    submit_key: str
    #: What `prepare` returned.
    prepared: Any
    #: The handle that `submit` or a later call returned, if it has returned.
    handle: Any
    #: What the last undecided `reconcile` noted.
    note: Any
    #: `operators.<key>.config` of the configuration.
    config: Any
    #: The named compute systems of the host: `backends()`, `submit(backend, job)`, `find(backend)`,
    #: `status(backend, handle)`, `collect(backend, handle)`, `cancel(backend, handle)`. Their answers may be returned.
    compute: Any
    #: The call's own life: `time_left_ms()` and `cancelled()`.
    lifecycle: Any

    def __init__(self, task: Optional[Mapping[str, Any]] = None, *, config: Any = None, handle: Any = None,
                 prepared: Any = None, note: Any = None, number: int = 1, run_id: str = "test",
                 attempt_id: str = "0" * 32, submit_key: str = "key", compute: Any = None, lifecycle: Any = None,
                 _run: Any = None):
        self.task = Task(**{"id": "task", **(task or {})})
        self.config, self.handle, self.prepared, self.note = {} if config is None else config, handle, prepared, note
        self.number, self.run_id, self.attempt_id, self.submit_key = number, run_id, attempt_id, submit_key
        self.compute, self.lifecycle = compute, lifecycle
        self._run = _TestRun() if _run is None else _run

    def log(self, message: Any, level: str = "info") -> None:
        """Writes one message to the run's log."""
        if level not in LEVELS:
            raise ValueError(f"`{level}` is no level; there are {_listed(LEVELS)}")
        self._run.log(level, str(message))


def __getattr__(name: str) -> Any:
    """Looks up what makes, moves and reads runs: it comes with the command, and no sandbox has it."""
    if name not in OF_RUNS:
        raise AttributeError(f"module 'matterstack' has no attribute '{name}'")
    try:
        import matterstack_runs
    except ModuleNotFoundError as error:
        if error.name != "matterstack_runs":
            raise
        raise AttributeError(f"`matterstack.{name}` is for programs and notebooks outside of a run; it comes with "
                             "`pip install matterstack`") from None
    return getattr(matterstack_runs, name)


def __dir__() -> List[str]:
    return sorted([*globals(), *OF_RUNS])
