"""manifest.json: what a bundle says of itself. Each field has a type and a bound; nothing else is taken."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from runtime.errors import BundleError
from runtime.preprocess import Fit, Preprocess
from runtime.tasks import CLASSIFICATION, Output, open_task

SCHEMA = 3
"""Of new bundles. Schemas 1 and 2 are read too: they say ``classes`` in place of ``task`` and ``outputs``."""

MANIFEST = "manifest.json"
SHARED = "shared"
"""Folder beside the bundles, with files that several of them use."""

MOST_TEXT = 1 << 18
"""Bytes of manifest.json."""

MOST_FILE = 1 << 30
"""Bytes of any other file."""

MOST_SYMBOLS = 1 << 22
"""Values of y, and of z: 30 times those of the largest network of the paper. Opening allocates for all."""

MOST_FEATURES = 1 << 24
"""Values of the features, and of the tail's output."""

MOST_CLASSES = 1 << 20
MOST_SIDE = 1 << 12
MOST_ROLES = 64
MOST_QUANTILES = 64
MOST_BUDGET = 1 << 28  # bytes: no packet is larger
MOST_DEPTH = 16  # of lists and objects inside each other in the provenance

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PATH = re.compile(rf"(\.\./{SHARED}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}")
_ROLE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class FileEntry:
    """One file: its path (in the bundle's folder or in ../shared), its size and its SHA-256 in hex.

    Raises BundleError for a path that leads elsewhere, and for an impossible size or hash.
    """

    path: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        if not _matches(_PATH, self.path) or self.path == MANIFEST:
            raise BundleError(f"manifest names the file {_shown(self.path)}, which is outside the bundle")
        _whole(self.bytes, f"bytes of {self.path}", 0, MOST_FILE)
        if not _matches(_SHA256, self.sha256):
            _refuse(f"sha256 of {self.path}", self.sha256, "64 lower-case hexadecimal digits")

    @classmethod
    def of(cls, file: Path, path: str) -> FileEntry:
        """The entry that describes ``file`` as it is now."""
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
        return cls(path, file.stat().st_size, digest.hexdigest())


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says. Raises BundleError for a field of another type or beyond its bound.

    Attributes:
        name: of the bundle; a name and never a path, so that it may name a folder.
        backbone: of the network that was split; the same rule.
        prior: ``fp`` (factorized) or ``mshp`` (mean-scale hyperprior).
        rate: 1 (most bytes) .. 4 (fewest); other families may have up to 64.
        step: quantisation step, in units of the transform.
        latent, hyper: shape (channels, height, width) of y and of z; z is None for ``fp``.
        task: what the network is for: ``kind`` and the numbers of that kind (``runtime.tasks``).
        outputs: what ``tail`` returns for one frame; one tensor.
        features: shape of the features that ``restore`` returns.
        clean_bits: [quantile, information content in bits] of frames from clean photographs.
        budget: most bytes of a packet, header included, that a guard keeps unless it is told otherwise;
            None: no limit. Only senders read it.
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
    task: dict[str, Any]
    outputs: tuple[Output, ...]
    preprocess: Preprocess
    latent: Shape
    hyper: Shape | None
    features: Shape
    clean_bits: tuple[tuple[float, float], ...]
    budget: int | None
    files: dict[str, FileEntry]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.backbone, "backbone")
        _whole(self.rate, "rate", 1, 64)
        _number(self.step, "step", 0.0, 1e9)
        if self.step == 0:
            _refuse("step", self.step, "more than 0")
        _whole(self.preprocess.size, "size of preprocess", 1, MOST_SIDE)
        _number(self.preprocess.crop, "crop of preprocess", 0.0, 1.0)
        if self.preprocess.crop == 0:
            _refuse("crop of preprocess", self.preprocess.crop, "more than 0")
        if self.preprocess.fit not in get_args(Fit):
            _refuse("fit of preprocess", self.preprocess.fit, " or ".join(get_args(Fit)))
        if self.preprocess.fit == "pad" and self.preprocess.crop != 1:
            _refuse("crop of preprocess", self.preprocess.crop, "1 with the fit pad")
        _shape(self.latent, "latent", MOST_SYMBOLS)
        _shape(self.features, "features", MOST_FEATURES)
        if self.hyper is not None:
            _shape(self.hyper, "hyper", MOST_SYMBOLS)
        self._check_prior()
        self._check_task()
        if len(self.clean_bits) > MOST_QUANTILES:
            _refuse("clean_bits", self.clean_bits, f"at most {MOST_QUANTILES} pairs")
        for quantile, bits in self.clean_bits:
            _number(quantile, "a quantile of clean_bits", 0.0, 1.0)
            _number(bits, "bits of clean_bits", 0.0, 1e12)
        if self.budget is not None:
            _whole(self.budget, "budget", 1, MOST_BUDGET)
        _check_notes(self.provenance)

    def _check_prior(self) -> None:
        """That roles are names, and those are there without which no packet can be read."""
        if self.prior not in ("fp", "mshp"):
            _refuse("prior", self.prior, "fp or mshp")
        if (self.hyper is None) != (self.prior == "fp"):
            _refuse("hyper", self.hyper, "null with the prior fp, and a shape with mshp")
        if len(self.files) > MOST_ROLES or not all(_matches(_ROLE, role) for role in self.files):
            _refuse("files", list(self.files), f"at most {MOST_ROLES} roles, lower-case words")
        needed = {"prior"} if self.prior == "fp" else {"prior", "scales", "h_s"}
        if missing := needed - set(self.files):
            raise BundleError(f"manifest: no file has the role {' or '.join(sorted(missing))}")

    def _check_task(self) -> None:
        """That there is one output, and a task that can read it."""
        if len(self.outputs) != 1:
            _refuse("outputs", [output.name for output in self.outputs], "one output")
        (output,) = self.outputs
        if not _matches(_ROLE, output.name):
            _refuse("name of an output", output.name, "a lower-case word")
        if not 1 <= len(output.shape) <= 3:
            _refuse("shape of an output", output.shape, "1 to 3 integers")
        for size in output.shape:
            _whole(size, "shape of an output", 1, MOST_CLASSES)
        if math.prod(output.shape) > MOST_FEATURES:
            _refuse("shape of an output", output.shape, f"at most {MOST_FEATURES:,} values")
        _check_notes(self.task, "task")
        open_task(self.task, self.outputs, self.preprocess.size)

    def clean_quantile(self, quantile: float) -> float:
        """One of ``clean_bits``; 0 where the bundle does not know it."""
        return dict(self.clean_bits).get(quantile, 0.0)

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Parse manifest.json, of this schema or an earlier one. Raises BundleError for anything else."""
        raw = _members(_parsed(text), "the manifest", None)
        schema = raw.get("schema")
        if type(schema) is not int or not 1 <= schema <= SCHEMA:
            raise BundleError(f"manifest schema {_shown(schema)}; this release reads schemas 1 to {SCHEMA}")
        _members(raw, "the manifest", _members_of(schema))
        raw = raw | _since(schema, raw) | {"schema": SCHEMA}
        raw.pop("classes", None)
        files = _members(raw["files"], "files", None)
        return cls(
            **{
                **raw,
                "preprocess": _preprocess(raw["preprocess"], {} if schema == SCHEMA else {"fit": "crop"}),
                "latent": tuple(_items(raw["latent"], "latent")),
                "hyper": None if raw["hyper"] is None else tuple(_items(raw["hyper"], "hyper")),
                "features": tuple(_items(raw["features"], "features")),
                "task": _members(raw["task"], "task", None),
                "outputs": tuple(_output(entry) for entry in _items(raw["outputs"], "outputs")),
                "clean_bits": tuple(_pair(pair) for pair in _items(raw["clean_bits"], "clean_bits")),
                "files": {
                    role: FileEntry(**_members(entry, _shown(role), _fields_of(FileEntry)))
                    for role, entry in files.items()
                },
                "provenance": _members(raw["provenance"], "provenance", None),
            }
        )


def check_name(name: object, what: str = "name") -> None:
    """Raise BundleError unless this may name a bundle: it becomes a folder's name, and part of file names."""
    if not _matches(_NAME, name) or name == SHARED:
        _refuse(
            what, name, f"1 to 128 of the characters A-Z a-z 0-9 _ . -, no . or - first, and not {SHARED}"
        )


