"""Plans and timing caches on disk, so that a machine builds each graph once.

A plan is executable code, made for one GPU, one TensorRT and one graph. Its file carries two digests: of
everything that it depends on, and of its own bytes. A plan is used only if both are as expected and no other
user could have written it; else it is built again. The folder may be deleted at any time.

    32 bytes  SHA-256 of the key
    32 bytes  SHA-256 of what follows
    the rest  a line of JSON with the names of inputs and outputs, then the serialised engine
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

FOLDER_VARIABLE = "RATEHOLD_CACHE"
DIGEST = 32  # bytes of a SHA-256


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
    """Files in one folder: ``$RATEHOLD_CACHE``, or else ``~/.cache/ratehold``. Reading never fails: a file
    that may not be used is a miss. Writing never fails either: it warns (``PlanCacheWarning``).
    """

    def __init__(self, folder: Path | None = None):
        self.folder = folder or Path(os.environ.get(FOLDER_VARIABLE) or Path.home() / ".cache" / "ratehold")

    def plan(self, key: Key) -> Plan | None:
        """The plan that was kept under exactly this key, or None."""
        data = self._read(self.plan_path(key), key)
        return None if data is None else Plan.from_bytes(data)

    def keep_plan(self, key: Key, plan: Plan) -> None:
        """Keep a plan under its key."""
        self._write(self.plan_path(key), key, plan.to_bytes())

    def timing(self, key: Key) -> bytes:
        """What this device's TensorRT has measured while it built other graphs; empty at first."""
        return self._read(self._timing_path(key), key.of_gpu()) or b""

    def keep_timing(self, key: Key, measured: bytes) -> None:
        """Keep those measurements for the next graph."""
        self._write(self._timing_path(key), key.of_gpu(), measured)

    def plan_path(self, key: Key) -> Path:
        """Where the plan of this key is, if there is one."""
        return self.folder / f"{key.digest().hex()[:32]}.plan"

    def _timing_path(self, key: Key) -> Path:
        return self.folder / f"{key.of_gpu().digest().hex()[:32]}.timing"

    def _read(self, path: Path, key: Key) -> bytes | None:
        try:
            if not _only_ours(path):
                _warn(f"{path} could have been written by another user: it is not used")
                return None
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            _warn(f"{path} cannot be read ({error.strerror})")
            return None
        head, payload = data[: 2 * DIGEST], data[2 * DIGEST :]
        if head != key.digest() + hashlib.sha256(payload).digest():
            _warn(f"{path} is damaged, or of another device: it is not used")
            return None
        return payload

    def _write(self, path: Path, key: Key, payload: bytes) -> None:
        """Write beside, then rename: a reader sees all of a file or none, whoever else is writing."""
        temporary = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=path.name, delete=False) as file:
                temporary = Path(file.name)
                file.write(key.digest() + hashlib.sha256(payload).digest() + payload)
            temporary.replace(path)
        except OSError as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            _warn(
                f"{path} cannot be written ({error.strerror}); make room there, "
                f"or set {FOLDER_VARIABLE} to another folder"
            )


def _only_ours(path: Path) -> bool:
    """Whether nobody but this user and root could have written it."""
    status = path.stat()
    return status.st_uid in (os.getuid(), 0) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _warn(text: str) -> None:
    warnings.warn(f"ratehold: TensorRT's plan cache: {text}", PlanCacheWarning, stacklevel=4)
