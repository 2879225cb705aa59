"""What export raises on purpose, besides what ``runtime.errors`` has."""

from runtime.errors import RateholdError


class ExportError(RateholdError):
    """Base of what goes wrong on the way to a bundle."""


class CutError(ExportError):
    """The model cannot be cut there; the message says why and what can be tried."""


class CalibrationError(ExportError):
    """The photographs, the network and the rate do not go together."""


class GraphError(ExportError):
    """A graph does not compute what the module computes that it was made from."""


class CheckpointError(ExportError):
    """A file is not a checkpoint of the network that was named; the message says what was expected."""


class CorruptionError(ExportError):
    """There is no such corruption, or the package that makes it is not installed; the message says how."""
