"""A bundle of a few kilobytes, made in a second: random weights, but every part that a real one has.

image 3x32x32  ->  y 6x4x4 (and z 2x2x2)  ->  features 5x8x8  ->  10 logits
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.graphs.integer_graph import write_integer_network
from export.graphs.onnx_file import OPSET, save
from runtime.bundle import MANIFEST, SCHEMA, FileEntry, Manifest, load
from runtime.codec.tables import Tables, gaussian_tables
from runtime.guard.alarm import features
from runtime.head import Head
from runtime.preprocess import Preprocess
from runtime.prior.exact import IntegerNetwork, Layer
from runtime.tasks import CLASSIFICATION, Output

SIZE, CLASSES = 32, 10
LATENT, HYPER, FEATURES = (6, 4, 4), (2, 2, 2), (5, 8, 8)
PATCH = 2
FLOAT = onnx.TensorProto.FLOAT
ROBUST = {"shield": "shield.onnx", "guard": "guard.npz"}
Y_SCALE = 3.0  # about the standard deviation of y, in steps


def make_tiny_bundle(folder: Path, prior: Literal["fp", "mshp"] = "fp", robust: bool = False) -> Path:
    """Write the bundle ``folder/tiny-{prior}``, with its common files in ``folder/shared``; its path.

    The same call writes the same bytes, so bundles of both priors can stand side by side in one folder.
    A ``robust`` one has a shield, which is another random head, and a guard, and is called so.
    """
    path, shared = folder / f"tiny-{prior}{'-robust' * robust}", folder / "shared"
    path.mkdir(parents=True)
    shared.mkdir(exist_ok=True)
    rng = np.random.default_rng(7)
    _write_head(path / "head.onnx", rng, hyper=prior == "mshp")
    _write_server(shared, rng)
    (shared / "labels.txt").write_text("".join(f"thing {i}\n" for i in range(CLASSES)), encoding="utf-8")
    np.savez(shared / "scales.npz", **gaussian_tables().to_arrays())
    arrays: dict[str, NDArray[Any]] = {"energy": np.full((LATENT[0], PATCH, PATCH), PATCH**-2, np.float32)}
    if prior == "mshp":
        arrays |= _gaussian_channels(HYPER[0], 2.0).to_arrays() | _h_s().to_arrays()
        write_integer_network(_h_s(), HYPER, path / "h_s.onnx")
    else:
        arrays |= _gaussian_channels(LATENT[0], Y_SCALE).to_arrays()
    np.savez(path / "prior.npz", **arrays)
    manifest = _manifest(path, prior)
    _write_manifest(path, manifest)
    manifest = dataclasses.replace(manifest, clean_bits=_clean_bits(path))
    _write_manifest(path, manifest)
    if robust:
        _write_head(path / "shield.onnx", np.random.default_rng(8), hyper=prior == "mshp")
        np.savez(path / "guard.npz", **_guard(path))
        added = {role: FileEntry.of(path / file, file) for role, file in ROBUST.items()}
        _write_manifest(path, dataclasses.replace(manifest, files=manifest.files | added))
    return path


def tiny_images(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Smooth uint8 (48, 40, 3) images: for this bundle they are what photographs are for a real one."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 4, 4, 3))
    rows, columns = np.linspace(0, 3, 48), np.linspace(0, 3, 40)
    blend_rows = np.maximum(0, 1 - np.abs(rows[:, None] - np.arange(4)))
    blend_columns = np.maximum(0, 1 - np.abs(columns[:, None] - np.arange(4)))
    smooth = np.einsum("yi,xj,nijc->nyxc", blend_rows, blend_columns, coarse)
    return list(np.rint(smooth).astype(np.uint8))


def rewrite(folder: Path, role: str, path: Path) -> Path:
    """Make the manifest say what the file of a role is now."""
    raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    entry = FileEntry.of(path, path.name)
    raw["files"][role] = {"path": entry.path, "bytes": entry.bytes, "sha256": entry.sha256}
    (folder / MANIFEST).write_text(json.dumps(raw), encoding="utf-8")
    return folder


def adapt(folder: Path, discriminants: NDArray[np.float32], bias: NDArray[np.float32]) -> Path:
    """Give a robust bundle this guard, and its shield for an adapted head, which so differs from the head."""
    np.savez(folder / "guard.npz", discriminants=discriminants, bias=bias)
    shutil.copy(folder / "shield.onnx", folder / "adapted.onnx")
    rewrite(folder, "adapted", folder / "adapted.onnx")
    return rewrite(folder, "guard", folder / "guard.npz")


def _write_head(path: Path, rng: np.random.Generator, hyper: bool) -> None:
    """Strided convolutions: 8x8 patches -> y, and 16x16 patches -> z."""
    constants = [
        _array("w_y", _detail(rng, (LATENT[0], 3, 8, 8), Y_SCALE)),
        _array("w_z", _detail(rng, (HYPER[0], 3, 16, 16), 0.7)),
        _array("centre", np.float32(0.5)),
    ]
    nodes = [
        helper.make_node("Sub", ["image", "centre"], ["centred"]),
        helper.make_node("Conv", ["centred", "w_y"], ["y"], strides=[8, 8]),
    ]
    outputs = {"y": LATENT}
    if hyper:
        nodes.append(helper.make_node("Conv", ["centred", "w_z"], ["z"], strides=[16, 16]))
        outputs["z"] = HYPER
    used = [c for c in constants if hyper or c.name != "w_z"]
    _write(path, nodes, used, {"image": (3, SIZE, SIZE)}, outputs)


def _detail(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> NDArray[np.float64]:
    """Random filters without a mean: flat areas cost nothing and noise costs much, as in a real bundle."""
    filters = rng.normal(0, scale, shape)
    return filters - filters.mean(axis=(2, 3), keepdims=True)


def _write_server(shared: Path, rng: np.random.Generator) -> None:
    """restore: one transposed convolution. tail: ReLU, mean over positions, one matrix."""
    restore = helper.make_node("ConvTranspose", ["y_hat", "w"], ["features"], strides=[PATCH, PATCH])
    w = _random("w", rng, (LATENT[0], FEATURES[0], PATCH, PATCH), 0.2)
    _write(shared / "restore.onnx", [restore], [w], {"y_hat": LATENT}, {"features": FEATURES})
    nodes = [
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
    ]
    matrix = _random("matrix", rng, (FEATURES[0], CLASSES), 2.0)
    _write(shared / "tail.onnx", nodes, [matrix], {"features": FEATURES}, {"logits": (CLASSES,)})


def _h_s() -> IntegerNetwork:
    """z 2x2x2 -> (index, mean) 12x4x4: a larger |z| gives wider tables, its sign shifts the means."""
    rng = np.random.default_rng(11)
    up = Layer(
        weight=rng.integers(-20, 21, (HYPER[0], 4, 2, 2)).astype(np.int32),
        bias=np.zeros(4, np.int32),
        transposed=True, stride=2, padding=0, output_padding=0, shift=1, low=0, high=127,
    )  # fmt: skip
    mix = Layer(
        weight=rng.integers(-8, 9, (2 * LATENT[0], 4, 1, 1)).astype(np.int32),
        bias=np.repeat(np.array([27 << 5, 0], np.int32), LATENT[0]),
        transposed=False, stride=1, padding=0, output_padding=0, shift=5, low=-127, high=127,
    )  # fmt: skip
    return IntegerNetwork((up, mix))


def _gaussian_channels(channels: int, scale: float) -> Tables:
    """One table a channel, each a little wider than the one before."""
    scales = scale * np.linspace(0.8, 1.2, channels)
    reach = np.ceil(4 * scales).astype(int)
    histograms = [np.exp(-0.5 * (np.arange(-r, r + 1) / s) ** 2) for r, s in zip(reach, scales, strict=True)]
    return Tables.from_counts(histograms, (-reach).tolist(), escape_mass=2.0**-12)


def _manifest(path: Path, prior: Literal["fp", "mshp"]) -> Manifest:
    roles = {
        "head": "head.onnx",
        "prior": "prior.npz",
        "restore": "../shared/restore.onnx",
        "tail": "../shared/tail.onnx",
        "labels": "../shared/labels.txt",
    }
    if prior == "mshp":
        roles |= {"h_s": "h_s.onnx", "scales": "../shared/scales.npz"}
    return Manifest(
        schema=SCHEMA, name=path.name, backbone="tiny", prior=prior, rate=1, step=1.0,
        task=dict(CLASSIFICATION), outputs=(Output("logits", (CLASSES,)),),
        preprocess=Preprocess(SIZE, 1.0), latent=LATENT, hyper=HYPER if prior == "mshp" else None,
        features=FEATURES, clean_bits=((0.5, 0.0), (0.99, 0.0)), budget=None,
        files={role: FileEntry.of(path / file, file) for role, file in roles.items()},
        provenance={"made_by": "tests.tiny_bundle"},
    )  # fmt: skip


def _clean_bits(path: Path) -> tuple[tuple[float, float], ...]:
    head = Head(load(path))
    bits = [head.analyse(image).expected_bits for image in tiny_images(20, seed=1)]
    return tuple((q, float(np.quantile(bits, q))) for q in (0.01, 0.5, 0.9, 0.99))


def _guard(path: Path) -> dict[str, NDArray[Any]]:
    """Two discriminants that no clean image reaches: the mean of the features, and of every other one."""
    head = Head(load(path))
    rows = np.stack([np.full(LATENT[0], 1.0), np.arange(LATENT[0]) % 2])
    weights = rows.astype(np.float32) / LATENT[0]
    highest = np.max([weights @ features(head.analyse(image)) for image in tiny_images(20, seed=1)], axis=0)
    return {"discriminants": weights, "bias": (-1.1 * highest).astype(np.float32)}


def _write_manifest(path: Path, manifest: Manifest) -> None:
    (path / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
) -> None:
    infos = [
        [helper.make_tensor_value_info(name, FLOAT, (1, *shape)) for name, shape in of.items()]
        for of in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, path.stem, *infos, constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10), path)


def _random(name: str, rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> onnx.TensorProto:
    return _array(name, rng.normal(0, scale, shape))


def _array(name: str, values: Any) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)
