"""Makes each call alike: what Python keeps for a whole process was made when the component was built, and is made anew
from what a call is about.
"""
import hashlib
import linecache
import logging
import os
import random
import signal
import sys

from matterstack_component.errors import keep_source, whole_traceback
from matterstack_component.wit import write_log

LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
# Python's own calls, beyond which the sandbox's stack would end first
RECURSION_MAX = 1000


class Lines:
    """A file whose lines go to the log."""

    encoding = "utf-8"
    errors = "replace"
    closed = False
    name = "<log>"
    mode = "w"

    def __init__(self, level):
        self.level, self.open = level, []

    def write(self, text):
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        *lines, rest = text.split("\n")
        for line in lines:
            write_log(self.level, "".join(self.open) + line)
            self.open = []
        if rest:
            self.open.append(rest)
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        if self.open:
            write_log(self.level, "".join(self.open))
            self.open = []

    def isatty(self):
        return False

    def writable(self):
        return True

    def readable(self):
        return False

    def seekable(self):
        return False

    def close(self):
        self.flush()


class ToLog(logging.Handler):
    """Python's own logging, into the log."""

    def emit(self, record):
        level = next((level for least, level in LEVELS if record.levelno >= least), "debug")
        try:
            write_log(level, self.format(record))
        except Exception:
            self.handleError(record)


def prepare():
    """Done once, when the component is built."""
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.addHandler(ToLog())
    root.setLevel(logging.DEBUG)
    sys.setrecursionlimit(RECURSION_MAX)
    set_limit = sys.setrecursionlimit
    # a deeper one would end the sandbox's stack, and nobody would see where
    sys.setrecursionlimit = lambda limit: set_limit(min(limit, RECURSION_MAX))


    for module, name in ((os, "_exit"), (os, "abort"), (os, "kill"), (signal, "raise_signal")):
        if hasattr(module, name):
            setattr(module, name, _no_exit)


    _tell_of_mistakes()


def _tell_of_mistakes():
    """Has Python load what it needs to tell of an exception, which it could not do later."""
    for source in ("{}['a']", "lenn", "1 +"):
        name = "matterstack_component/mistake"
        keep_source(name, source)
        try:
            exec(compile(source, name, "exec"), {})
        except Exception as error:
            whole_traceback(error, lambda file: False)


def _no_exit(*_):
    raise SystemExit


def begin(*about):
    """Begins a call: randomness follows from what it is about."""
    random.seed(int.from_bytes(hashlib.sha256("\0".join(map(str, about)).encode()).digest(), "big"))
    sys.stdout, sys.stderr = Lines("info"), Lines("warn")


def end():
    """Ends a call: what was printed without a line's end is not lost."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


class Author:
    """Whose functions are called: which files are the author's, and what more there is to say of an exception."""

    def is_own(self, file):
        """Whether a file is the author's."""
        return not self.is_engine(file) and not file.startswith(("/python/", "<"))

    def is_engine(self, file):
        """Whether a file is none of the author's business."""
        return any(part in file for part in ("matterstack", "wit_world", "componentize_py"))

    def hint(self, error):
        """What more there is to say of an exception."""
        return None


class Built(Author):
    """The author of a component, whose sources are there when it is built and not later."""

    def __init__(self, *functions):
        for function in functions:
            code = getattr(function, "__code__", None)
            if code is not None:
                keep_source(code.co_filename, "".join(linecache.getlines(code.co_filename)))
        prepare()
