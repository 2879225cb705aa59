"""The heads of one family, one a rate, as one head: the byte budget chooses the rate.

Rate control takes a tenth of a packet's bytes for next to nothing, and not much more; the next rate takes
more and costs less (docs/serving.md). So a link with less room gets packets of another bundle, and rate
control does what is left. The server has to serve them all; a packet names its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle, load
from runtime.engines import EngineOptions
from runtime.errors import StreamError
from runtime.guard import Guard
from runtime.head import Head, HeadReport
from runtime.packet import MAX_OVERHEAD, Packet
from runtime.tail import max_payload

USUAL = 0.75
"""A rate is chosen where the budget lets this share of clean frames through as they are."""

FLOOR = 0.8
"""Of a median clean packet of the last rate: with less, fewer frames tell more than smaller ones."""


def family(bundle: Bundle) -> list[Bundle]:
    """A bundle, and those beside it that are named alike but for a larger rate: fewer and fewer bytes."""
    found, name, rate = [bundle], bundle.folder.name, bundle.manifest.rate
    while True:
        rate += 1
        folder = bundle.folder.parent / name.replace(f"-r{bundle.manifest.rate}", f"-r{rate}")
        if folder.name == name or not folder.is_dir():
            return found
        found.append(load(folder))
        if found[-1].manifest.rate != rate:
            raise StreamError(f"{folder}: a bundle of rate {found[-1].manifest.rate}, not {rate}")


class Rates:
    """Encodes as a Head does; ``limit`` chooses which. Raises what Heads raise, and StreamError.

    Args:
        bundle: the rate for links with room; its ``family`` is opened too.
        guard, options: of all of them.
    """

    def __init__(self, bundle: Bundle, guard: Guard, options: EngineOptions | None = None):
        self.guard = guard
        self._heads = [Head(one, options, guard=guard) for one in family(bundle)]
        self._now = self._heads[0]

    @property
    def bundle(self) -> Bundle:
        """Of the rate that is chosen now."""
        return self._now.bundle

    @property
    def report(self) -> HeadReport | None:
        """Of the last frame, as long as the rate is the same."""
        return self._now.report

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and most bytes that it makes sense to ask for."""
        first, last = self._heads[0], self._heads[-1]
        most = self.guard.budget or max_payload(first.bundle) + MAX_OVERHEAD
        return min(most, max(last.least, int(FLOOR * _bytes(last.bundle, 0.5)))), most

    def limit(self, budget: int) -> None:
        """Choose the first rate whose clean frames usually fit, or the last; and keep the budget there."""
        fits = (head for head in self._heads if _bytes(head.bundle, USUAL) <= budget)
        self._now = next(fits, self._heads[-1])
        self._now.limit(max(budget, self._now.least))

    def encode(self, image: NDArray[np.uint8]) -> Packet:
        """As ``Head.encode``, at the rate that is chosen now."""
        return self._now.encode(image)

    def warm_up(self) -> None:
        """As ``Head.warm_up``, all of them."""
        for head in self._heads:
            head.warm_up()


def _bytes(bundle: Bundle, quantile: float) -> float:
    """Of clean packets; 0 where the bundle does not know."""
    return dict(bundle.manifest.clean_bits).get(quantile, -8.0 * MAX_OVERHEAD) / 8 + MAX_OVERHEAD
