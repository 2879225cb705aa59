"""Plans and timing caches on disk, so that a machine builds each graph once.

A plan is executable code, made for one GPU, one TensorRT and one graph. ``native_denoise.cache_files`` says
what its file looks like and when it is used; else the plan is built again. The folder may be deleted at any
time. The payload of a plan is a line of JSON with the names of inputs and outputs, then the engine's bytes.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from native_denoise import cache_files
from native_denoise.cache_files import CacheFileError


class PlanCacheWarning(UserWarning):
    """A plan cannot be kept or may not be used; the engine works, but is built again the next time."""


@dataclass(frozen=True)
class Key:
    """What a plan depends on.

    graph: SHA-256 of the ONNX file, in hex; empty for what all graphs share.
    tensorrt: version of TensorRT. machine: the processor's architecture, as ``platform.machine()`` has it.
    gpu, compute_capability: of the GPU that builds and runs.
    level, workspace_bytes: of ``runtime.engines.tensorrt.build.BuildSettings``.
    """

    graph: str
    tensorrt: str
    machine: str
    gpu: str
    compute_capability: tuple[int, int]
    level: int
    workspace_bytes: int

    def digest(self) -> bytes:
        """SHA-256 of all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).digest()

    def of_gpu(self) -> Key:
        """The key of what all graphs of one GPU share."""
        return replace(self, graph="", level=0, workspace_bytes=0)


@dataclass(frozen=True)
class Plan:
    """A built graph: names of its inputs and outputs in the order of the ONNX file, and TensorRT's bytes."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    engine: bytes

    def to_bytes(self) -> bytes:
        """A line of JSON, then the engine."""
        return json.dumps([self.inputs, self.outputs]).encode() + b"\n" + self.engine

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """The inverse of ``to_bytes``; only for bytes whose digest has been verified."""
        line, _, engine = data.partition(b"\n")
        inputs, outputs = json.loads(line)
        return cls(tuple(inputs), tuple(outputs), engine)


class PlanCache:
    """Files in one folder, by default ``native_denoise.cache_files.cache_folder``. Reading never fails: a
    file that may not be used is a miss. Writing never fails either: it warns (``PlanCacheWarning``).
    """

    def __init__(self, folder: Path | None = None):
        self._given = folder

    @property
    def folder(self) -> Path:
        """Where the files are. Raises CacheFileError where this user has no folder for them."""
        return self._given or cache_files.cache_folder()

    def plan(self, key: Key) -> Plan | None:
        """The plan that was kept under exactly this key, or None."""
        data = self._read(self._plan_name(key), key)
        return None if data is None else Plan.from_bytes(data)

    def keep_plan(self, key: Key, plan: Plan) -> None:
        """Keep a plan under its key."""
        self._write(self._plan_name(key), key, plan.to_bytes())

    def timing(self, key: Key) -> bytes:
        """What this device's TensorRT has measured while it built other graphs; empty at first."""
        return self._read(self._timing_name(key), key.of_gpu()) or b""

    def keep_timing(self, key: Key, measured: bytes) -> None:
        """Keep those measurements for the next graph."""
        self._write(self._timing_name(key), key.of_gpu(), measured)

    def plan_path(self, key: Key) -> Path:
        """Where the plan of this key is, if there is one."""
        return self.folder / self._plan_name(key)

    @staticmethod
    def _plan_name(key: Key) -> str:
        return f"{key.digest().hex()[:32]}.plan"

    @staticmethod
    def _timing_name(key: Key) -> str:
        return f"{key.of_gpu().digest().hex()[:32]}.timing"

    def _read(self, name: str, key: Key) -> bytes | None:
        try:
            return cache_files.read(self.folder / name, key.digest())
        except CacheFileError as error:
            _warn(str(error))
            return None

    def _write(self, name: str, key: Key, payload: bytes) -> None:
        try:
            cache_files.write(self.folder / name, key.digest(), payload)
        except CacheFileError as error:
            _warn(str(error))


def _warn(text: str) -> None:
    warnings.warn(f"ratehold: TensorRT's plan cache: {text}", PlanCacheWarning, stacklevel=4)
