"""Says of an exception what a person needs: what it was, and where in the author's own files."""
import linecache
import traceback

# characters of an exception's text that are passed on
TEXT_MAX = 2000
# frames of a traceback that are shown
FRAMES_MAX = 60


# what is in files that are in no file system, by name
SOURCES = {}


def keep_source(name, source):
    """Lets tracebacks show the lines of a file that is in no file system."""
    SOURCES[name] = source
    linecache.cache.pop(name, None)


def _show_source(name):
    """Has Python find the lines of a file that was kept, and look for no other, which costs much and finds nothing."""
    if linecache.cache.get(name) is None:
        lines = SOURCES.get(name, "").splitlines(True)
        linecache.cache[name] = (0, None, lines, name)


def text_of(error):
    """What an exception says of itself."""
    try:
        text = str(error)
    except Exception as second:
        text = f"(its text cannot be made: {type(second).__name__})"
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + "…"


def place_of(error, is_own):
    """Where in the author's files an exception was raised, as the `data` of a detail; nothing if it was elsewhere."""
    if isinstance(error, SyntaxError) and error.filename and is_own(error.filename):
        return _place(error.filename, error.lineno or 1, "<module>")
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [(code, line) for code, line in frames if is_own(code.co_filename)]
    if not own:
        return None
    code, line = own[-1]
    return _place(code.co_filename, line, code.co_name)


def place_of_function(function, is_own):
    """Where a function begins, if it is the author's."""
    code = getattr(function, "__code__", None)
    if code is None or not is_own(code.co_filename):
        return None
    return _place(code.co_filename, code.co_firstlineno, code.co_name)


def is_raised_by_author(error, is_own):
    """Whether the author's own code has raised it, and not what it called."""
    frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and is_own(frames[-1])


def _place(file, line, function):
    _show_source(file)
    return {"file": file, "line": line, "function": function, "source": linecache.getline(file, line).strip()}


def described(error, place, hint=None):
    """The detail of an exception: a code, a sentence and `data`."""
    name, text = type(error).__name__, text_of(error)
    if isinstance(error, SyntaxError):
        text = error.msg or text
    said = f"{name}: {text}" if text else name
    if hint:
        said += f": {hint}"
    data = {"type": name, "message": text}
    if place is not None:
        said += f" ({shown(place)})"
        data.update(place)
    return {"code": "exception", "message": said, "data": data}


def answered_badly(error, place):
    """The detail of an answer that cannot be meant so."""
    message, data = placed(error.message, error.data, place)
    return {"code": error.code, "message": message, "data": data}


def placed(message, data, place):
    """A sentence and its data with the place in the author's files that it is about, if there is one."""
    if place is None:
        return message, data
    return f"{message} ({shown(place)})", place if data is None else data


def shown(place):
    """A place in one line."""
    function = "" if place["function"] == "<module>" else f" in {place['function']}"
    return f"{place['file']}:{place['line']}{function}" + (f": {place['source']}" if place["source"] else "")


def whole_traceback(error, is_engine):
    """The traceback without the frames of what calls the author's functions."""
    _with_sources(error, set())
    told = traceback.TracebackException.from_exception(error, limit=-FRAMES_MAX)
    _without(told, is_engine, set())
    return "".join(told.format())


def _without(told, is_engine, seen):
    if told is None or id(told) in seen:
        return
    seen.add(id(told))
    kept = [frame for frame in told.stack if not is_engine(frame.filename)]
    told.stack = traceback.StackSummary.from_list(kept)
    for other in (told.__cause__, told.__context__, *(getattr(told, "exceptions", None) or ())):
        _without(other, is_engine, seen)


def _with_sources(error, seen):
    """Shows the sources of all frames."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        _show_source(frame.f_code.co_filename)
    for other in (error.__cause__, error.__context__, *(getattr(error, "exceptions", None) or ())):
        _with_sources(other, seen)
