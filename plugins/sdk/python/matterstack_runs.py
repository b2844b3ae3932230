"""Runs, as programs and notebooks see them. What is here is reached as `matterstack.NAME`:

    import matterstack

    run = matterstack.init("coatings", set={"campaign.seed": 7})
    run.loop()
    run.table(fields=["result.json"])

Each call is one call of the command `matterstack`, which keeps everything in the run's directory: nothing has to stay
alive between two calls, and every other way to look at a run shows the same.
"""
from __future__ import annotations

import hashlib
import html
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from importlib import metadata
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from matterstack import Document, File, Result, _file, _result

Path = Union[str, "os.PathLike[str]"]

#: The kinds of errors, by the exit codes of the command.
KINDS = {1: "found", 2: "input", 3: "busy", 4: "plugin", 70: "bug", 74: "machine", 130: "interrupted"}
# what `step` and `loop` also exit with when they did their work: the run failed, waits, or time is up
MOVED = (0, 1, 5, 6)
# how long a command may take that was interrupted, before it is taken for one that was not
GRACE_S = 3
ENDED = ("completed", "failed", "cancelled", "skipped")
# the parts of a report that a notebook shows, in this order
SHOWN = ("figures", "timeline", "result")


class CommandError(Exception):
    """Something that `matterstack` could not do.

    `kind` is `input` (wrong usage or input), `busy` (another process is at work on the run), `plugin` (one cannot be
    loaded, or broke the contract), `machine` (disk, permission, a damaged database), `interrupted`, `found` (a check
    found something) or `bug`; `code` is the exit code that says the same, `message` what was wrong, `causes` why,
    `hint` what would help, and `log` the last lines that a plugin logged.
    """

    def __init__(self, code: int, message: str, causes: Sequence[str] = (), hint: Optional[str] = None,
                 log: Sequence[str] = (), command: Sequence[str] = ()):
        self.code, self.kind = code, KINDS.get(code, "bug")
        self.message, self.causes, self.hint = message, list(causes), hint
        self.log, self.command = list(log), list(command)
        lines = [": ".join([message, *causes])] + [f"  | {line}" for line in log]
        super().__init__("\n".join(lines + ([f"hint: {hint}"] if hint else [])))


def binary() -> str:
    """Returns the path of the command: the one that was installed with this module, else the one on the `PATH`."""
    try:
        files = metadata.distribution("matterstack").files or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "matterstack" and os.access(file.locate(), os.X_OK):
            return os.path.realpath(file.locate())
    found = shutil.which("matterstack")
    if found is None:
        raise CommandError(2, "there is no `matterstack` on the PATH", hint="`pip install matterstack` brings it")
    return found


def command(*arguments: Path, workspaces: Optional[Path] = None) -> Any:
    """Gives a command and returns what it prints as JSON: `command("explain", "latest")`. What it tells on the way goes
    to standard error; what it cannot do is raised as a `CommandError`.
    """
    return _call(arguments, workspaces)[1]


def open(run: Path = "latest", workspaces: Optional[Path] = None) -> OpenRun:
    """Opens a run by its id, the beginning of one, its directory, or `latest`, the newest."""
    found = command("path", run, workspaces=workspaces)
    return OpenRun(found["run_id"], found["path"])


def runs(workspace: Optional[str] = None, label: Optional[str] = None, workspaces: Optional[Path] = None) -> Any:
    """Returns the runs there are, newest last, as rows: a DataFrame where pandas is installed."""
    return _rows(command("list", *_given([workspace]), *_options(label=label), workspaces=workspaces))


def init(workspace: str, *, set: Optional[Mapping[str, Any]] = None, config: Optional[Path] = None,
         run_id: Optional[str] = None, label: Optional[str] = None, reuse: Optional[str] = None,
         workspaces: Optional[Path] = None) -> OpenRun:
    """Makes a run of a workspace, with its first plan. `set` is what overrides its configuration, by keys such as
    `campaign.params.points`.
    """
    options = _options(set=_values(set), config=config, run_id=run_id, label=label, reuse=reuse)
    made = command("init", workspace, *options, workspaces=workspaces)
    return OpenRun(made["run_id"], os.path.abspath(made["path"]))


def step(run: Path = "latest", workspaces: Optional[Path] = None) -> Document:
    """Advances a run by one tick, as `OpenRun.step` does."""
    return open(run, workspaces).step()


