"""The errors of export, all of them ``runtime.errors.RateholdError``."""

from runtime.errors import RateholdError


class ExportError(RateholdError):
    """Base of the errors that making a bundle can raise."""


class CutError(ExportError):
    """A model cannot be cut at the named module; the message says why and what to try."""


class CalibrationError(ExportError):
    """Photographs, network and rate do not fit each other."""


class GraphError(ExportError):
    """A graph cannot be written, or does not compute what its module computes."""


class CheckpointError(ExportError):
    """A file is not a checkpoint of the named network; the message says what was expected."""


class CorruptionError(ExportError):
    """A corruption is unknown, or its package is not installed; the message says how to install it."""


class ExtensionError(ExportError):
    """A caller's own code (attack, filter, corruption, backbone) cannot be used; the message says why."""


class WeightsError(ExportError):
    """Weights cannot be fetched, or are not those that are known; the message says how to get them."""
