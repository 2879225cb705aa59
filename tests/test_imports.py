"""The layout: who imports whom, how large a folder is, and that a name means one thing.

``FLOORS`` is the architecture. A unit is a folder of a package, or a module beside its folders. A unit may
import itself and what its line names; a line may name units above it and packages before its own, so the
table has no circle and no upward import. Imports inside functions count like all others.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = {
    "native_denoise": {
        "errors": "",
        "cache_files": "",
        "vectors": "cache_files",
        "objective": "",
        "modes": "errors",
        "frames": "errors",
        "reference": "modes objective",
        "cpu": "modes vectors",
        "cuda": "errors modes",
        "mask": "errors cpu",
        "api": "errors objective modes frames reference cpu cuda",
        "__init__": "errors modes mask api",
    },
    "runtime": {
        "errors": "",
        "clock": "",
        "service_manager": "",
        "json_log": "",
        "codec": "errors native_denoise",
        "preprocess": "errors native_denoise",
        "pictures": "errors",
        "regular_file": "",
        "engines": "errors regular_file native_denoise",
        "tasks": "errors",
        "bundle": "errors codec preprocess regular_file engines tasks",
        "prior": "errors codec bundle engines native_denoise",
        "latent": "codec prior",
        "guard": "errors clock codec bundle engines prior latent native_denoise",
        "gpu": "errors codec preprocess bundle engines prior latent guard native_denoise",
        "head": "errors clock codec preprocess bundle engines prior latent guard gpu",
        "tail": "errors clock codec bundle engines prior",
        "__init__": "errors codec preprocess pictures bundle engines guard head tail",
        "dashboard": "errors bundle latent",
        "serving": (
            "errors service_manager json_log codec tasks bundle engines prior latent tail dashboard __init__"
        ),
        "streaming": (
            "errors json_log codec preprocess pictures bundle tasks guard head tail dashboard __init__"
        ),
        "cli": (
            "errors service_manager json_log codec preprocess pictures bundle engines guard head tail "
            "dashboard serving streaming __init__ native_denoise"
        ),
        "__main__": "cli",
    },
    "export": {
        "__init__": "runtime",
        "errors": "runtime",
        "atomic": "errors runtime",
        "progress": "",
        "plans": "",
        "rates": "",
        "training_state": "",
        "references": "errors",
        "prior": "errors progress plans runtime",
        "tasks": "errors runtime",
        "graphs": "errors atomic progress prior tasks runtime",
        "weights": "errors progress graphs",
        "calibrate": "errors progress plans rates training_state references prior tasks weights runtime",
        "build": "errors atomic progress plans rates prior calibrate graphs runtime",
        "robust": "errors atomic progress plans training_state prior tasks calibrate graphs build runtime",
        "paper": "errors atomic progress prior calibrate graphs build runtime",
        "triton": "errors atomic progress graphs runtime",
        "cli": "errors progress plans rates prior weights calibrate graphs build robust paper triton runtime",
        "__main__": "cli runtime",
    },
    "bench": {
        "__init__": "runtime",
        "common": "runtime",
        "results": "runtime",
        "attacks": "common export runtime native_denoise",
        "jetson_check": "runtime",
        "denoise": "common runtime native_denoise",
        "coding": "common runtime",
        "exchange": "common runtime",
        "engines": "common runtime",
        "accuracy": "common runtime",
        "rates": "common accuracy runtime",
        "masks": "common export runtime native_denoise",
        "frequency": "common attacks runtime",
        "resilience": "common attacks export runtime",
        "blind": "common attacks export runtime",
        "serve": "common runtime",
        "link": "common serve runtime",
        "scale": "common runtime",
        "sc2bench": "common denoise export runtime",
        "latency": "common jetson_check sc2bench runtime",
        "gpu": "common denoise engines sc2bench runtime native_denoise",
    },
}

ON_USE = {
    "native_denoise.cpu.resize": "Numba takes half a second to load",
    "native_denoise.cpu.solver": "Numba takes half a second to load",
    "native_denoise.cuda": "needs Numba-CUDA, and a GPU or its simulator",
    "native_denoise.reference": "only for who asks for the float64 reference",
    "runtime.codec.pricing": "Numba takes half a second to load",
    "runtime.preprocess.resampler": "Numba takes half a second to load",
    "runtime.prior.rounding": "Numba takes half a second to load",
    "runtime.cli.main": "an old Python cannot read it, and `check` says so there",
    "runtime.engines.stem": "Numba takes half a second to load",
    "runtime.gpu": "needs Numba-CUDA, and a GPU or its simulator",
}
"""What the edge packages import inside functions, and why. Faces and commands do so with everything."""

SHARED_NAMES = {"Encoder", "Decoder"}
"""Classes that every backend of the entropy coder has, by the protocol in ``runtime.codec.coder``."""

MOST_MODULES = 13
MEANINGLESS = {"half", "words", "tile", "course", "steps", "choices", "phases", "verb", "verbs"}


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the four packages, by its dotted name; a package by its own."""
    found = {}
    for package in FLOORS:
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def unit_of(module: str) -> str:
    package, *inside = module.split(".")
    return f"{package}.{inside[0] if inside else '__init__'}"


