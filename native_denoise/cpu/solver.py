"""From checked images to denoised ones on the CPU: share among threads, stop when the gap allows."""

from __future__ import annotations

import functools
import threading
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..modes import Settings
from ..vectors.threads import available, share
from . import sweeps
from .bands import Part, aligned_zeros
from .iteration_plan import IterationPlan, iteration_plan
from .rows import PAGE

_local = threading.local()


def solve(
    images: NDArray[Any],
    masks: NDArray[np.float32] | None,
    settings: Settings,
    vectorial: bool,
    threads: int | None,
    out: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """Denoise ``images`` (N, C, H, W), float32 or uint8, any strides, into ``out`` of the same kind.

    ``masks`` is (N, H, W) or None.  Returns for each stack (C planes, or 1 if vectorial) the steps that it
    took, (N, stacks), and for `rof` its duality gap (N, stacks), a sum over its pixels.
    """
    chosen = iteration_plan(
        settings, images.shape, images.dtype == np.uint8, vectorial, threads or available()
    )
    run = _Run(chosen, images, masks, out)
    if chosen.parts is None:
        run.go()
    else:
        run.go_in_turns(chosen.parts)
    return run.taken, run.gaps() if settings.mode == "rof" else None


class _Run:
    """One batch on its way; ``work`` and ``weights`` belong to the calling thread and are used again."""

    def __init__(
        self, plan: IterationPlan, images: NDArray[Any], masks: NDArray[np.float32] | None, out: NDArray[Any]
    ) -> None:
        self.plan, self.images, self.masks, self.out = plan, images, masks, out
        frames, channels, height, width = images.shape
        layout, settings = plan.layout, plan.settings
        self.bands = layout.bands if settings.tolerance is None else layout.bands.copy()
        self.work = _buffer("work", layout.size)
        # The weights begin half a page late. Otherwise a row of them and its row of X may lie whole pages
        # apart, and loads wait for stores (``rows.plane_size``).
        size = (frames * height + 1) * layout.stride
        self.weights = _buffer("weights", PAGE // 2 + size)[PAGE // 2 :]
        self.taken = np.zeros((frames, channels // plan.depth), dtype=np.int64)
        self.taken[:] = settings.iterations
        self.band_gaps = np.zeros(len(self.bands))
        self.lay_out_weights(height, width)

    def go_in_turns(self, parts: list[list[Part]]) -> None:
        """Take all steps of each stack; two threads may share one, one after the other (``bands.turns``)."""
        iterations = self.plan.settings.iterations
        begun: list[SimpleQueue[None]] = [SimpleQueue() for _ in parts]  # a token a part that ended

        def job(thread: int) -> None:
            try:
                for bands, steps in parts[thread]:
                    if steps[0] > 0:
                        begun[thread - 1].get()
                    self.advance(bands, steps, steps[1] == iterations, thread)
                    begun[thread].put(None)
            finally:
                begun[thread].put(None)  # a thread that failed keeps nobody waiting

        share(job, len(parts))

    def go(self) -> None:
        """Load, blocks of steps until the last one or until every stack is close enough, store."""
        plan, iterations = self.plan, self.plan.settings.iterations
        layout = plan.layout
        done, stored = 0, False
        while not stored:
            steps = (done, min(done + plan.block, iterations))
            stored = steps[1] == iterations
            share(functools.partial(self.advance_chunk, steps, stored), len(layout.chunks))
            done = steps[1]
            self.finish_block(done)
            if not stored and not self.bands[:, sweeps.ACTIVE].any():
                share(functools.partial(self.advance_chunk, (done, done), True), len(layout.chunks))
                stored = True
            elif not stored and layout.cut:
                planes = sweeps.PLANES[plan.mode]
                sweeps.exchange_halos(self.work, self.bands, planes, plan.depth, layout.stride)

    def lay_out_weights(self, height: int, width: int) -> None:
        """The masks, as the rows of the planes are laid out."""
        plan, layout = self.plan, self.plan.layout
        masks = _ones(width) if self.masks is None else self.masks
        sweeps.fill_weights(
            plan.mode, masks, plan.factor, height, width, plan.depth, layout.stride, self.weights,
            self.work, layout.chunks[0][2],
        )  # fmt: skip

    def advance_chunk(self, steps: tuple[int, int], last: bool, thread: int) -> None:
        """What one thread does in one block."""
        self.advance(self.plan.layout.chunks[thread][:2], steps, last, thread)

    def advance(self, bands: tuple[int, int], steps: tuple[int, int], last: bool, thread: int) -> None:
        """Let bands [bands[0], bands[1]) take steps [steps[0], steps[1]); ``last``: then store them."""
        plan, layout = self.plan, self.plan.layout
        sweeps.run_bands(
            plan.mode, self.images, self.out, plan.scales, self.work, self.weights, self.bands, bands,
            plan.depth, layout.stride, layout.chunks[thread][2], plan.rates, steps, last,
            self.measures(steps[1]), self.band_gaps,
        )  # fmt: skip

    def measures(self, done: int) -> bool:
        """Whether the gap is wanted after ``done`` steps."""
        settings = self.plan.settings
        wanted = settings.tolerance is not None or done == settings.iterations
        return self.plan.mode == sweeps.ROF and wanted

    def gaps(self) -> NDArray[np.float64]:
        """The gap of each stack when it was last measured, (N, stacks)."""
        gaps = np.zeros(self.taken.shape)
        np.add.at(gaps, (self.bands[:, sweeps.FRAME], self.bands[:, sweeps.STACK]), self.band_gaps)
        return gaps

    def finish_block(self, done: int) -> None:
        """Note the steps taken; retire the stacks that are proven to be close enough."""
        bands = self.bands
        where = (bands[:, sweeps.FRAME], bands[:, sweeps.STACK])
        active = bands[:, sweeps.ACTIVE] == 1
        self.taken[where[0][active], where[1][active]] = done
        tolerance = self.plan.settings.tolerance
        if tolerance is not None:
            pixels = self.images.shape[2] * self.images.shape[3] * self.plan.depth
            bands[:, sweeps.ACTIVE] = (self.gaps() > 0.5 * tolerance**2 * pixels)[where]


@functools.lru_cache(maxsize=32)
def _ones(width: int) -> NDArray[np.float32]:
    """One row of a mask that is 1 everywhere."""
    return np.ones((1, 1, width), dtype=np.float32)


def _buffer(name: str, size: int) -> NDArray[np.float32]:
    """A float32 array of this thread, kept for the next call as long as it is not far too large."""
    kept = getattr(_local, name, None)
    if kept is None or not size <= kept.size <= 4 * size + 1_000_000:
        kept = aligned_zeros(size)
        setattr(_local, name, kept)
    return kept[:size]
