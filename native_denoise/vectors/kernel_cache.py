"""Compiled kernels on disk: read where they fit exactly, compiled again where anything is in doubt.

Numba's own cache lies beside the sources, knows a kernel by its file's stamp alone, and raises what goes
wrong with it: a torn file, a class that another version has renamed, an installation that is read-only. Here
a file's name is a digest of all that the kernel depends on. What goes wrong is never raised; one line a
process says what it costs.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import os
import pickle
import platform
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite  # type: ignore[import-untyped]
import numba

from .. import cache_files
from ..cache_files import FOLDER_VARIABLE, CacheFileError

KEPT = 64
"""Most files of one kernel, for all its types, versions and processors together; the oldest go first."""

LAYOUT = 1
"""Counts changes of what this module writes."""

events: Counter[str] = Counter()
"""What this process has done: kernels ``read``, ``compiled`` and ``kept``."""

_log = logging.getLogger("ratehold")  # without a handler, its warnings are lines on standard error
_said: list[str] = []
"""The one line of this process, once it was said."""


class KernelCache:
    """The cache of one kernel, with the methods of ``numba.core.caching._Cache``; none of them raises.

    depends: modules in other folders whose constants or kernels this one uses.
    """

    def __init__(self, function: Callable[..., Any], depends: tuple[ModuleType, ...] = ()):
        self._function = function
        self._depends = depends

    @property
    def cache_path(self) -> str | None:
        """The folder; None where there is none."""
        try:
            return str(kernel_folder())
        except CacheFileError:
            return None

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel for these types, or None."""
        target_context.refresh()
        try:
            path, key = self._place(sig, target_context.codegen())
            payload = cache_files.read(path, key)
            if payload is None:
                return None
            from numba.core.compiler import CompileResult

            loaded = CompileResult._rebuild(target_context, *pickle.loads(payload))
            if tuple(loaded.signature.args) != tuple(getattr(sig, "args", sig)):
                return None  # types of one name that differ
        except CacheFileError as error:
            _say(f"{error}; its kernel is compiled again")
        except Exception as error:  # whatever a renamed class, or another Numba, makes of it
            _say(f"a kept kernel cannot be loaded ({_told(error)}); it is compiled again")
        else:
            events["read"] += 1
            return loaded
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a kernel that was compiled for these types."""
        events["compiled"] += 1
        try:
            if data.library.has_dynamic_globals or any(not lifted.can_cache for lifted in data.lifted):
                return
            from numba.core.serialize import dumps

            path, key = self._place(sig, data.codegen)
            cache_files.write(path, key, dumps(data._reduce()))
            self._prune(path)
        except CacheFileError as error:
            _say(f"compiled kernels are not kept, so that each start compiles them again: {error}")
        except Exception as error:
            _say(f"compiled kernels are not kept: {_told(error)}")
        else:
            events["kept"] += 1

    def enable(self) -> None:
        """Nothing: it is."""

    def disable(self) -> None:
        """Nothing: a folder that cannot be used does it."""

    def flush(self) -> None:
        """Nothing: a change of anything that counts changes the name."""

    @property
    def _name(self) -> str:
        return re.sub(r"\W+", "-", f"{self._function.__module__}.{self._function.__qualname__}")

    def _place(self, sig: Any, codegen: Any) -> tuple[Path, bytes]:
        """File and key for these types on this processor."""
        cells = self._function.__closure__
        if cells:
            from numba.core.serialize import dumps

            closed = hashlib.sha256(dumps(tuple(cell.cell_contents for cell in cells))).hexdigest()
        key = hashlib.sha256(
            repr(
                (
                    LAYOUT, platform.python_implementation(), platform.python_version(), numba.__version__,
                    llvmlite.__version__, codegen.magic_tuple(), self._name, str(sig),
                    closed if cells else "", self._sources(),
                )
            ).encode()
        ).digest()  # fmt: skip
        return kernel_folder() / f"{self._name}.{key.hex()[:32]}.kernel", key

    def _sources(self) -> list[str]:
        """Digests of the source that this kernel is compiled from: its folder, ours, and ``depends``."""
        files = [inspect.getfile(self._function), __file__, *(str(m.__file__) for m in self._depends)]
        return [_digest(folder) for folder in dict.fromkeys(Path(file).parent for file in files)]

    def _prune(self, path: Path) -> None:
        siblings = list(path.parent.glob(f"{self._name}.*.kernel"))
        if len(siblings) > KEPT:
            siblings.sort(key=lambda file: file.stat().st_mtime)
            for old in siblings[:-KEPT]:
                old.unlink(missing_ok=True)


def kernel_folder() -> Path:
    """Where kernels are kept: a folder of ``cache_folder``, or of ``$NUMBA_CACHE_DIR`` where that is all that
    was set. Raises CacheFileError where there is none.
    """
    told = getattr(numba.config, "CACHE_DIR", "")
    if told and not os.environ.get(FOLDER_VARIABLE):
        return Path(told).absolute() / "ratehold"
    return cache_files.cache_folder() / "kernels"


@functools.cache
def _digest(folder: Path) -> str:
    """SHA-256 of a folder's Python files, in hex. Raises CacheFileError where it has none."""
    files = sorted(folder.glob("*.py"))
    if not files:
        raise CacheFileError(f"{folder} has no source to tell a kernel's version by")
    both = hashlib.sha256()
    for file in files:
        both.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return both.hexdigest()


def _say(text: str) -> None:
    """One line a process: what went wrong first, which what follows comes from as a rule."""
    if not _said:
        _said.append(text)
        _log.warning("ratehold: %s", text)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:300]
