"""The decorators of compiled inner loops (numba), and a cache of theirs that is never stale.

numba keeps compiled functions on disk and compiles one again when its own file changes, but not
when a function that it calls, a constant, or the class of an argument changes in another file: it
would go on with the old one inside, or fail. So what was compiled with another version of any file
of ours that a function's file imports, at whatever remove, is deleted here.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from numba import njit, typeof

_IMPORT = re.compile(r"^(?:from|import) ([\w.]+)", re.MULTILINE)
_imported: dict[Path, set[Path]] = {}  # file → files of the same tree that it imports


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called; it runs without the interpreter's lock."""
    return _fresh(njit(nogil=True, cache=True)(function), function)


def compiled_loop(function: Callable[..., Any]) -> Any:
    """Compile a function that makes no arrays, without counting references to those it is given.

    A search hands some forty arrays from function to function, a million times a second. Counting
    references to each of them atomically took twelve times as long as the search itself, and
    threads that share a language model would wait for each other. Whoever calls from Python holds
    the arrays meanwhile. A function that does make arrays must be `compiled`.
    """
    uncounted: dict[str, Any] = {"_nrt": False}  # numba's own functions use it; no stub lists it
    return _fresh(njit(nogil=True, cache=True, **uncounted)(function), function)


def compiled_inline(function: Callable[..., Any]) -> Any:
    """Like `compiled_loop`, for a function that becomes part of each compiled one that calls it.

    A call hands every array over as seven numbers. Those of a search are some three hundred, which
    takes longer than most of its functions; whatever is called for a frame or label is made so.
    """
    uncounted: dict[str, Any] = {"_nrt": False, "inline": "always"}
    return _fresh(njit(nogil=True, cache=True, **uncounted)(function), function)


def entry_point(dispatcher: Any, arguments: Sequence[Any]) -> Any:
    """A compiled function for arguments of exactly these types; what calls it must see to them.

    A compiled function looks at the types of its arguments whenever it is called. For the sixty
    fields that make a search, that takes 7 µs, as long as the search of a word.
    """
    types = tuple(map(typeof, arguments))
    dispatcher.compile(types)
    return dispatcher.get_overload(types)


def is_kept(dispatcher: Any) -> bool:
    """Whether an earlier process compiled a function, so that its first call is quick."""
    return any(_kept(dispatcher, dispatcher.py_func))


def _kept(dispatcher: Any, function: Callable[..., Any]) -> Iterator[Path]:
    """The files that list what is kept of a function."""
    folder = Path(dispatcher.stats.cache_path)
    module = Path(function.__code__.co_filename).stem
    return folder.glob(f"{module}.{function.__qualname__}-*.nbi")


def _fresh(dispatcher: Any, function: Callable[..., Any]) -> Any:
    """Delete what is kept of a function from other versions of its sources."""
    sources = sorted(_sources_of(Path(function.__code__.co_filename)))
    versions = "".join(f"{file} {_version(file)}\n" for file in sources).encode()
    module = Path(function.__code__.co_filename).stem
    record = Path(dispatcher.stats.cache_path) / f"{module}.{function.__qualname__}.sources"
    if not record.is_file() or record.read_bytes() != versions:
        for index in _kept(dispatcher, function):
            index.unlink(missing_ok=True)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_bytes(versions)
    return dispatcher


def _version(file: Path) -> str:
    """What numba tells versions of a file by; a file that is put back is older, yet another."""
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _sources_of(file: Path) -> set[Path]:
    """A file and all of its package (of a script: its folder) that it imports, or that they do."""
    root = file.parent
    while (root.parent / "__init__.py").is_file():
        root = root.parent
    found, ahead = {file}, [file]
    while ahead:
        new = _imports_of(ahead.pop(), root) - found
        found |= new
        ahead += new
    return found


def _imports_of(file: Path, root: Path) -> set[Path]:
    """The files below `root` that a file imports at the left margin."""
    if file not in _imported:
        names = _IMPORT.findall(file.read_text(encoding="utf-8"))
        paths = [getattr(sys.modules.get(name), "__file__", None) for name in names]
        known = (Path(path) for path in paths if path is not None)
        _imported[file] = {p for p in known if p.suffix == ".py" and p.is_relative_to(root)}
    return _imported[file]