def loop(run: Path = "latest", *, wait: bool = False, timeout: Union[None, float, str] = None,
         workspaces: Optional[Path] = None) -> Document:
    """Ticks a run until it ends, as `OpenRun.loop` does."""
    return open(run, workspaces).loop(wait=wait, timeout=timeout)


def table(*of: Path, label: Optional[str] = None, fields: Sequence[str] = (),
          workspaces: Optional[Path] = None) -> Any:
    """Returns a row for each task of these runs, with its parameters and results: a DataFrame where pandas is
    installed, else a list of dicts. `fields` are JSON outputs whose values become columns: `result.json` gives
    `result.NAME`.
    """
    return _rows(command("table", *of, *_options(label=label, fields=fields), workspaces=workspaces))


class OpenRun:
    """A run. `id` is its id and `path` its directory; what is asked of it is asked of the directory, each time anew."""

    def __init__(self, id: str, path: Path):
        self.id, self.path = id, pathlib.Path(path)

    def __repr__(self) -> str:
        return f"<matterstack run {self.id}>"

    def command(self, verb: str, *arguments: Path) -> Any:
        """Gives a command to this run: `run.command("rerun", "relax-03")`."""
        return command(verb, self.path, *arguments)

    def status(self) -> Document:
        """Returns where the run stands; `matterstack status --help` says what each key means."""
        return Document(self.command("status"))

    def step(self) -> Document:
        """Advances the run by one tick, and returns what it did."""
        return Document(_call(["step", self.path], None, MOVED)[1])

    def loop(self, *, wait: bool = False, timeout: Union[None, float, str] = None) -> Document:
        """Ticks until the run ends, or nothing but a person can move it, and returns its status: whether it `completed`
        or `failed` is its `state`. `wait` waits for people too; `timeout` is in seconds, or a text such as `12h`.
        """
        timeout = f"{timeout}s" if isinstance(timeout, (int, float)) else timeout
        _call(["loop", self.path, *(["--wait"] if wait else []), *_options(timeout=timeout)], None, MOVED)
        return self.status()

    def table(self, fields: Sequence[str] = ()) -> Any:
        """Returns a row for each task, as `matterstack.table` does."""
        return table(self.path, fields=fields)

    def results(self) -> List[Result]:
        """Returns what became of each task that has ended, as `analyze` of a script gets it: `result.completed`, and
        `result.output("y.json").json()`. In `data` stands the operator's document, nested keys joined by dots.
        """
        rows = {row["task"]: row for row in command("table", self.path)}
        ended = [task for task in self.command("tasks") if task["state"] in ENDED]
        return [self._result(task, rows.get(task["id"], {})) for task in ended]

    def _result(self, task: Mapping[str, Any], row: Mapping[str, Any]) -> Result:
        data = {key[len("data."):]: value for key, value in row.items() if key.startswith("data.")}
        data = {key: value for key, value in data.items() if value is not None}
        held = _Held(self, task["id"], {file["sha256"]: file["path"] for file in task["outputs"]})
        given = {"task": task["id"], "outcome": task["state"], "reason": task["reason"], "attempts": task["attempts"],
                 "outputs": task["outputs"]}
        return _result(held, {**given, "data": data} if data else given)

    def report(self, out: Optional[Path] = None, *, fields: Sequence[str] = (), minimize: Sequence[str] = (),
               maximize: Sequence[str] = ()) -> pathlib.Path:
        """Writes the page with figures, into the run's directory unless `out` says where, and returns its path."""
        options = _options(out=out, fields=fields, minimize=minimize, maximize=maximize)
        return pathlib.Path(self.command("report", *options)["path"])

    def show(self, *, fields: Sequence[str] = (), minimize: Sequence[str] = (),
             maximize: Sequence[str] = ()) -> Shown:
        """Shows status and figures in a notebook, figures of these numbers among them."""
        return Shown(self, {"fields": fields, "minimize": minimize, "maximize": maximize})

    def _repr_html_(self) -> str:
        return self.show()._repr_html_()


