"""The sections of docs/results.md, a module a subject; ``chapters`` has them in order."""

from bench.results.page import Chapter
from bench.results.record import Measured
from bench.results.sections import (
    accuracy,
    analysis,
    attacks,
    coding,
    corruptions,
    defences,
    denoiser,
    latency,
    serving,
    threats,
)


def chapters(measured: Measured) -> list[Chapter]:
    """All of the page. Raises ResultsError when a measurement or a key of it is missing."""
    return [
        Chapter("Bytes and accuracy", accuracy.sections(measured)),
        Chapter("The same bits everywhere", coding.sections(measured)),
        Chapter("Time", (*latency.sections(measured), *denoiser.sections(measured))),
        Chapter("Under attack", (*attacks.sections(measured), *threats.sections(measured))),
        Chapter("Corruptions", corruptions.sections(measured)),
        Chapter("What the defence is made of", defences.sections(measured)),
        Chapter("Serving", serving.sections(measured)),
        Chapter("Where the bits are", analysis.sections(measured)),
    ]
