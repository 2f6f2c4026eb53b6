"""The programs in a recipe's folder, run as modules of the package `recipes.<folder>`."""

import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

from asr.errors import ConfigError, shown


def load_program(folder: Path, name: str, needs: str, advice: str) -> ModuleType:
    """The file `name`.py of a recipe folder, run anew as the module `recipes.<folder>.<name>`.

    It may import its neighbours relatively.

    Args:
        folder: the recipe's.
        name: of the program.
        needs: what it must have, such as `prepare(corpus, out)`.
        advice: what to do where there is no such file.

    Raises:
        ConfigError: there is none, or it lacks what is needed.
    """
    path = folder / f"{name}.py"
    if not path.is_file():
        raise ConfigError(f"{shown(folder)}: has no {name}.py; {advice}")
    full_name = f"{_package(folder)}.{name}"
    loader = SourceFileLoader(full_name, str(path))
    spec = ModuleSpec(full_name, loader, origin=str(path))
    spec.has_location = True
    module = module_from_spec(spec)
    sys.modules[full_name] = module
    loader.exec_module(module)
    if not callable(getattr(module, needs.partition("(")[0], None)):
        raise ConfigError(f"{shown(path)}: has no function {needs}")
    return module


def _package(folder: Path) -> str:
    """The name of the package that a recipe's folder is, in which its programs find neighbours."""
    name = f"recipes.{folder.resolve().name}"
    place = [str(folder.absolute())]
    if list(getattr(sys.modules.get(name), "__path__", [])) != place:
        for other in [key for key in sys.modules if key.startswith(f"{name}.")]:
            del sys.modules[other]  # a neighbour of another folder of this name
        package = ModuleType(name)
        package.__path__ = place
        sys.modules[name] = package
    return name
