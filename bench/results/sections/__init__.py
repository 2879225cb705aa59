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

LIMITS = (
    "The guard was measured under attack and corruptions before bundles named a budget: where no budget is "
    "told, it had none, as with `--budget none` today.",
    "**An attacker who knows the guard's budget is not measured.** What bounds it is the budget itself.",
    "Attacks have one seed and few steps. A stronger attack adds more to undefended frames.",
    "nips17-dev served both for choices and for figures: the alarm's threshold, coarseness and rate control "
    "of the defence, the price of the adapted head. The figures under attack and corruptions are in-sample.",
    "Many cells are compared, and none is corrected for that. Extremes among them are partly chance.",
    "One backbone ships. The paper's networks are checked with seeded weights, not on ImageNet.",
    "Times are of shared virtual machines. No board was measured, TensorRT never ran on a GPU, and aarch64 "
    "was emulated.",
    "Half-precision heads, and top-1 of the unsplit network, have no measurement here.",
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
        Chapter("Limits", notes=LIMITS),
    ]