def imported(file: Path, module: str) -> Iterator[tuple[str, bool]]:
    """Every module that a file imports, whoever owns it, and whether inside a function."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                yield (name if name in modules() else base), id(node) in inside


@functools.cache
def edges() -> list[tuple[str, str, bool]]:
    """(importer, imported, inside a function) among our own modules."""
    return [
        (module, target, lazy)
        for module, file in modules().items()
        for target, lazy in imported(file, module)
        if target in modules() and target != module
    ]


def allowed(package: str, unit: str) -> set[str]:
    names = FLOORS[package][unit].split()
    return {name if name in FLOORS else f"{package}.{name}" for name in names} | {f"{package}.{unit}"}


def test_the_table_names_nothing_above_itself() -> None:
    packages = list(FLOORS)
    for number, package in enumerate(packages):
        below: set[str] = set(packages[:number])
        for unit, names in FLOORS[package].items():
            assert set(names.split()) <= below, f"{package}.{unit} names {set(names.split()) - below}"
            below.add(unit)


def test_the_table_names_every_unit() -> None:
    units = {unit_of(module) for module in modules()}
    assert units == {f"{package}.{unit}" for package, table in FLOORS.items() for unit in table}


@pytest.mark.parametrize("package", FLOORS)
def test_units_import_what_the_table_says(package: str) -> None:
    wrong = []
    for module, target, _ in edges():
        if module.split(".")[0] == package:
            may = allowed(package, unit_of(module).split(".")[1])
            if not {unit_of(target), target.split(".")[0]} & may:
                wrong.append(f"{module} imports {target}")
    assert not wrong


def test_no_module_imports_itself_by_a_detour() -> None:
    targets = defaultdict(set)
    for module, target, _ in edges():
        targets[module].add(target)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for target in targets[module]:
                visit(target, (*path, module))
            done.add(module)

    for module in list(targets):
        visit(module, ())


def test_what_the_edge_imports_on_use_has_a_reason() -> None:
    for module, target, lazy in edges():
        if (
            lazy
            and module.split(".")[0] in ("runtime", "native_denoise")
            and unit_of(module) != "runtime.cli"
        ):
            known = any(target == name or target.startswith(f"{name}.") for name in ON_USE)
            assert known, f"{module} imports {target} inside a function"


def test_no_folder_holds_more_modules_than_one_can_survey() -> None:
    for package in FLOORS:
        for folder in {file.parent for file in modules().values() if package in file.parts}:
            names = [file.stem for file in folder.glob("*.py") if file.stem != "__init__"]
            assert len(names) <= MOST_MODULES, f"{folder.relative_to(ROOT)} holds {len(names)} modules"


def test_file_names_say_what_a_file_holds() -> None:
    assert not {file.stem for file in modules().values()} & MEANINGLESS


def test_one_class_name_has_one_meaning() -> None:
    homes = defaultdict(list)
    for module, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(module)
    repeated = {name: at for name, at in homes.items() if len(at) > 1 and name not in SHARED_NAMES}
    assert not repeated
    assert all(home.startswith("runtime.codec.") for name in SHARED_NAMES for home in homes[name])


@pytest.mark.parametrize("package", ["runtime", "native_denoise"])
def test_the_edge_packages_never_name_torch_or_onnx(package: str) -> None:
    heavy = {"torch", "torchvision", "onnx", "compressai", "matplotlib"}
    for module, file in modules().items():
        if module.split(".")[0] == package:
            assert not {name.split(".")[0] for name, _ in imported(file, module)} & heavy, module


def test_importing_the_runtime_is_light() -> None:
    code = (
        "import sys, runtime.head, runtime.tail, runtime.__main__\n"
        "runtime.head.Guard()\n"
        "heavy = {'torch', 'onnx', 'matplotlib', 'numba', 'onnxruntime', 'constriction'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_encoding_imports_neither_torch_nor_onnx(tiny_bundles: dict[str, Path]) -> None:
    code = (
        "import sys, numpy as np\n"
        "from runtime import Head, Tail, load\n"
        f"bundle = load({str(tiny_bundles['mshp'])!r})\n"
        "image = np.zeros((40, 40, 3), dtype=np.uint8)\n"
        "Tail(bundle).decode(Head(bundle).encode(image).to_bytes())\n"
        "heavy = {'torch', 'onnx', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
