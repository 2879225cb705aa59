"""Errors of the benchmarks, besides those of ``runtime.errors``."""

from runtime.errors import RateholdError


class BenchError(RateholdError):
    """Base of what keeps a benchmark from running."""


class MissingPackage(BenchError):
    """A package that only some benchmarks need is not installed; the message says how to install it."""


class CampaignError(BenchError):
    """A campaign's settings make no sense, or what its folder holds cannot be read."""


class AttackError(BenchError):
    """An attack was asked for what its target does not have; the message says what is missing."""


class PeerError(BenchError):
    """A peer's results are not those of the same network: its times would compare nothing."""


class ExchangeError(BenchError):
    """Packets of another machine are missing or unreadable, or of another bundle than this machine has."""