class Shown:
    """Status and figures of a run, for a notebook."""

    def __init__(self, run: OpenRun, wanted: Mapping[str, Sequence[str]]):
        self.run, self.wanted = run, wanted

    def __repr__(self) -> str:
        return repr(self.run)

    def _repr_html_(self) -> str:
        """The report's head and figures, in a frame of their own, so that neither page touches the other's style."""
        try:
            with tempfile.TemporaryDirectory() as scratch:
                page = self.run.report(pathlib.Path(scratch) / "report.html", **self.wanted)
                text = page.read_text(encoding="utf-8")
        except CommandError as error:
            return f"<pre>{html.escape(str(error))}</pre>"
        return (f'<iframe title="run {html.escape(self.run.id)}" sandbox="" width="100%" height="640" '
                f'style="border: 0" srcdoc="{html.escape(_figures(text))}"></iframe>')


class _Held:
    """The outputs of a task, read where the run keeps them."""

    def __init__(self, run: OpenRun, task: str, paths: Mapping[str, str]):
        self.run, self.task, self.paths = run, task, paths
        self.kept: Dict[str, bytes] = {}

    def read(self, digest: str, offset: int, max: int) -> bytes:
        if digest not in self.kept:
            path = self.paths[digest]
            place = self.run.command("path", "--", self.task, path)["path"]
            held = pathlib.Path(place).read_bytes()
            if hashlib.sha256(held).hexdigest() != digest:
                raise CommandError(74, f"`{path}` of task `{self.task}` is not as the task left it",
                                   hint="`matterstack rerun` makes it again")
            self.kept = {digest: held}
        return self.kept[digest][offset:offset + max]


def _call(arguments: Sequence[Path], workspaces: Optional[Path], fine: Sequence[int] = (0,)) -> Tuple[int, Any]:
    words = [binary(), *map(os.fspath, arguments)]
    # behind `--` stand ids, which may look like options
    end = words.index("--") if "--" in words else len(words)
    words[end:end] = [*_options(workspaces=workspaces), "--json"]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, encoding="utf-8", errors="replace")
    failure: List[str] = []
    teller = threading.Thread(target=_tell, args=(process.stderr, failure), daemon=True)
    teller.start()
    try:
        said = process.stdout.read()
        code = process.wait()
    except KeyboardInterrupt:
        # terminals and notebooks interrupt the command as well, and a second time would not let it end its tick
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
        raise
    finally:
        process.stdout.close()
    teller.join()
    if code not in fine:
        raise _error(code, failure, words)
    return code, json.loads(said) if said.strip() else None


def _tell(lines: Any, failure: List[str]) -> None:
    """Passes on what the command tells, and keeps what it says of its failure."""
    for line in lines:
        if failure or line.startswith("error: "):
            failure.append(line.rstrip("\n"))
        else:
            sys.stderr.write(line)
    lines.close()


def _error(code: int, said: Sequence[str], words: Sequence[str]) -> CommandError:
    """What the lines of a failure say; what leads each is the command's own, and never text of a plugin."""
    parts: Dict[str, List[str]] = {"error: ": [], "caused by: ": [], "hint: ": [], "  | ": []}
    for line in said:
        for start, held in parts.items():
            if line.startswith(start):
                held.append(line[len(start):])
    message = (parts["error: "] or [f"`matterstack {words[1]}` ended with {code}"])[0]
    # a code below 0 is a signal
    code = code if code in KINDS else 130 if code == -signal.SIGINT else 70
    return CommandError(code, message, parts["caused by: "], (parts["hint: "] or [None])[0], parts["  | "], words)


def _options(**given: Any) -> List[str]:
    """`--key value` for each value of each."""
    words: List[str] = []
    for key, value in given.items():
        several = [value] if value is None or isinstance(value, (str, os.PathLike)) else value
        for one in several:
            if one is not None:
                words += [f"--{key.replace('_', '-')}={os.fspath(one)}"]
    return words


def _given(words: Sequence[Optional[str]]) -> List[str]:
    return [word for word in words if word is not None]


def _values(set: Optional[Mapping[str, Any]]) -> List[str]:
    return [f"{key}={json.dumps(value, allow_nan=False)}" for key, value in (set or {}).items()]


def _rows(rows: List[Dict[str, Any]]) -> Any:
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame.from_records(rows)


def _figures(page: str) -> str:
    """A report without the parts that are for reading: they stay in the file."""
    head, *parts = re.split(r'(?=<h2 id=")', page)
    head = re.sub(r"<nav .*?</nav>|<a class=\"skip\".*?</a>", "", head, flags=re.DOTALL)
    shown = [part for id in SHOWN for part in parts if part.startswith(f'<h2 id="{id}"')]
    return head + "".join(shown) + "</main></body></html>"
