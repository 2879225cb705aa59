"""A graph in memory: what was verified is what an engine opens, whatever happens to the file meanwhile."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from runtime.errors import EngineError
from runtime.regular_file import read

MOST_BYTES = 1 << 30
"""Of an ONNX file. Protobuf ends at 2 GiB; no half of a network for an edge comes near."""

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Interface:
    """Shapes of the float32 inputs and outputs of a graph, in order."""

    inputs: Shapes
    outputs: Shapes


@dataclass(frozen=True)
class OnnxGraph:
    """The bytes of an ONNX file.

    path: where they came from, for messages and for the half graph beside.
    interface: what the graph must take and return; None: anything.
    owner: the bundle and the role that vouch for it, for messages; None: a file of its own.
    """

    path: Path
    model: bytes = field(repr=False)
    interface: Interface | None = None
    owner: str | None = None

    @classmethod
    def of_file(cls, path: Path) -> OnnxGraph:
        """The graph in a file of its own. Raises EngineError when it cannot be read."""
        try:
            return cls(path, read(path, MOST_BYTES))
        except OSError as error:
            raise EngineError(f"{path}: cannot open it: {error.strerror}") from error

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    def copied(self) -> tempfile.TemporaryDirectory[str]:
        """A private folder with this one file under its own name, for engines that open files."""
        folder = tempfile.TemporaryDirectory(prefix="ratehold-graph-")
        Path(folder.name, self.name).write_bytes(self.model)
        return folder
