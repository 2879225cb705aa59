"""Write robust bundles: a plain one with ``shield.onnx``, ``guard.npz`` (its alarm) and ``adapted.onnx``."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.atomic import share, whole_folder
from export.build import clean_budget
from export.robust.alarm import fit_alarm
from export.robust.alarm_frames import AlarmFrames
from export.robust.head_weights import write_head
from runtime.bundle import MANIFEST, ROBUST, SHARED, Bundle, FileEntry, check_name, load
from runtime.head import Head


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
    name = f"{bundle.manifest.name}{ROBUST}"
    check_name(name)
    with _copied(bundle, out, name) as copy:
        write_head(bundle, weights, copy.folder / "shield.onnx")
        copy.add_alarm(frames)
        copy.finish({"shield": "shield.onnx"}, {"shield": notes})
    return out / name


def replace_alarm(bundle: Bundle, frames: AlarmFrames, out: Path, notes: dict[str, Any]) -> Path:
    """Write ``out/NAME``, a copy of a robust bundle with its alarm fitted anew; returns that folder.

    The arguments are those of ``write_robust_bundle``, except that ``bundle`` is the robust one.
    """
    with _copied(bundle, out, bundle.manifest.name) as copy:
        copy.add_alarm(frames)
        copy.finish({}, {"alarm": notes})
    return out / bundle.manifest.name


def replace_adapted_head(
    bundle: Bundle, weights: Mapping[str, torch.Tensor], out: Path, notes: dict[str, Any]
) -> Path:
    """Write ``out/NAME``, a copy of a robust bundle with another ``adapted.onnx``; returns that folder.

    weights: the adapted head's, by name in the head graph (``export.robust.adapt``).
    """
    with _copied(bundle, out, bundle.manifest.name) as copy:
        write_head(bundle, weights, copy.folder / "adapted.onnx")
        copy.finish({"adapted": "adapted.onnx"}, {"adapted": notes})
    return out / bundle.manifest.name


def replace_budget(bundle: Bundle, out: Path, notes: dict[str, Any]) -> Path:
    """Write ``out/NAME``, a copy of a bundle with the budget of its clean frames; returns that folder."""
    with _copied(bundle, out, bundle.manifest.name) as copy:
        copy.finish({}, {"budget": notes}, clean_budget(Head(bundle), bundle.manifest))
    return out / bundle.manifest.name


@dataclass
class BundleCopy:
    """A copy of a bundle that is being changed.

    folder: where it is written. name: of the copy. files: by role, as its manifest will name them.
    """

    bundle: Bundle
    folder: Path
    name: str
    files: dict[str, FileEntry]

    def add_alarm(self, frames: AlarmFrames) -> None:
        """Fit the alarm of the bundle, and write it."""
        np.savez_compressed(self.folder / "guard.npz", **fit_alarm(self.bundle, frames))
        self.files["guard"] = FileEntry.of(self.folder / "guard.npz", "guard.npz")

    def finish(self, added: Mapping[str, str], notes: dict[str, Any], budget: int | None = None) -> None:
        """Write the manifest, with more ``added`` files by role, and load what it describes.

        budget: None leaves the bundle's.
        """
        for role, file in added.items():
            self.files[role] = FileEntry.of(self.folder / file, file)
        manifest = replace(
            self.bundle.manifest,
            name=self.name,
            budget=self.bundle.manifest.budget if budget is None else budget,
            files=dict(sorted(self.files.items())),
            provenance=self.bundle.manifest.provenance | notes,
        )
        (self.folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        load(self.folder)


@contextmanager
def _copied(bundle: Bundle, out: Path, name: str) -> Iterator[BundleCopy]:
    """A copy of a bundle that takes the name ``out/NAME`` when the block ends, shared files beside it."""
    with whole_folder(out / name) as folder:
        files = {}
        for role, entry in bundle.manifest.files.items():
            data, (parent, file) = bundle.read(role), entry.path.rpartition("/")[::2]
            if parent:
                path = f"{parent}/{share(out / SHARED / file, data).name}"
            else:
                path = file
                (folder / file).write_bytes(data)
            files[role] = replace(entry, path=path)
        yield BundleCopy(bundle, folder, name, files)


def family(bundle: Bundle, robust: bool = False) -> list[Bundle]:
    """The plain, or the robust, bundles in the folder of ``bundle`` that share its backbone."""
    folders = sorted(path.parent for path in bundle.folder.parent.glob(f"*/{MANIFEST}"))
    beside = [load(folder) for folder in folders if not folder.name.startswith(".")]  # being written
    return [
        one for one in beside
        if one.manifest.backbone == bundle.manifest.backbone and ("shield" in one.manifest.files) == robust
    ]  # fmt: skip


def provenance(command: str, images: int, **more: int) -> dict[str, Any]:
    """The manifest's notes on where a trained head or an alarm comes from; images: photographs used."""
    date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return {"command": command, "date": date, "images": images, **more}
