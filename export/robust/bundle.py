"""Write robust bundles: a plain one with ``shield.onnx``, ``guard.npz`` (its alarm) and ``adapted.onnx``."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.robust.alarm import fit_alarm
from export.robust.alarm_frames import AlarmFrames
from export.robust.head_weights import write_head
from runtime.bundle import MANIFEST, ROBUST, Bundle, FileEntry, load


def write_robust_bundle(
    bundle: Bundle,
    weights: Mapping[str, torch.Tensor],
    frames: AlarmFrames,
    out: Path,
    notes: dict[str, Any],
) -> Path:
    """Write ``out/NAME-robust`` with a shield and its alarm; returns that folder.

    Shared files are copied to ``out/shared`` where that lacks them.

    Args:
        bundle: the plain one.
        weights: the shield's, by name in the head graph (``export.robust.shield``).
        frames: to fit the alarm (``export.robust.alarm_frames``).
        notes: for the manifest's provenance.
    """
    folder = _copy(bundle, out / f"{bundle.manifest.name}{ROBUST}")
    write_head(bundle, weights, folder / "shield.onnx")
    return _with_alarm(bundle, folder, frames, {"shield": notes})


def replace_alarm(bundle: Bundle, frames: AlarmFrames, out: Path, notes: dict[str, Any]) -> Path:
    """Write ``out/NAME``, a copy of a robust bundle with its alarm fitted anew; returns that folder.

    The arguments are those of ``write_robust_bundle``, except that ``bundle`` is the robust one.
    """
    return _with_alarm(bundle, _copy(bundle, out / bundle.manifest.name), frames, {"alarm": notes})


def replace_adapted_head(
    bundle: Bundle, weights: Mapping[str, torch.Tensor], out: Path, notes: dict[str, Any]
) -> Path:
    """Write ``out/NAME``, a copy of a robust bundle with another ``adapted.onnx``; returns that folder.

    weights: the adapted head's, by name in the head graph (``export.robust.adapt``).
    """
    folder = _copy(bundle, out / bundle.manifest.name)
    write_head(bundle, weights, folder / "adapted.onnx")
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
    """Fit the alarm; write it, then the manifest of everything in ``folder``."""
    np.savez_compressed(folder / "guard.npz", **fit_alarm(bundle, frames))
    return _with_manifest(bundle, folder, {"shield": "shield.onnx", "guard": "guard.npz"}, notes)


def _with_manifest(bundle: Bundle, folder: Path, files: Mapping[str, str], notes: dict[str, Any]) -> Path:
    """Write the manifest of a copy with other ``files``, by role; returns the folder."""
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
    """The plain, or the robust, bundles in the folder of ``bundle`` that share its backbone."""
    beside = [load(path.parent) for path in sorted(bundle.folder.parent.glob(f"*/{MANIFEST}"))]
    return [
        one for one in beside
        if one.manifest.backbone == bundle.manifest.backbone and ("shield" in one.manifest.files) == robust
    ]  # fmt: skip


def provenance(command: str, images: int, **more: int) -> dict[str, Any]:
    """The manifest's notes on where a trained head or an alarm comes from; images: photographs used."""
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return {"command": command, "date": date, "images": images, **more}