def _parsed(text: str) -> Any:
    """JSON without what readers disagree about: repeated members, NaN, numbers of any length."""
    if len(text) > MOST_TEXT:
        raise BundleError(f"manifest: more than {MOST_TEXT:,} characters")
    try:
        return json.loads(
            text, object_pairs_hook=_distinct, parse_constant=_no_constant, parse_int=_short_integer
        )
    except (ValueError, RecursionError) as error:
        raise BundleError(f"manifest cannot be read: {type(error).__name__}: {error}") from error


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number of JSON")


def _short_integer(digits: str) -> int:
    if len(digits) > 20:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _fields_of(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _members(value: Any, what: str, names: Collection[str] | None) -> dict[str, Any]:
    """An object with exactly these members; None: with any."""
    if not isinstance(value, dict):
        _refuse(what, value, "an object")
    if names is not None and set(value) != set(names):
        differing = ", ".join(_shown(name) for name in sorted(set(value) ^ set(names))[:4])
        raise BundleError(f"manifest: {what} lacks a member, or has one too many: {differing}")
    return value


def _preprocess(value: Any, since: dict[str, Any]) -> Preprocess:
    given = since | _members(value, "preprocess", None)
    return Preprocess(**_members(given, "preprocess", _fields_of(Preprocess)))


def _items(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse(what, value, "an array")
    return value


def _members_of(schema: int) -> set[str]:
    """Names of a manifest's members in a schema."""
    names = set(_fields_of(Manifest))
    if schema < 2:
        names -= {"budget"}
    return names if schema == SCHEMA else names - {"task", "outputs"} | {"classes"}


def _since(schema: int, raw: dict[str, Any]) -> dict[str, Any]:
    """What a manifest of an earlier schema lacks, and what its bundle has instead."""
    if schema == SCHEMA:
        return {}
    classes = raw["classes"]
    _whole(classes, "classes", 1, MOST_CLASSES)
    added = {"task": dict(CLASSIFICATION), "outputs": [{"name": "logits", "shape": [classes]}]}
    return added | ({"budget": None} if schema < 2 else {})


def _output(value: Any) -> Output:
    members = _members(value, "an output", _fields_of(Output))
    return Output(members["name"], tuple(_items(members["shape"], "shape of an output")))


def _pair(value: Any) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        _refuse("clean_bits", value, "pairs of a quantile and bits")
    return value[0], value[1]


def _shape(shape: Any, what: str, most: int) -> None:
    if not isinstance(shape, tuple) or len(shape) != 3:
        _refuse(what, shape, "3 integers")
    for size, limit in zip(shape, (1 << 14, MOST_SIDE, MOST_SIDE), strict=True):
        _whole(size, what, 1, limit)
    if math.prod(shape) > most:
        _refuse(what, shape, f"at most {most:,} values")


def _whole(value: Any, what: str, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        _refuse(what, value, f"an integer from {low} to {high:,}")


def _number(value: Any, what: str, low: float, high: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
        _refuse(what, value, f"a number from {low:g} to {high:g}")


def _check_notes(notes: Any, what: str = "provenance") -> None:
    """That the provenance, or a task, is JSON of a depth that can be written again."""
    level: list[Any] = [notes]
    for _ in range(MOST_DEPTH):
        if not level:
            return
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if not all(isinstance(name, str) for name in value):
                    _refuse(what, value, "an object whose members have names")
                deeper += value.values()
            elif isinstance(value, (list, tuple)):
                deeper += value
            elif isinstance(value, float) and not math.isfinite(value):
                _refuse(what, value, "numbers of JSON")
            elif not isinstance(value, (str, int, float, type(None))):
                _refuse(what, value, "JSON")
        level = deeper
    raise BundleError(f"manifest: {what} is more than {MOST_DEPTH} levels deep")


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _shown(value: object) -> str:
    """A stranger's value for a message: on one line, and short."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse(what: str, value: object, wanted: str) -> NoReturn:
    raise BundleError(f"manifest: {what} is {_shown(value)}; it must be {wanted}")
