"""The modules of a script: files, packages and wheels of the run, each read when it is imported."""
import importlib.machinery
import importlib.metadata
import importlib.util
import io
import pathlib
import posixpath
import re
import sys
import zipfile
from importlib.resources.abc import TraversableResources

from matterstack import Error
from matterstack_component.errors import keep_source

# bytes of a wheel that are read at once
PIECE = 256 * 1024
COMPILED = (".so", ".pyd", ".dylib", ".dll")
# what the runner has itself; authors keep copies of it beside their scripts
OWN = ("matterstack",)


class Pinned(io.RawIOBase):
    """A file of the run that is read where it is looked at."""

    def __init__(self, file, read):
        self.digest, self.size, self.read_at, self.at = file["sha256"], file["size"], read, 0
        self.pieces = {}

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence])
        return self.at

    def tell(self):
        return self.at

    def _piece(self, number):
        if number not in self.pieces:
            held = self.read_at(self.digest, number * PIECE, min(PIECE, self.size - number * PIECE))
            self.pieces[number] = memoryview(held)
        return self.pieces[number]

    def readinto(self, buffer):
        most = min(len(buffer), max(0, self.size - self.at))
        held = self._piece(self.at // PIECE)[self.at % PIECE:][:most] if most else b""
        buffer[:len(held)] = held
        self.at += len(held)
        return len(held)


class Modules:
    """Finds and loads the modules of a script, as `sys.meta_path` wants it."""

    def __init__(self, script, files, read, key):
        self.read, self.key = read, key
        # names of files that tracebacks may name
        self.sources = set()
        self.files, self.folders, self.wheels = {}, set(), []
        # a module can be named from the workspace, and from the folder of the script as in Python itself
        roots = {"", posixpath.dirname(script) + "/"} - {"/"}
        for file in files:
            if file["path"].endswith((".whl", ".zip")):
                self.wheels.append(Wheel(file, read))
                continue
            for root in sorted(roots):
                if file["path"].startswith(root):
                    self._add(file["path"][len(root):], file)

    def _add(self, path, file):
        if not path.endswith(".py"):
            raise Error("invalid", "module", f"`{file['path']}` in `{self.key}` is neither a `.py` file nor a wheel")
        name = path[:-len(".py")]
        top = name.partition("/")[0]
        if top in OWN:
            return
        if top in sys.stdlib_module_names:
            raise Error("invalid", "module-name", f"`{file['path']}` in `{self.key}` has the name of Python's own "
                        f"module `{top}`, and would never be imported; name the file otherwise")
        self.files[name] = file
        parts = name.split("/")
        self.folders.update("/".join(parts[:count]) for count in range(1, len(parts)))

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.stdlib_module_names:
            return None
        place = name.replace(".", "/")
        for found, is_package in ((place + "/__init__", True), (place, False)):
            if found in self.files:
                file = self.files[found]
                return _spec(name, Loader(self, lambda: _whole(file, self.read), file["path"]), is_package)
        for wheel in self.wheels:
            spec = wheel.find(self, name, place)
            if spec is not None:
                return spec
        if place in self.folders:
            return _namespace(name, place)
        return None

    def find_distributions(self, context=None):
        """What `importlib.metadata` asks for."""
        wanted = getattr(context, "name", None)
        for wheel in self.wheels:
            found = wheel.distribution()
            if found is not None and (wanted is None or _same_name(found.metadata.get("Name", ""), wanted)):
                yield found

    def invalidate_caches(self):
        """Nothing changes in a call."""

    def run(self, file, module):
        """Runs a file of the run as a module."""
        self.execute(_whole(file, self.read), file["path"], module)

    def execute(self, source, file, module):
        """Runs a source as a module; tracebacks show its lines from then on."""
        self.sources.add(file)
        keep_source(file, _text(source, file))
        try:
            code = compile(source, file, "exec", dont_inherit=True)
        except SyntaxError as error:
            # some say nothing of where
            error.filename, error.lineno = error.filename or file, error.lineno or 1
            raise
        exec(code, module.__dict__)


class Loader:
    """Loads one module."""

    def __init__(self, modules, source, file, wheel=None):
        self.modules, self.source, self.file, self.wheel = modules, source, file, wheel

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.__file__ = self.file
        self.modules.execute(self.source(), self.file, module)

    def get_source(self, name):
        return importlib.util.decode_source(self.source())

    def get_data(self, path):
        """Reads a file of a wheel, for `pkgutil.get_data`."""
        if self.wheel is None or not path.startswith(self.wheel.path + "/"):
            raise FileNotFoundError(path)
        return self.wheel.held(path[len(self.wheel.path) + 1:])


    def get_resource_reader(self, name):
        """What `importlib.resources` asks for."""
        return None if self.wheel is None else Resources(self.wheel, posixpath.dirname(self.file))


class Resources(TraversableResources):
    """The files beside a module of a wheel."""

    def __init__(self, wheel, folder):
        self.wheel, self.folder = wheel, folder

    def files(self):
        below = self.folder[len(self.wheel.path) + 1:]
        return zipfile.Path(self.wheel.archive, self.wheel.stored(below) + "/")


class Installed(importlib.metadata.Distribution):
    """What a wheel says of itself."""

    def __init__(self, wheel, folder):
        self.wheel, self.folder = wheel, folder

    @property
    def metadata(self):
        head = (self.read_text("METADATA") or "").partition("\n\n")[0]
        return dict(line.split(": ", 1) for line in reversed(head.splitlines()) if ": " in line)

    def read_text(self, filename):
        try:
            return self.wheel.held(f"{self.folder}/{filename}").decode()
        except FileNotFoundError:
            return None

    def locate_file(self, path):
        return pathlib.PurePosixPath(self.wheel.path) / path


class Wheel:
    """A wheel of the run, or another zip archive with modules."""

    def __init__(self, file, read):
        self.file, self.path, self.read = file, file["path"], read
        self.archive, self.names, self.folders = None, {}, set()

    def _open(self):
        if self.archive is not None:
            return
        try:
            pinned = io.BufferedReader(Pinned(self.file, self.read))
            self.archive = zipfile.ZipFile(pinned)
        except zipfile.BadZipFile as error:
            raise Error("invalid", "wheel", f"`{self.path}` is no wheel: {error}") from None
        for name in self.archive.namelist():
            head, _, rest = name.partition("/")
            # files of a wheel that are installed beside the rest
            is_beside = head.endswith(".data") and rest.startswith(("purelib/", "platlib/"))
            below = rest.partition("/")[2] if is_beside else name
            self.names[below] = name
            parts = below.split("/")
            self.folders.update("/".join(parts[:count]) for count in range(1, len(parts)))

    def distribution(self):
        """What the wheel says of itself, if it does."""
        self._open()
        folders = sorted(folder for folder in self.folders if folder.endswith(".dist-info"))
        return Installed(self, folders[0]) if folders else None

    def stored(self, folder):
        """Where a folder is in the archive."""
        inside = next((name for path, name in self.names.items() if path.startswith(folder + "/")), folder + "/")
        return inside[:inside.rindex(folder + "/") + len(folder)]

    def held(self, path):
        """The bytes of one of its files."""
        if path not in self.names:
            raise FileNotFoundError(f"{self.path}/{path}")
        return self.archive.read(self.names[path])

    def find(self, modules, name, place):
        """How a module of the wheel is loaded, if it has it."""
        self._open()
        for path, is_package in ((place + "/__init__.py", True), (place + ".py", False)):
            if path in self.names:
                self._refuse_compiled(name)
                loader = Loader(modules, lambda: self.held(path), f"{self.path}/{path}", self)
                return _spec(name, loader, is_package)
        if place in self.folders:
            self._refuse_compiled(name)
            return _namespace(name, f"{self.path}/{place}")
        if "." not in name and any(self._is_compiled(path, name) for path in self.names):
            self._refuse_compiled(name)
        return None

    @staticmethod
    def _is_compiled(path, top):
        return path.endswith(COMPILED) and (path.startswith(top + "/") or path.startswith(top + "."))

    def _refuse_compiled(self, name):
        top = name.partition(".")[0]
        compiled = next((path for path in sorted(self.names) if self._is_compiled(path, top)), None)
        if compiled is not None:
            raise ImportError(f"`{self.path}` holds compiled code (`{compiled}`), which cannot run in the sandbox; "
                              "only wheels in pure Python can be modules, and a program of your own can import the others, "
                              "see `builtin:ask-tell`", name=name)


def _spec(name, loader, is_package):
    spec = importlib.machinery.ModuleSpec(name, loader, origin=loader.file, is_package=is_package)
    if is_package:
        spec.submodule_search_locations = [posixpath.dirname(loader.file)]
    spec.has_location = True
    return spec


def _same_name(one, other):
    """Whether two names of distributions are one: `A.b` is `a-b`."""
    return re.sub("[-_.]+", "-", one).lower() == re.sub("[-_.]+", "-", other).lower()


def _namespace(name, place):
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [place]
    return spec


def _text(source, file):
    """The text of a source, which is UTF-8 unless it says otherwise."""
    if b"coding" not in source[:400] and not source.startswith(b"\xef\xbb\xbf"):
        try:
            return source.decode()
        except UnicodeDecodeError:
            # said with its line below
            pass
    try:
        return importlib.util.decode_source(source)
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        text = f"this is no text in {error.encoding}: {error.reason}"
    except SyntaxError as error:
        line, text = 1, error.msg
    raise SyntaxError(text, (file, line, None, None))


def _whole(file, read):
    """The bytes of a small file."""
    return read(file["sha256"], 0, max(file["size"], 1))
