"""The script of a run: loads it, and says of its exceptions what they mean in the sandbox."""
import difflib
import json
import sys
import types

from matterstack import BadAnswer, Error
from matterstack_component.sandbox import Author
from matterstack_component.files import Files
from modules import Modules

ASK_TELL = "docs/ask-tell.md"


class Script(Author):
    """A script with its modules. Nothing is read before a function is asked for."""

    def __init__(self, more, modules_key):
        self.more, self.modules_key = more, modules_key
        self.modules, self.module = None, None

    def function(self, name):
        """The script's function with this name; None if it has none."""
        if self.module is None:
            self.module = self._loaded()
        found = getattr(self.module, name, None)
        if found is not None and not callable(found):
            raise BadAnswer(f"`{name}` in `{self.path}` is no function")
        return found

    def needed(self, name, arguments):
        """The script's function with this name; an error if it has none."""
        found = self.function(name)
        if found is None:
            functions = [key for key, value in vars(self.module).items() if callable(value)]
            near = difflib.get_close_matches(name, functions, 1)
            near = f"; is `{near[0]}` meant?" if near else ""
            raise BadAnswer(f"`{self.path}` has no function `{name}({arguments})`{near}")
        return found

    def _loaded(self):
        given = json.loads(self.more)
        if "script" not in given:
            raise Error("invalid", "no-script", "this plugin answers for scripts, and none was named: the "
                        'configuration names it as `"plugin": "campaign.py"`')
        self.path = given["script"]["path"]
        self.modules = Modules(self.path, given.get("modules", ()), Files().read, self.modules_key)
        sys.meta_path.insert(0, self.modules)
        name = self.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
        # a script may be called as a module that it imports
        module = types.ModuleType(name if name not in sys.modules else "script")
        module.__file__ = self.path
        sys.modules[module.__name__] = module
        self.modules.run(given["script"], module)
        return module

    def is_own(self, file):
        return self.modules is not None and file in self.modules.sources and ".whl/" not in file

    def is_engine(self, file):
        return not (self.modules is not None and file in self.modules.sources) and "/python/" not in file

    def hint(self, error):
        if type(error) is ModuleNotFoundError and error.name:
            return missing(error.name, self.modules_key)
        if isinstance(error, SystemExit):
            return "a script ends by what it returns"
        if isinstance(error, RecursionError) and "depth" in str(error):
            return "there are at most 1000 calls in each other"
        if isinstance(error, MemoryError) and not error.args:
            return "the call has all the memory that `limits.plugin` lets it have"
        if isinstance(error, FileNotFoundError):
            return "the sandbox has no files; a campaign reads what `campaign.inputs` names with `ctx.text(name)`"
        return None


def missing(name, modules_key):
    """What can be done where there is no such module."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return "this part of Python's own library is not in the sandbox"
    if top in COMPILED:
        return ("compiled modules cannot be in the sandbox; a program of your own that imports it can decide, as an "
                f"ordinary task of the campaign `builtin:ask-tell`, see {ASK_TELL}")
    return (f"a file of the workspace, or a wheel in pure Python, has to be named in `{modules_key}`; what is compiled "
            f"can only be used by a program of your own, with `builtin:ask-tell`, see {ASK_TELL}")


# what people look for most, and is compiled or needs what is
COMPILED = frozenset(
    "Bio GPy GPyOpt ase ax baybe botorch bofire cantera chemprop cupy cv2 cython dask dgl dragonfly gpytorch "
    "h5py hyperopt ipykernel jax jaxlib keras lightgbm lmfit matplotlib matminer mpi4py nevergrad numba "
    "numpy nlopt openmm optuna orjson pandas phonopy polars pyarrow pymatgen pymc pymoo pyomo pyscf pyro rdkit "
    "scikit_learn scipy seaborn skimage sklearn skopt smac smt spglib statsmodels summit tensorflow "
    "torch torchvision trieste xarray xgboost xtb yaml".split()
)
