"""What scripts may import. There are no files where the component runs, so that it is loaded when it is built; each
module costs memory in every call.
"""
import gc
import importlib
import sys

MODULES = """
__future__ abc argparse array ast base64 binascii bisect builtins calendar cmath codecs collections collections.abc
colorsys configparser contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib enum errno fnmatch
fractions functools gc getopt graphlib gzip hashlib heapq hmac html html.entities importlib importlib.abc
importlib.machinery importlib.metadata importlib.readers importlib.resources importlib.resources._adapters
importlib.resources.abc importlib.resources.readers importlib.util inspect io itertools json keyword linecache
locale logging logging.handlers marshal math numbers operator os os.path pathlib pickle pkgutil platform pprint queue
random re reprlib secrets shlex shutil signal statistics string struct sys tempfile textwrap threading time timeit
token tokenize tomllib traceback types typing unicodedata unittest urllib.parse uuid warnings weakref
xml.etree.ElementTree zipfile zipimport zlib
_strptime encodings.aliases encodings.ascii encodings.cp1252 encodings.cp437 encodings.hex_codec encodings.latin_1
encodings.utf_16 encodings.utf_16_be encodings.utf_16_le encodings.utf_8 encodings.utf_8_sig
""".split()


def load():
    """Loads them all."""
    for name in MODULES:
        importlib.import_module(name)
    # what is itself loaded late
    eval("1 if '\\N{GREEK SMALL LETTER MU}' else 0")


def settle():
    """Leaves the memory as small and as still as can be: what is frozen is not touched when garbage is collected."""
    import linecache
    import re
    linecache.clearcache()
    re.purge()
    sys.path_importer_cache.clear()
    gc.collect()
    gc.freeze()


load()
