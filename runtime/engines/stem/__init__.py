"""Heads of the paper's networks only: graphs that begin with Sub, then twice a 5 x 5 convolution and a GDN.

Those are ResNet-50, ResNet-101, RegNetY-6.4GF and the hybrid ViT with the bottleneck of the Entropic Student
(``python -m export import``). No shipped bundle has such a stem; its heads run in ONNX Runtime alone.
"""

from __future__ import annotations

from collections.abc import Callable

from runtime.engines.base import Engine


def open_stemmed(
    model: bytes, name: str, open_rest: Callable[[bytes, str], Engine], threads: int | None
) -> Engine | None:
    """The engine of a graph with a stem: the stem in kernels, the rest as ``open_rest(model, name)`` opens
    it.

    None for every other graph. Raises what ``open_rest`` raises.
    """
    if not _may_have_stem(model):
        return None
    from runtime.engines.stem.engine import Stemmed  # Numba: half a second to import
    from runtime.engines.stem.find import find_stem

    stem = find_stem(model)
    return None if stem is None else Stemmed(stem, open_rest(stem.rest, f"{name}, after its stem"), threads)


def _may_have_stem(model: bytes) -> bool:
    """Whether Abs and Div are among the first nodes, with which a file begins: others are not parsed."""
    begin = model[:2048]
    return b"Abs" in begin and b"Div" in begin
