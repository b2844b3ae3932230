"""What both worlds have: documents, errors and the log."""
import json

from componentize_py_types import Err
from matterstack import BadAnswer, Error, _is_count, plain
from matterstack_component import errors
from wit_world.imports import log, types

CASES = {
    "invalid": types.Error_Invalid,
    "rejected": types.Error_Rejected,
    "denied": types.Error_Denied,
    "ambiguous": types.Error_Ambiguous,
    "other": types.Error_Other,
}
LEVELS = {"debug": log.Level.DEBUG, "info": log.Level.INFO, "warn": log.Level.WARN, "error": log.Level.ERROR}


def text(document):
    """A document as the contract carries it."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def text_or_none(document):
    return None if document is None else text(document)


def read(document):
    return None if document is None else json.loads(document)


def whole(words):
    """Any text as the contract carries it: half a character in it is written out."""
    return str(words).encode("utf-8", "backslashreplace").decode()


def detail(said):
    """A detail as the contract carries it; what the author's code has made of an error since is no reason to trap."""
    try:
        data = text_or_none(plain(said.get("data")))
    except BadAnswer:
        data = None
    return types.Detail(whole(said["code"]), whole(said["message"]), data)


def caught(error):
    """What the host refused, as scripts catch it."""
    value = error.value
    if isinstance(value, types.Error_Transient):
        said, after = value.value.detail, value.value.retry_after_ms
        return Error("transient", said.code, said.message, after, read(said.data))
    kind = next((kind for kind, case in CASES.items() if isinstance(value, case)), "other")
    return Error(kind, value.value.code, value.value.message, None, read(value.value.data))


def asked(call, *arguments):
    """Asks the host."""
    try:
        return call(*arguments)
    except Err as error:
        refused = caught(error)
    raise refused


def raised(error):
    """An error of a script, as the contract carries it."""
    said = detail({"code": error.code, "message": error.message, "data": error.data})
    if error.kind == "transient":
        after = error.retry_after_ms if _is_count(error.retry_after_ms) else None
        return Err(types.Error_Transient(types.Delay(said, after)))
    return Err(CASES.get(error.kind, types.Error_Other)(said))


def write_log(level, message):
    log.write(LEVELS[level], whole(message))


class HostRun:
    """What the host gives in both worlds."""

    def log(self, level, message):
        write_log(level, message)


def guarded(author, function, call):
    """Calls the author's function, which `function()` finds; whatever that raises becomes an error of the contract."""
    found = None
    try:
        found = function()
        return call(found)
    except BadAnswer as error:
        place = errors.place_of(error, author.is_own) or errors.place_of_function(found, author.is_own)
        failed = Err(types.Error_Other(detail(errors.answered_badly(error, place))))
    except Error as error:
        if not errors.is_raised_by_author(error, author.is_own):
            place = errors.place_of(error, author.is_own)
            error.message, error.data = errors.placed(error.message, error.data, place)
        failed = raised(error)
    except BaseException as error:
        failed = told(author, error, found)
    raise failed


def told(author, error, function):
    """An exception as the contract carries it; its traceback goes to the log."""
    place = errors.place_of(error, author.is_own) or errors.place_of_function(function, author.is_own)
    said = errors.described(error, place, author.hint(error))
    try:
        write_log("error", errors.whole_traceback(error, author.is_engine))
    except Exception as second:
        write_log("error", f"{said['message']} (its traceback cannot be shown: {type(second).__name__})")
    return Err(types.Error_Other(detail(said)))
