"""How a script's modules are found and read, with the files of a run that are a `dict`."""
import hashlib
import importlib
import importlib.metadata
import io
import pkgutil
import sys
import unittest
import zipfile

from matterstack import Error
from matterstack_component import errors
from modules import Modules


class Files:
    """The files of a run, and what was read of them."""

    def __init__(self, **files):
        self.held, self.reads = {}, []
        self.named = [self.put(path.replace("__dot__", "."), held) for path, held in files.items()]

    def put(self, path, held):
        held = held.encode() if isinstance(held, str) else held
        digest = hashlib.sha256(held).hexdigest()
        self.held[digest] = held
        return {"path": path, "sha256": digest, "size": len(held)}

    def read(self, digest, offset, most):
        held = self.held[digest][offset:offset + most]
        self.reads.append(len(held))
        return held


def wheel(files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, held in files.items():
            archive.writestr(name, held)
    return made.getvalue()


class Importing(unittest.TestCase):
    def modules(self, files, script="campaign.py"):
        run = Files()
        found = Modules(script, [run.put(path, held) for path, held in files.items()], run.read, "campaign.modules")
        before = set(sys.modules)
        sys.meta_path.insert(0, found)
        self.addCleanup(lambda: [sys.modules.pop(name) for name in set(sys.modules) - before])
        self.addCleanup(sys.meta_path.remove, found)
        return run

    def test_files_and_packages_are_read_when_they_are_imported(self):
        run = self.modules({"mine.py": "from bag.inner import X\nY = X + 1\n", "bag/inner.py": "X = 1\n",
                            "whole/__init__.py": "from . import part\n", "whole/part.py": "Z = 3\n",
                            "unused.py": "boom("})
        self.assertEqual(run.reads, [])
        self.assertEqual(importlib.import_module("mine").Y, 2)
        self.assertEqual(len(run.reads), 2)
        self.assertEqual(importlib.import_module("whole").part.Z, 3)
        with self.assertRaises(ModuleNotFoundError):
            importlib.import_module("bag.nothing")

    def test_a_module_beside_the_script_has_its_short_name_too(self):
        self.modules({"deep/beside.py": "X = 1\n", "above.py": "Y = 2\n"}, "deep/campaign.py")
        self.assertEqual(importlib.import_module("beside").X, 1)
        self.assertEqual(importlib.import_module("deep.beside").X, 1)
        self.assertEqual(importlib.import_module("above").Y, 2)

    def test_names_that_cannot_be_imported_are_refused(self):
        with self.assertRaisesRegex(Error, "`statistics.py` in `campaign.modules` has the name of Python's own"):
            self.modules({"statistics.py": ""})
        with self.assertRaisesRegex(Error, "neither a `.py` file nor a wheel"):
            self.modules({"data.csv": ""})
        # a copy of what the sandbox has itself
        self.modules({"matterstack.py": "boom("})

    def test_a_wheel_is_read_when_it_is_needed(self):
        run = self.modules({"lib-1.2-py3-none-any.whl": wheel({
            "lib/__init__.py": "from .part import X\n", "lib/part.py": "X = 1\n", "lib/words.txt": "hello",
            "lib-1.2.data/purelib/beside/__init__.py": "Y = 2\n",
            "lib-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: Lib\nVersion: 1.2\n\nName: no\n"})})
        importlib.import_module("json")
        self.assertEqual(run.reads, [])
        self.assertEqual(importlib.import_module("lib").X, 1)
        self.assertEqual(importlib.import_module("beside").Y, 2)
        self.assertEqual(pkgutil.get_data("lib", "words.txt"), b"hello")
        self.assertEqual(importlib.metadata.version("lib"), "1.2")
        self.assertEqual(len(run.reads), 1)

    def test_a_large_wheel_is_read_in_part(self):
        noise = hashlib.shake_256(b"x").digest(3_000_000)
        run = self.modules({"big-1-py3-none-any.whl": wheel({"other.bin": noise, "big/__init__.py": "X = 1\n"})})
        self.assertEqual(importlib.import_module("big").X, 1)
        self.assertLess(sum(run.reads), 1_000_000)

    def test_compiled_code_is_refused_by_name(self):
        self.modules({"fast-1-cp311-cp311-linux_x86_64.whl": wheel({
            "fast/__init__.py": "from . import _c\n", "fast/_c.cpython-311-x86_64-linux-gnu.so": "ELF"}),
            "flat-1-cp311-cp311-linux_x86_64.whl": wheel({"flat.abi3.so": "ELF"}), "none-1.whl": b"no zip"})
        with self.assertRaisesRegex(ImportError, "fast-1.*`fast/_c.cpython-311.*builtin:ask-tell"):
            importlib.import_module("fast")
        with self.assertRaisesRegex(ImportError, "`flat.abi3.so`"):
            importlib.import_module("flat")
        with self.assertRaisesRegex(Error, "`none-1.whl` is no wheel"):
            importlib.import_module("elsewhere")


class Telling(unittest.TestCase):
    def raised(self, source, name="script_of_test.py"):
        run = Files()
        modules = Modules(name, [], run.read, "campaign.modules")
        module = type(sys)("script_of_test")
        try:
            modules.run(run.put(name, source), module)
            module.plan()
        except BaseException as error:
            return error, lambda file: file in modules.sources
        self.fail("nothing was raised")

    def described(self, source):
        error, is_own = self.raised(source)
        return errors.described(error, errors.place_of(error, is_own))

    def test_an_exception_is_told_with_its_place(self):
        said = self.described("def helper(values):\n    return values['energy']\ndef plan():\n    return helper({})\n")
        self.assertEqual(said["message"], "KeyError: 'energy' (script_of_test.py:2 in helper: return values['energy'])")
        self.assertEqual(said["data"], {
            "type": "KeyError", "message": "'energy'", "file": "script_of_test.py", "line": 2, "function": "helper",
            "source": "return values['energy']"})

    def test_a_syntax_error_is_told_with_its_line(self):
        said = self.described("def plan()\n    pass\n")
        self.assertEqual(said["message"], "SyntaxError: expected ':' (script_of_test.py:1: def plan())")
        said = self.described(b"x = 1\n# \xe9\n")
        self.assertIn("SyntaxError", said["message"])

    def test_what_the_library_raises_is_told_with_the_line_that_called_it(self):
        said = self.described("import json\ndef plan():\n    return json.loads('{')\n")
        self.assertIn("(script_of_test.py:3 in plan: return json.loads('{'))", said["message"])

    def test_a_traceback_shows_the_authors_lines_alone(self):
        error, is_own = self.raised("def plan():\n    try:\n        {}['a']\n    except KeyError as error:\n"
                                    "        raise ValueError('b') from error\n")
        told = errors.whole_traceback(error, lambda file: not is_own(file))
        self.assertNotIn("modules.py", told)
        for line in ("{}['a']", "raise ValueError('b') from error", "direct cause"):
            self.assertIn(line, told)

    def test_an_exception_whose_text_cannot_be_made_is_told_all_the_same(self):
        said = self.described("class Odd(Exception):\n    def __str__(self): raise ValueError\ndef plan(): raise Odd\n")
        self.assertIn("Odd: (its text cannot be made: ValueError)", said["message"])
        said = self.described("def plan(): raise ValueError('x' * 10000)\n")
        self.assertLess(len(said["message"]), 2200)
