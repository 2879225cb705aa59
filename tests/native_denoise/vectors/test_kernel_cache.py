"""Kernels on disk: found again, compiled again where anything is in doubt, never a reason to stop."""

import ast
import importlib
import logging
import multiprocessing
import pickle
import subprocess
import sys
import time
import types
from pathlib import Path

import numba
import pytest

from native_denoise.vectors import kernel_cache
from native_denoise.vectors.kernel_cache import events

ROOT = Path(__file__).parents[3]
SOURCE = """
from native_denoise.vectors.jit import compiled
@compiled()
def twice(x):
    return 2 * x
"""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder; afterwards no line has been said."""
    monkeypatch.setenv("RATEHOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_cache, "_said", [])
    events.clear()
    return tmp_path / "cache" / "kernels"


def call(folder, source=SOURCE, value=2):
    """Run the kernel of a source file as a process does that has never run it; returns its result."""
    folder.mkdir(exist_ok=True)
    (folder / "small.py").write_text(source)
    kernel_cache._digest.cache_clear()
    module = sys.modules["small"] = types.ModuleType("small")  # a kernel is read into its module
    exec(compile(source, str(folder / "small.py"), "exec"), vars(module))
    return module.twice(value)


def test_a_second_process_compiles_nothing(cache, tmp_path):
    assert [call(tmp_path / "source"), call(tmp_path / "source")] == [4, 4]
    assert events == {"compiled": 1, "kept": 1, "read": 1}
    assert not list((tmp_path / "source").glob("**/*.nb[ic]"))


def test_another_type_another_source_and_another_numba_are_compiled(cache, tmp_path, monkeypatch):
    call(tmp_path / "source")
    assert call(tmp_path / "source", value=2.5) == 5.0
    assert call(tmp_path / "source", SOURCE.replace("2 *", "3 *")) == 6
    monkeypatch.setattr(numba, "__version__", "0.1")
    assert call(tmp_path / "source") == 4
    assert events["compiled"] == 4 and len(list(cache.iterdir())) == 4


def test_a_change_in_a_file_beside_the_kernel_compiles_it_again(cache, tmp_path):
    call(tmp_path / "source")
    (tmp_path / "source" / "constants.py").write_text("LIMIT = 3\n")
    call(tmp_path / "source")
    assert events["compiled"] == 2


@pytest.mark.parametrize("size", [0, 40, 1000])
def test_a_torn_file_costs_one_line_and_is_mended(cache, tmp_path, caplog, size):
    call(tmp_path / "source")
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:size])
    assert call(tmp_path / "source") == 4 and len(caplog.records) == 1
    assert "compiled again" in caplog.text
    assert call(tmp_path / "source") == 4 and events["read"] == 1


class Renamed:
    """Stands for a class that the next version of a module does not have."""


@pytest.mark.parametrize("payload", ["renamed", "gone", "nonsense"])
def test_a_stale_payload_costs_one_line_and_is_mended(cache, tmp_path, caplog, monkeypatch, payload):
    # As Numba's own cache had it: AttributeError: Can't get attribute 'Workspace' on <module ...>
    written = {
        "renamed": pickle.dumps((Renamed(),)),
        "gone": b"cno_such_module\nWorkspace\n.",
        "nonsense": b"\x80\x04",
    }[payload]
    monkeypatch.setattr("numba.core.serialize.dumps", lambda value: written)
    call(tmp_path / "source")
    monkeypatch.undo()
    monkeypatch.setenv("RATEHOLD_CACHE", str(cache.parent))
    monkeypatch.setattr(kernel_cache, "_said", [])
    monkeypatch.delattr(sys.modules[__name__], "Renamed")
    assert call(tmp_path / "source") == 4
    assert len(caplog.records) == 1 and "compiled again" in caplog.text
    assert call(tmp_path / "source") == 4 and events["read"] == 1


@pytest.mark.parametrize("where", ["/proc/nowhere", "/dev/null", "file"])
def test_a_folder_that_cannot_be_used_costs_one_line(cache, tmp_path, caplog, monkeypatch, where):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RATEHOLD_CACHE", str(tmp_path / where))
    assert [call(tmp_path / "source"), call(tmp_path / "source", value=2.5)] == [4, 5.0]
    (record,) = caplog.records
    assert "RATEHOLD_CACHE" in record.getMessage() and "\n" not in record.getMessage()


def test_a_user_without_a_home_gets_one_line(cache, tmp_path, caplog, monkeypatch):
    monkeypatch.delenv("RATEHOLD_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    monkeypatch.setattr("pwd.getpwuid", lambda number: (_ for _ in ()).throw(KeyError(number)))
    assert call(tmp_path / "source") == 4 and "RATEHOLD_CACHE" in caplog.text


def test_numbas_own_variable_is_followed_where_ours_is_not_set(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "numba"))
    assert kernel_cache.kernel_folder() == cache
    monkeypatch.delenv("RATEHOLD_CACHE")
    assert kernel_cache.kernel_folder() == tmp_path / "numba" / "ratehold"


def test_a_numba_that_has_changed_inside_costs_one_line(cache, tmp_path, caplog, monkeypatch):
    monkeypatch.delattr("numba.core.compiler.CompileResult._reduce")
    assert [call(tmp_path / "source"), call(tmp_path / "source")] == [4, 4]
    assert len(caplog.records) == 1 and "_reduce" in caplog.text


def test_the_oldest_of_too_many_files_go(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_cache, "KEPT", 2)
    for factor in (2, 3, 4, 5):
        assert call(tmp_path / "source", SOURCE.replace("2 *", f"{factor} *")) == 2 * factor
        time.sleep(0.01)
    assert len(list(cache.iterdir())) == 2
    call(tmp_path / "source", SOURCE.replace("2 *", "5 *"))
    assert events["read"] == 1


def _in_a_child(folder, number, results):
    events.clear()
    results.put(call(folder / f"source{number % 2}"))


def test_processes_at_once_do_not_harm_each_other(cache, tmp_path, caplog):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    children = [context.Process(target=_in_a_child, args=(tmp_path, n, results)) for n in range(6)]
    for child in children:
        child.start()
    assert [results.get(timeout=60) for _ in children] == [4] * 6
    for child in children:
        child.join(60)
    assert call(tmp_path / "source0") == 4 and events["read"] == 1 and not caplog.records
    assert all(file.suffix == ".kernel" for file in cache.iterdir())


def test_the_line_is_one_line_of_standard_error_and_the_kernel_runs(tmp_path):
    code = (
        "import numpy as np\nfrom native_denoise import soft_mask\n"
        "print(soft_mask(np.ones((4, 4)), (8, 8)).shape)"
    )
    variables = {"HOME": "/proc/nowhere", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=variables
    )
    assert done.stdout == "(8, 8)\n"
    assert len(done.stderr.splitlines()) == 1 and "RATEHOLD_CACHE" in done.stderr


def test_no_kernel_goes_past_the_wrapper():
    for package in ("native_denoise", "runtime", "export", "bench"):
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if "cuda" not in file.parts and file.name not in ("jit.py", "kernel_cache.py"):
                assert "njit" not in text and "cache=True" not in text, file


def test_kernels_use_nothing_of_ours_that_their_key_leaves_out():
    """A kernel's globals, the kernels among them included, come from its folder, vectors, or ``depends``."""
    files = [
        file
        for package in ("native_denoise", "runtime", "bench")
        for file in (ROOT / package).rglob("*.py")
        if "vectors.jit import" in file.read_text(encoding="utf-8")
    ]
    assert len(files) >= 10
    for file in files:
        names = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        module = importlib.import_module(names)
        homes = {}
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                parts = names.split(".")[: -node.level] if node.level else []
                for alias in node.names:
                    homes[alias.asname or alias.name] = ".".join([*parts, node.module])
        for value in vars(module).values():
            kept = getattr(value, "_cache", None)
            if not isinstance(kept, kernel_cache.KernelCache) or value.py_func.__module__ != names:
                continue
            depends = {depended.__name__ for depended in kept._depends}
            used = set(value.py_func.__code__.co_names)
            for indirect in [name for name in used if name in vars(module) and name.startswith("_")]:
                used |= _names_of(file, indirect)
            for name in used & set(homes):
                home = homes[name]
                if home.split(".")[0] in ("native_denoise", "runtime", "bench"):
                    beside = home.rpartition(".")[0] in (names.rpartition(".")[0], "native_denoise.vectors")
                    assert beside or home in depends, f"{names}.{value.py_func.__name__} uses {home}.{name}"


def _names_of(file, constant):
    """The names in what a module assigns to one of its constants."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == constant for t in node.targets):
            return {inner.id for inner in ast.walk(node.value) if isinstance(inner, ast.Name)}
    return set()


@pytest.fixture(autouse=True)
def _lines(caplog):
    caplog.set_level(logging.WARNING, logger="ratehold")
