"""A bundle's folder: its files are verified when it is loaded, and opened from bytes that were verified."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import regular_file
from runtime.bundle import npz
from runtime.bundle.manifest import MANIFEST, MOST_FEATURES, MOST_TEXT, FileEntry, Manifest
from runtime.codec.packet import BUNDLE_ID_BYTES
from runtime.engines.graph import Interface, OnnxGraph
from runtime.errors import BundleError
from runtime.tasks import Task, open_task

INSTALLED = Path(__file__).parent.parent / "bundles"

KEPT = 1 << 19
"""Files of at most so many bytes stay in memory as they were verified: tables, h_s and alarm. What decoding
needs can so be opened again at any time, although an upgrade has replaced the folder meanwhile."""

MOST_LABELS = 1 << 20
"""Bytes of a file of class names."""

CHUNK = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: its manifest, where its files are, and its 8-byte id.

    kept: bytes of small files, by SHA-256.
    """

    manifest: Manifest
    folder: Path
    id: bytes
    kept: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)

    def path(self, role: str) -> Path:
        """Where the file of one role is. Raises BundleError when the bundle has none.

        For programs that copy or name files. What is opened comes from ``read``, ``arrays`` or ``graph``: a
        file may have changed since it was verified.
        """
        return self.folder / self._entry(role).path

    def read(self, role: str) -> bytes:
        """The verified bytes of one role. Raises BundleError when they are not what the manifest says."""
        entry = self._entry(role)
        kept = self.kept.get(entry.sha256)
        return _verified(self.folder / entry.path, entry, role, keep=True) if kept is None else kept

    def graph(self, role: str) -> OnnxGraph:
        """The graph of one role, with the shapes that the manifest promises, for ``open_engine``."""
        owner = f"bundle {self.manifest.name}: its {role}"
        return OnnxGraph(self.path(role), self.read(role), _interface(self.manifest, role), owner)

    def arrays(self, role: str) -> dict[str, NDArray[Any]]:
        """The arrays of an npz file. Raises BundleError when it is not one, or a large one."""
        self._check_size(role, npz.MOST_FILE)
        try:
            return npz.read_arrays(self.read(role))
        except ValueError as error:
            raise BundleError(f"{self.path(role)}: not a file of arrays: {error}") from error

    def energy(self) -> NDArray[np.float32]:
        """Energy of each basis function of y at each position of its patch, float32 (C, P, P).

        Raises BundleError for an energy that does not fit the latent, or with which no mean can be weighted.
        """
        energy, (channels, height, width) = self.arrays("prior").get("energy"), self.manifest.latent
        if energy is None or energy.dtype.kind != "f" or energy.ndim != 3 or energy.size == 0:
            raise BundleError(f"bundle {self.manifest.name}: its prior has no basis energy")
        patch = energy.shape[1]
        if energy.shape != (channels, patch, patch) or patch**2 * height * width > MOST_FEATURES:
            raise BundleError(f"bundle {self.manifest.name}: its basis energy does not fit its latent")
        single = energy.astype(np.float32)
        if not (np.isfinite(single).all() and single.min() >= 0 and single.sum(axis=0).min() > 0):
            raise BundleError(f"bundle {self.manifest.name}: its basis energy is not finite, or not above 0")
        return single

    @cached_property
    def task(self) -> Task:
        """What turns the tail's output into an answer."""
        return open_task(self.manifest.task, self.manifest.outputs, self.manifest.preprocess.size)

    def labels(self) -> tuple[str, ...] | None:
        """Class names by index, or None where they are not known. Raises BundleError for other text."""
        if "labels" not in self.manifest.files:
            return None
        self._check_size("labels", MOST_LABELS)
        try:
            labels = tuple(self.read("labels").decode("utf-8").splitlines())
        except UnicodeDecodeError as error:
            raise BundleError(f"{self.path('labels')}: not UTF-8") from error
        names = self.task.names
        if len(labels) != names or not all(label.isprintable() for label in labels):
            raise BundleError(
                f"{self.path('labels')}: {len(labels)} lines for {names} classes, or letters that "
                "cannot be printed"
            )
        return labels

    def _entry(self, role: str) -> FileEntry:
        entry = self.manifest.files.get(role)
        if entry is None:
            raise BundleError(f"bundle {self.manifest.name} has no {role}")
        return entry

    def _check_size(self, role: str, most: int) -> None:
        if self._entry(role).bytes > most:
            raise BundleError(f"{self.path(role)} ({role}): more than {most:,} bytes")


