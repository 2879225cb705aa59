"""Write a robust bundle: a plain one plus ``shield.onnx``, the trained head, and ``guard.npz``, its alarm."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from export.disturb import Perturbation
from export.onnx_file import save
from export.progress import bar
from export.suspicion import discriminant
from export.table_bits import ChannelRate
from export.torch_graph import TorchGraph
from runtime.bundle import MANIFEST, ROBUST, Bundle, FileEntry, load
from runtime.errors import BundleError
from runtime.guard import features
from runtime.head import Head
from runtime.tables import Tables

ATTACK_STEPS = 12
ATTACKED = 200  # frames: the mean of the discriminant's other side
Frames = NDArray[np.uint8]


def write_robust(
    bundle: Bundle,
    weights: Mapping[str, torch.Tensor],
    frames: tuple[Frames, Frames],
    out: Path,
    notes: dict[str, Any],
) -> Path:
    """Write ``out/NAME-robust``, and the files that it shares where ``out/shared`` lacks them; its folder.

    Args:
        bundle: the plain one.
        weights: of the backbone, by name in the head graph (``export.robust``).
        frames: clean and attacked frames (``alarm_frames``), to fit the alarm.
        notes: for the manifest's provenance.
    """
    folder = out / f"{bundle.manifest.name}{ROBUST}"
    folder.mkdir(parents=True, exist_ok=True)
    for entry in bundle.manifest.files.values():
        source, target = bundle.folder / entry.path, folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
    write_shield(bundle, weights, folder / "shield.onnx")
    np.savez_compressed(folder / "guard.npz", **fit_alarm(bundle, *frames))
    added = {role: FileEntry.of(folder / name, name) for role, name in
             (("shield", "shield.onnx"), ("guard", "guard.npz"))}  # fmt: skip
    manifest = replace(
        bundle.manifest,
        name=folder.name,
        files=dict(sorted((bundle.manifest.files | added).items())),
        provenance=bundle.manifest.provenance | {"shield": notes},
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    load(folder)
    return folder


def family(bundle: Bundle) -> list[Bundle]:
    """The plain bundles beside this one that share its backbone, itself included."""
    beside = [load(path.parent) for path in sorted(bundle.folder.parent.glob(f"*/{MANIFEST}"))]
    return [
        one for one in beside
        if one.manifest.backbone == bundle.manifest.backbone and "shield" not in one.manifest.files
    ]  # fmt: skip


def provenance(command: str, steps: int, images: int) -> dict[str, Any]:
    """What the manifest says about where the shield comes from."""
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return {"command": command, "date": date, "steps": steps, "images": images}


def write_shield(bundle: Bundle, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """The head graph with other weights in its backbone, stored as precisely as the head's.

    Raises BundleError when the head is not one that these weights fit.
    """
    model = onnx.load(bundle.path("head"))
    constants = {initializer.name: initializer for initializer in model.graph.initializer}
    for name, weight in weights.items():
        initializer = constants.get(name)
        if initializer is None or tuple(initializer.dims) != tuple(weight.shape):
            raise BundleError(f"{bundle.manifest.name}: the shield's {name} does not fit its head")
        stored = numpy_helper.to_array(initializer).dtype
        initializer.CopyFrom(numpy_helper.from_array(weight.numpy().astype(stored), name))
    save(model, path)


def fit_alarm(bundle: Bundle, clean: Frames, attacked: Frames) -> dict[str, NDArray[np.float32]]:
    """The arrays of guard.npz. A third of the clean frames is kept for the threshold."""
    head = Head(bundle)
    seen = []
    with bar(len(clean) + len(attacked), f"{bundle.manifest.name}: alarm", "frame") as progress:
        for frame in (*clean, *attacked):
            seen.append(features(head.analyse(frame)))
            progress.update(1)
    of_clean, of_attacked = np.stack(seen[: len(clean)]), np.stack(seen[len(clean) :])
    kept = np.arange(len(clean)) % 3 == 0
    weights, bias = discriminant(of_clean[~kept], of_attacked, of_clean[kept])
    return {"weights": weights, "bias": np.array(bias, dtype=np.float32)}


def alarm_frames(
    bundle: Bundle, squares: Sequence[Frames], count: int = ATTACKED, seed: int = 0
) -> tuple[Frames, Frames]:
    """Clean frames, and PGD-E at random eps on ``count`` of them, both uint8 (N, S, S, 3).

    bundle: factorized; its head is attacked. squares: uint8 (S, S, 3), in any order.
    """
    rng = np.random.default_rng(seed)
    chosen = np.stack([squares[i] for i in rng.permutation(len(squares))[:count]])
    images = torch.from_numpy(chosen.transpose(0, 3, 1, 2).copy()).float() / 255
    attacked = torch.cat(list(_attacked(bundle, images, rng)))
    pixels = attacked.mul(255).round().byte()
    return np.stack(squares), np.ascontiguousarray(pixels.permute(0, 2, 3, 1).numpy())


def _attacked(bundle: Bundle, images: torch.Tensor, rng: np.random.Generator) -> Iterator[torch.Tensor]:
    head, rate = TorchGraph(bundle.path("head")), ChannelRate(Tables.from_arrays(bundle.arrays("prior")))
    with bar(len(images), "attacks for the alarm", "frame") as progress:
        for batch in images.split(8):
            perturbation = Perturbation(batch, ATTACK_STEPS, rng)
            for _ in range(ATTACK_STEPS):
                perturbed = perturbation.images.requires_grad_(True)
                (gradient,) = torch.autograd.grad(rate(head(perturbed)[0]).sum(), perturbed)
                perturbation.grow(gradient)
            yield perturbation.images.detach()
            progress.update(len(batch))
