"""Write a robust bundle: a plain one plus ``shield.onnx``, the trained head, and ``guard.npz``, its alarm.

And ``adapted.onnx``, another trained head, beside them.
"""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from export.graphs.onnx_file import save
from export.robust.alarm import AlarmFrames, fit_alarm
from runtime.bundle import MANIFEST, ROBUST, Bundle, FileEntry, load
from runtime.errors import BundleError


def write_robust(
    bundle: Bundle,
    weights: Mapping[str, torch.Tensor],
    frames: AlarmFrames,
    out: Path,
    notes: dict[str, Any],
) -> Path:
    """Write ``out/NAME-robust``, and the files that it shares where ``out/shared`` lacks them; its folder.

    Args:
        bundle: the plain one.
        weights: of the backbone, by name in the head graph (``export.robust.shield``).
        frames: to fit the alarm (``export.robust.alarm.alarm_frames``).
        notes: for the manifest's provenance.
    """
    folder = _copy(bundle, out / f"{bundle.manifest.name}{ROBUST}")
    write_graph(bundle, weights, folder / "shield.onnx")
    return _with_alarm(bundle, folder, frames, {"shield": notes})


def write_alarm(bundle: Bundle, frames: AlarmFrames, out: Path, notes: dict[str, Any]) -> Path:
    """Write ``out/NAME``, a robust bundle with another alarm, and the files that it shares; its folder.

    Arguments as of ``write_robust``, but for the bundle, which is the robust one.
    """
    return _with_alarm(bundle, _copy(bundle, out / bundle.manifest.name), frames, {"alarm": notes})


def write_adapted(
    bundle: Bundle, weights: Mapping[str, torch.Tensor], out: Path, notes: dict[str, Any]
) -> Path:
    """Write ``out/NAME``, a robust bundle with (another) ``adapted.onnx``, and the files that it shares.

    weights: of ``export.robust.adapt``. The alarm and the shield stay as they are. Returns the folder.
    """
    folder = _copy(bundle, out / bundle.manifest.name)
    write_graph(bundle, weights, folder / "adapted.onnx")
    return _with_manifest(bundle, folder, {"adapted": "adapted.onnx"}, {"adapted": notes})


def _copy(bundle: Bundle, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for entry in bundle.manifest.files.values():
        source, target = bundle.folder / entry.path, folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
    return folder


def _with_alarm(bundle: Bundle, folder: Path, frames: AlarmFrames, notes: dict[str, Any]) -> Path:
    """Fit the alarm, write it and the manifest of all that is in ``folder``."""
    np.savez_compressed(folder / "guard.npz", **fit_alarm(bundle, frames))
    return _with_manifest(bundle, folder, {"shield": "shield.onnx", "guard": "guard.npz"}, notes)


def _with_manifest(bundle: Bundle, folder: Path, files: Mapping[str, str], notes: dict[str, Any]) -> Path:
    """Write the manifest of a copy with other ``files``, by role; the folder."""
    added = {role: FileEntry.of(folder / name, name) for role, name in files.items()}
    manifest = replace(
        bundle.manifest,
        name=folder.name,
        files=dict(sorted((bundle.manifest.files | added).items())),
        provenance=bundle.manifest.provenance | notes,
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    load(folder)
    return folder


def family(bundle: Bundle, robust: bool = False) -> list[Bundle]:
    """The plain or the robust bundles beside this one that share its backbone, itself included."""
    beside = [load(path.parent) for path in sorted(bundle.folder.parent.glob(f"*/{MANIFEST}"))]
    return [
        one for one in beside
        if one.manifest.backbone == bundle.manifest.backbone and ("shield" in one.manifest.files) == robust
    ]  # fmt: skip


def provenance(command: str, images: int, **more: int) -> dict[str, Any]:
    """What the manifest says about where a head, or another alarm, comes from."""
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return {"command": command, "date": date, "images": images, **more}


def write_graph(bundle: Bundle, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    """The head graph with other weights in its backbone, stored as precisely as the head's.

    Raises BundleError when the head is not one that these weights fit.
    """
    model = onnx.load(bundle.path("head"))
    constants = {initializer.name: initializer for initializer in model.graph.initializer}
    for name, weight in weights.items():
        initializer = constants.get(name)
        if initializer is None or tuple(initializer.dims) != tuple(weight.shape):
            raise BundleError(f"{bundle.manifest.name}: {path.stem}'s {name} does not fit its head")
        stored = numpy_helper.to_array(initializer).dtype
        initializer.CopyFrom(numpy_helper.from_array(weight.numpy().astype(stored), name))
    save(model, path)