def load(name_or_folder: str | Path, roles: Collection[str] | None = None) -> Bundle:
    """Load a bundle by its installed name or from a folder, and verify size and SHA-256 of every file.

    roles: the files to verify; the others may be missing. None: all.

    Raises BundleError when it is missing, damaged or of another schema.
    """
    folder = _folder(name_or_folder)
    try:
        text = regular_file.read(folder / MANIFEST, MOST_TEXT)
    except FileNotFoundError as error:
        raise BundleError(f"{folder}: no {MANIFEST} in it; installed: {', '.join(installed())}") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise BundleError(
            f"{folder}: no {MANIFEST} that can be read: {reason}; installed: {', '.join(installed())}"
        ) from error
    try:
        manifest = Manifest.from_json(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BundleError(f"{folder / MANIFEST}: not UTF-8") from error
    kept = {}
    for role, entry in manifest.files.items():
        if roles is None or role in roles:
            small = entry.bytes <= KEPT
            data = _verified(folder / entry.path, entry, role, keep=small)
            if small:
                kept[entry.sha256] = data
    return Bundle(manifest, folder, hashlib.sha256(text).digest()[:BUNDLE_ID_BYTES], kept)


def installed() -> list[str]:
    """Names of the bundles that came with this installation, sorted."""
    return sorted(path.parent.name for path in INSTALLED.glob(f"*/{MANIFEST}"))


def _folder(name_or_folder: str | Path) -> Path:
    folder = Path(name_or_folder)
    if len(folder.parts) == 1 and not (folder / MANIFEST).exists():
        return INSTALLED / folder
    return folder


def _verified(path: Path, entry: FileEntry, role: str, keep: bool) -> bytes:
    """The bytes of a file once they are what the manifest says; empty where they need not be kept."""
    digest, data = hashlib.sha256(), b""
    try:
        with regular_file.opened(path) as (file, size):
            if size != entry.bytes:
                raise BundleError(
                    f"{path} ({role}): {size} bytes, the manifest says {entry.bytes}; install it again"
                )
            if keep:
                data = file.read(size)
                digest.update(data)
            else:
                while chunk := file.read(min(size, CHUNK)):
                    digest.update(chunk)
                    size -= len(chunk)
    except OSError as error:
        raise BundleError(f"{path} ({role}): {error.strerror}; install the bundle again") from error
    if digest.hexdigest() != entry.sha256:
        raise BundleError(f"{path} ({role}): SHA-256 differs from the manifest's; install it again")
    return data


def _interface(manifest: Manifest, role: str) -> Interface | None:
    """What the graph of a role takes and returns; None for a role that this release does not know."""
    side = manifest.preprocess.size
    latents = [(1, *shape) for shape in (manifest.latent, manifest.hyper) if shape is not None]
    (y, *z), features = latents, (1, *manifest.features)
    both = (1, 2 * y[1], *y[2:])
    takes_image = Interface(((1, 3, side, side),), tuple(latents))
    return {
        "head": takes_image,
        "shield": takes_image,
        "adapted": takes_image,
        "h_s": Interface(tuple(z), (both,)),
        "restore": Interface((y,), (features,)),
        "tail": Interface((features,), tuple((1, *output.shape) for output in manifest.outputs)),
    }.get(role)
