"""An operator's six functions behind the worlds `operator` and `compute-operator`."""
from matterstack import BadAnswer, Attempt, Error, _a, plain
from matterstack_component import operating, sandbox
from matterstack_component.wit import HostRun, asked, detail, guarded, read, text, text_or_none, whole
from wit_world.imports import lifecycle, operator_types as wit

try:
    # there only in the worlds that have it, and to be imported when the component is built
    from wit_world.imports import compute
except ImportError:
    compute = None

CALLS = ("prepare", "submit", "reconcile", "check_status", "collect_results", "cancel")
OPTIONAL = ("prepare", "collect_results", "cancel")
SIMPLE = {"queued": wit.Status_Queued, "succeeded": wit.Status_Succeeded, "cancelled": wit.Status_Cancelled}
DETAILED = {"failed": wit.Status_Failed, "not-started": wit.Status_NotStarted, "lost": wit.Status_Lost,
            "unavailable": wit.Status_Unavailable}


class Lifecycle:
    """The call's own life."""

    def time_left_ms(self):
        """Milliseconds until the host drops this call."""
        return lifecycle.time_left_ms()

    def cancelled(self):
        """Whether a person has asked for the attempt or the run to be cancelled."""
        return lifecycle.cancelled()


class Compute:
    """The compute systems of the host that are granted to this operator."""

    def backends(self):
        """Their names, in the order of the configuration."""
        return asked(_compute().backends)

    def submit(self, backend, job):
        """Hands a job to a backend, under the attempt's submit key: `command`, `env`, `resources`, `launcher`."""
        return _submitted(asked(_compute().submit, _named(backend), text(plain(job, "job"))))

    def find(self, backend):
        """Looks for the attempt's submit key."""
        return _found(asked(_compute().find, _named(backend)))

    def status(self, backend, handle):
        """Tells where the job with this handle stands."""
        return _report(asked(_compute().status, _named(backend), text(plain(handle, "handle"))))

    def collect(self, backend, handle):
        """Brings what the job left into the attempt directory, and returns its exit record."""
        return read(asked(_compute().collect, _named(backend), text(plain(handle, "handle"))))

    def cancel(self, backend, handle):
        """Asks the backend to stop the job."""
        asked(_compute().cancel, _named(backend), text(plain(handle, "handle")))


def _compute():
    if compute is None:
        raise Error("denied", "denied", "this plugin was built for the world `operator`, which has no backends; "
                    "build it for `compute-operator`")
    return compute


def _named(backend):
    if not isinstance(backend, str):
        raise TypeError(f"a backend is named by a text, and this is {_a(backend)}")
    return whole(backend)


def _present(**known):
    return {key: value for key, value in known.items() if value is not None}


def _submitted(said):
    return {"handle": read(said.handle), **_present(external_id=said.external_id)}


def _found(said):
    if isinstance(said, wit.Found_Yes):
        return {"found": "yes", **_submitted(said.value)}
    if isinstance(said, wit.Found_No):
        return {"found": "no"}
    return {"found": "unknown", "note": read(said.value.note), "poll_after_ms": said.value.poll_after_ms}


def _report(said):
    status = said.status
    told = next(({"status": word} for word, case in SIMPLE.items() if isinstance(status, case)), None)
    if told is None and isinstance(status, wit.Status_Running):
        told = {"status": "running", **_present(progress=read(status.value))}
    elif told is None and isinstance(status, wit.Status_Waiting):
        told = {"status": "waiting", "waiting": {"kind": status.value.kind, "detail": status.value.detail}}
    elif told is None:
        word = next(word for word, case in DETAILED.items() if isinstance(status, case))
        why = status.value
        told = {"status": word, "detail": _present(code=why.code, message=why.message, data=read(why.data))}
    return {**told, **_present(handle=read(said.handle), poll_after_ms=said.poll_after_ms)}


def _status(said):
    word = said["status"]
    if word in SIMPLE:
        return SIMPLE[word]()
    if word == "running":
        return wit.Status_Running(text_or_none(said.get("progress")))
    if word == "waiting":
        return wit.Status_Waiting(wit.Waiting(said["waiting"]["kind"], said["waiting"]["detail"], None))
    return DETAILED[word](detail(said["detail"]))


def attempt(given):
    """The attempt as functions get it."""
    return Attempt(read(given.task), config=read(given.config), handle=read(given.handle), note=read(given.note),
                   prepared=read(given.prepared), number=given.number, run_id=given.run_id,
                   attempt_id=given.attempt_id, submit_key=given.submit_key, compute=Compute(),
                   lifecycle=Lifecycle(), _run=HostRun())


def answer(call, function, given):
    """What one of the six answers, as the contract carries it."""
    if function is None and call not in OPTIONAL:
        raise BadAnswer(f"there is no function `{call}(attempt)`, which an operator needs")
    said = None if function is None else function(attempt(given))
    return ANSWERS[call](said)


def _handed(said):
    return wit.Submitted(text(said["handle"]), said.get("external_id"), None)


def _prepared(said):
    return text_or_none(operating.prepared(said))


def _as_found(said):
    said = operating.found(said)
    if said["found"] == "yes":
        return wit.Found_Yes(_handed(said))
    if said["found"] == "no":
        return wit.Found_No()
    return wit.Found_Unknown(wit.Undecided(text(said["note"]), said["poll_after_ms"]))


def _as_report(said):
    said = operating.report(said)
    return wit.StatusReport(_status(said), text_or_none(said.get("handle")), said.get("poll_after_ms"), None)


def _as_collected(said):
    said = operating.collected(said)
    return wit.Collected(text_or_none(said.get("output")), text_or_none(said.get("usage")), None)


ANSWERS = {
    "prepare": _prepared,
    "submit": lambda said: _handed(operating.submitted(said)),
    "reconcile": _as_found,
    "check_status": _as_report,
    "collect_results": _as_collected,
    "cancel": lambda said: None,
}


def answered(author, function, call, given):
    """Makes a call of an operator; `function()` is the author's, or None."""
    sandbox.begin("attempt", given.run_id, given.attempt_id, call)
    try:
        return guarded(author, function, lambda found: answer(call, found, given))
    finally:
        sandbox.end()


def export(submit, reconcile, check_status, prepare=None, collect_results=None, cancel=None):
    """Makes the class that componentize-py looks for: `OperatorCalls = export(submit, reconcile, check_status)`."""
    functions = dict(prepare=prepare, submit=submit, reconcile=reconcile, check_status=check_status,
                     collect_results=collect_results, cancel=cancel)
    author = sandbox.Built(*functions.values())

    def method(call):
        return lambda self, attempt: answered(author, lambda: functions[call], call, attempt)

    return type("OperatorCalls", (), {call: method(call) for call in CALLS})
