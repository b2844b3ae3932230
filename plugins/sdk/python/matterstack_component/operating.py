"""The answers of an operator's six functions, checked."""
from matterstack import BadAnswer, _a, _is, _known_keys, _listed, detail, document, plain

FOUND = ("yes", "no", "unknown")
STATUS = ("queued", "running", "waiting", "succeeded", "failed", "cancelled", "not-started", "lost", "unavailable")
# what is said of them by a detail
DETAILED = ("failed", "not-started", "lost", "unavailable")


def submitted(answer, call="submit"):
    """`{"handle", "external_id"?}`"""
    said = document(answer, "", call, 'such as `{"handle": {"job": 17}}`')
    _known_keys(said, ("handle", "external_id"), f"the answer of `{call}`")
    return _handed(said, call)


def _handed(said, call):
    if said.get("handle") is None:
        raise BadAnswer(f"the answer of `{call}` has no `handle`, by which later calls know the attempt")
    _text(said, "external_id")
    return said


def found(answer):
    """`{"found": "yes", "handle", "external_id"?}`, `{"found": "no"}` or
    `{"found": "unknown", "note", "poll_after_ms"}`
    """
    said = document(answer, "", "reconcile", 'such as `{"found": "no"}`')
    what = _word(said, "found", FOUND, "reconcile")
    known = {"yes": ("handle", "external_id"), "no": (), "unknown": ("note", "poll_after_ms")}[what]
    _known_keys(said, ("found", *known), f"the answer `{what}` of `reconcile`")
    if what == "yes":
        _handed(said, "reconcile")
    if what == "unknown":
        if said.get("poll_after_ms") is None:
            raise BadAnswer("the answer `unknown` of `reconcile` has no `poll_after_ms`, after which it is asked again")
        _count(said, "poll_after_ms")
        said.setdefault("note", {})
    return said


def report(answer):
    """`{"status", "progress"? | "waiting"? | "detail"?, "handle"?, "poll_after_ms"?}`"""
    said = document(answer, "", "check_status", 'such as `{"status": "running"}`')
    status = _word(said, "status", STATUS, "check_status")
    own = "progress" if status == "running" else "waiting" if status == "waiting" else None
    own = "detail" if status in DETAILED else own
    known = [key for key in ("status", own, "handle", "poll_after_ms") if key is not None]
    _known_keys(said, known, f"the answer `{status}` of `check_status`")
    if own == "detail":
        if said.get("detail") is None:
            raise BadAnswer(f"the answer `{status}` of `check_status` has no `detail`: a sentence on why")
        said["detail"] = detail(said["detail"], "detail", status)
    if own == "waiting":
        _waiting(said)
    _count(said, "poll_after_ms")
    return said


def _waiting(said):
    waiting = said.get("waiting")
    if not isinstance(waiting, dict) or not all(isinstance(waiting.get(key), str) for key in ("kind", "detail")):
        raise BadAnswer('the answer `waiting` of `check_status` needs `"waiting": {"kind": …, "detail": …}`, two texts')
    _known_keys(waiting, ("kind", "detail"), "`waiting`")


def collected(answer):
    """`{"output"?, "usage"?}`, or nothing"""
    said = document({} if answer is None else answer, "", "collect_results", 'such as `{"output": {"energy": -1.5}}`')
    _known_keys(said, ("output", "usage"), "the answer of `collect_results`")
    return said


def prepared(answer):
    """Any document, or nothing."""
    return plain(answer, "prepared")


def _word(said, key, words, call):
    if said.get(key) not in words:
        is_what = f"is `{said[key]}`" if isinstance(said.get(key), str) else f"is {_a(said.get(key))}"
        raise BadAnswer(f"`{key}` in the answer of `{call}` {is_what}; it can be {_listed(words)}")
    return said[key]


def _text(said, key):
    if said.get(key) is not None:
        _is(said, key, str, "a text")


def _count(said, key):
    if said.get(key) is not None:
        _is(said, key, int, "a whole number")
        if said[key] < 0:
            raise BadAnswer(f"`{key}` is {said[key]}; it cannot be negative")
