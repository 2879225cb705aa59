"""Damaged bundles: a tiny bundle with one thing changed and every hash right, from a seed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from runtime.bundle import MANIFEST
from tests.tiny_bundle import rewrite

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 255, 4096, 16384, 1 << 31, 1 << 40, 1 << 62, 1 << 70, -1 << 63, 0.5,
    1e308, -0.0, 1e-300, "", "a", "../x", "/etc/passwd", "x" * 300, "\x00", "\ud800", [], {}, [1, 2, 3],
    [[0.5, 1.0]] * 100, {"a": {"b": [1]}}, "manifest.json", "../shared/tail.onnx", "head.onnx",
]  # fmt: skip
EXTREMES = [0, 1, -1, 2, 3, 100, 127, 128, 255, -128, 1 << 15, 1 << 20, 1 << 30, (1 << 31) - 1, -(1 << 31)]
ARRAYS = ("prior", "scales", "guard")
GRAPHS = ("head", "h_s", "restore", "tail", "shield")
DTYPES = ("|i1", "|u1", "<i2", "<i4", "<i8", "<u8", ">i4", "<f2", "<f4", "<f8", "|b1")


def mutated(source: Path, target: Path, seed: int) -> Path:
    """Copy the bundle ``source`` and ``shared`` beside it below ``target``, with the change of this seed."""
    rng = random.Random(seed)
    shutil.copytree(source.parent / "shared", target / "shared")
    folder = target / source.name
    shutil.copytree(source, folder)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    kind = rng.choice(("manifest", "arrays", "graph", "bytes", "model"))
    if kind == "manifest":
        _of_manifest(rng, folder / MANIFEST)
        return folder
    role = rng.choice([r for r in (ARRAYS if kind == "arrays" else GRAPHS) if r in files])
    if kind == "bytes":
        role = rng.choice(sorted(files))
    path = folder / files[role]["path"]
    data = path.read_bytes()
    changed = folder / f"changed{path.suffix}"  # shared files belong to other bundles
    changed.write_bytes(data)
    change: dict[str, Callable[[random.Random, Path], None]] = {
        "arrays": _of_arrays, "graph": _of_bytes, "bytes": _of_bytes, "model": _of_model,
    }  # fmt: skip
    change[kind](rng, changed)
    return rewrite(folder, role, changed)


def _of_manifest(rng: random.Random, path: Path) -> None:
    """Another value, a member less or one more, anywhere; or other bytes."""
    if rng.random() < 0.2:
        _of_bytes(rng, path)
        return
    raw = json.loads(path.read_text())
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], (dict, list)):
                walk(value[key])

    walk(raw)
    within, key = rng.choice(places)
    action = rng.random()
    if action < 0.7:
        number = within[key]
        near = [number * 2, number + 1, -number, number / 2] if type(number) in (int, float) else []
        within[key] = rng.choice(ODD + near)
    elif action < 0.85:
        del within[key]
    elif isinstance(within, dict):
        within[rng.choice(("more", "schema", "x" * 99, ""))] = rng.choice(ODD)
    else:
        within.append(rng.choice(ODD))
    path.write_text(json.dumps(raw))


def _of_bytes(rng: random.Random, path: Path) -> None:
    """Bytes changed, cut out, put in, or cut off."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(data)) if data else 0
        action = rng.randrange(4)
        if action == 0 and data:
            data[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif action == 1:
            del data[at : at + rng.choice((1, 2, 100))]
        elif action == 2:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 9)))
        elif rng.random() < 0.1:
            del data[at:]
    path.write_bytes(data)


def _of_arrays(rng: random.Random, path: Path) -> None:
    """One array of another type, shape or content, or gone."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    action = rng.randrange(7)
    with np.errstate(all="ignore"):
        if action == 0:
            arrays[name] = array.astype(rng.choice(DTYPES))
        elif action == 1:
            arrays[name] = np.take(array, range(rng.randrange(len(array))), axis=0)
        elif action == 2:
            arrays[name] = np.concatenate([array] * rng.choice((2, 3, 50)))
        elif action == 3:
            arrays[name] = array.reshape(rng.choice(((-1,), (1, *array.shape), array.shape[::-1])))
        elif action == 4:
            del arrays[name]
        else:
            changed = array.ravel().astype(rng.choice(("<i8", "<f8")) if rng.random() < 0.3 else array.dtype)
            for _ in range(rng.choice((1, 1, 3))):
                value = rng.choice([*EXTREMES, np.nan, np.inf] if changed.dtype.kind == "f" else EXTREMES)
                changed[rng.randrange(changed.size)] = np.asarray(value).astype(changed.dtype)
            arrays[name] = changed.reshape(array.shape)
    rng.choice((np.savez, np.savez_compressed))(path, **arrays)


def _of_model(rng: random.Random, path: Path) -> None:
    """One number, name or shape of a graph."""
    model = onnx.load(path)
    graph = model.graph
    node = rng.choice(graph.node)
    action = rng.randrange(7)
    if action == 0 and node.attribute:
        attribute = rng.choice(node.attribute)
        if attribute.ints:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice([*EXTREMES, 1 << 40, -1 << 62])
        else:
            attribute.i = rng.choice(EXTREMES)
    elif action == 1 and graph.initializer:
        constant = rng.choice(graph.initializer)
        if constant.dims:
            constant.dims[rng.randrange(len(constant.dims))] = rng.choice([*EXTREMES, 1 << 40, -1])
    elif action == 2 and graph.initializer:
        constant = rng.choice(graph.initializer)
        constant.data_type = rng.randrange(24)
    elif action == 3:
        value = rng.choice([*graph.input, *graph.output])
        dims = value.type.tensor_type.shape.dim
        if dims:
            rng.choice(dims).dim_value = rng.choice(EXTREMES)
    elif action == 4:
        node.op_type = rng.choice(
            ("Conv", "Relu", "Loop", "Add", "Tile", "Resize", "NoSuchOperator", "Expand")
        )
    elif action == 5 and node.input:
        names = [name for other in graph.node for name in (*other.input, *other.output)]
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    else:
        del graph.node[rng.randrange(len(graph.node))]
    path.write_bytes(model.SerializeToString())
