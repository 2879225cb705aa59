"""A bundle: one deployable model, as a folder with a manifest that names, sizes and hashes every file.

    efficientnet_lite0-mshp-r1/
        manifest.json    schema, shapes, how to prepare an image, clean rates, provenance
        head.onnx        image -> y (and z)
        prior.npz        coding tables (integers), basis energy, exact h_s
        h_s.onnx         the exact h_s as a graph (MSHP only)
        shield.onnx      image -> y (and z) of a frame that is defended (robust bundles only)
        adapted.onnx     image -> y (and z) of a frame that looks corrupted (robust bundles only)
        guard.npz        what makes a frame suspicious (robust bundles only)
    shared/              files that several bundles use: restore, tail, labels, scale tables

Loading executes and unpickles nothing. A bundle's identity is the SHA-256 of its manifest: bundles with the
same id decode each other's packets.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime.codec.packet import BUNDLE_ID_BYTES
from runtime.errors import BundleError
from runtime.preprocess import Preprocess

SCHEMA = 1
INSTALLED = Path(__file__).parent / "bundles"
DEFAULT = "efficientnet_lite0-mshp-r1-robust"
MANIFEST = "manifest.json"
ROBUST = "-robust"
"""Suffix of a bundle's name: the bundle without it, plus a shield, an adapted head and an alarm."""

_PATH = re.compile(r"(\.\./shared/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class FileEntry:
    """One file: its path (in the bundle's folder or in ../shared), its size and its SHA-256 in hex."""

    path: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, file: Path, path: str) -> FileEntry:
        """The entry that describes ``file`` as it is now."""
        return cls(path, file.stat().st_size, _sha256(file))


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says.

    Attributes:
        prior: ``fp`` (factorized) or ``mshp`` (mean-scale hyperprior).
        rate: 1 (most bytes) .. 4 (fewest).
        step: quantisation step, in units of the transform.
        latent, hyper: shape (channels, height, width) of y and of z; z is None for ``fp``.
        features: shape of the features that ``restore`` returns.
        clean_bits: [quantile, information content in bits] of frames from clean photographs.
        files: by role: head, prior, restore, tail; h_s and scales with MSHP; labels where they are known;
            optional ``shield`` and ``adapted``, heads for defended frames and for corrupted ones, with the
            inputs and outputs of ``head``;
            optional ``guard``, the arrays of ``runtime.guard.alarm.Discriminant``.
        provenance: how and from what the bundle was made.
    """

    schema: int
    name: str
    backbone: str
    prior: Literal["fp", "mshp"]
    rate: int
    step: float
    classes: int
    preprocess: Preprocess
    latent: tuple[int, int, int]
    hyper: tuple[int, int, int] | None
    features: tuple[int, int, int]
    clean_bits: tuple[tuple[float, float], ...]
    files: dict[str, FileEntry]
    provenance: dict[str, Any]

    def clean_quantile(self, quantile: float) -> float:
        """One of ``clean_bits``; 0 where the bundle does not know it."""
        return dict(self.clean_bits).get(quantile, 0.0)

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse manifest.json. Raises BundleError for anything that ``to_json`` cannot have written."""
        try:
            raw = json.loads(text)
            if raw["schema"] != SCHEMA:
                raise BundleError(f"manifest schema {raw['schema']}; this release reads schema {SCHEMA}")
            return cls(
                **{
                    **raw,
                    "preprocess": Preprocess(**raw["preprocess"]),
                    "latent": _shape(raw["latent"]),
                    "hyper": None if raw["hyper"] is None else _shape(raw["hyper"]),
                    "features": _shape(raw["features"]),
                    "clean_bits": tuple((float(q), float(b)) for q, b in raw["clean_bits"]),
                    "files": {role: _entry(entry) for role, entry in raw["files"].items()},
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"manifest cannot be read: {type(error).__name__}: {error}") from error


def _shape(value: list[int]) -> tuple[int, int, int]:
    c, h, w = (int(v) for v in value)
    if not (0 < c <= 1 << 14 and 0 < h <= 1 << 12 and 0 < w <= 1 << 12):
        raise ValueError(f"impossible shape {value}")
    return c, h, w


def _entry(raw: dict[str, Any]) -> FileEntry:
    entry = FileEntry(**raw)
    if not _PATH.fullmatch(entry.path):
        raise BundleError(f"manifest names the file {entry.path!r}, which is outside the bundle")
    return entry


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: its manifest, where its files are, and its 8-byte id."""

    manifest: Manifest
    folder: Path
    id: bytes

    def path(self, role: str) -> Path:
        """Where the file of one role is. Raises BundleError when the bundle has none."""
        entry = self.manifest.files.get(role)
        if entry is None:
            raise BundleError(f"bundle {self.manifest.name} has no {role}")
        return self.folder / entry.path

    def arrays(self, role: str) -> dict[str, NDArray[Any]]:
        """The arrays of an npz file. Raises BundleError when it is not one."""
        path = self.path(role)
        try:
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise BundleError(f"{path}: not a file of arrays: {error}") from error

    def labels(self) -> tuple[str, ...] | None:
        """Class names by index, or None where they are not known."""
        if "labels" not in self.manifest.files:
            return None
        return tuple(self.path("labels").read_text(encoding="utf-8").splitlines())


def load(name_or_folder: str | Path, roles: Collection[str] | None = None) -> Bundle:
    """Load a bundle by its installed name or from a folder, and verify size and SHA-256 of every file.

    roles: the files to verify; the others may be missing. None: all.

    Raises BundleError when it is missing, damaged or of another schema.
    """
    folder = _folder(name_or_folder)
    try:
        text = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleError(f"{folder}: no {MANIFEST} in it; installed: {', '.join(installed())}") from error
    try:
        manifest = Manifest.from_json(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BundleError(f"{folder / MANIFEST}: not UTF-8") from error
    for role, entry in manifest.files.items():
        if roles is None or role in roles:
            _verify(folder / entry.path, entry, role)
    return Bundle(manifest, folder, hashlib.sha256(text).digest()[:BUNDLE_ID_BYTES])


def installed() -> list[str]:
    """Names of the bundles that came with this installation, sorted."""
    return sorted(path.parent.name for path in INSTALLED.glob(f"*/{MANIFEST}"))


def _folder(name_or_folder: str | Path) -> Path:
    folder = Path(name_or_folder)
    if len(folder.parts) == 1 and not (folder / MANIFEST).exists():
        return INSTALLED / folder
    return folder


def _verify(path: Path, entry: FileEntry, role: str) -> None:
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            raise BundleError(
                f"{path} ({role}): {size} bytes, the manifest says {entry.bytes}; install it again"
            )
        if _sha256(path) != entry.sha256:
            raise BundleError(f"{path} ({role}): SHA-256 differs from the manifest's; install it again")
    except OSError as error:
        raise BundleError(f"{path} ({role}): {error.strerror}; install the bundle again") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
