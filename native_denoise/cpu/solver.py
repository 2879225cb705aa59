"""From checked images to denoised ones on the CPU: plan, share among threads, stop when the gap allows."""

from __future__ import annotations

import functools
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..modes import Settings, schedule
from . import sweeps
from .bands import Plan, aligned_zeros, plan, turns
from .rows import PAGE
from .threads import available, share

_MODES = {"released": sweeps.RELEASED, "descent": sweeps.DESCENT, "rof": sweeps.ROF}

BLOCK = 50
"""Most steps between two meetings of the threads; each costs about 50 us, each row of halo a row per step."""

CHECK = 10
"""Steps of `rof` between two evaluations of the duality gap, which cost about one step each."""

WORTH_SHARING = 500_000
"""Nanoseconds of work below which a second thread, which has to wake up, costs more than it saves."""

COST = {"released": 0.1, "descent": 0.33, "rof": 0.6}
"""Nanoseconds of a pixel and step, about."""

_plan = functools.lru_cache(maxsize=32)(plan)
_turns = functools.lru_cache(maxsize=32)(turns)
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
    frames, channels, height, width = images.shape
    mode = _MODES[settings.mode]
    depth = channels if vectorial else 1
    stacks = frames * (channels // depth)
    block = _block(settings, stacks * height, threads)
    work = images.size * max(settings.iterations, 1) * COST[settings.mode]
    count = _threads(work, threads, stacks * height, block)
    in_turns = settings.tolerance is None and settings.iterations > 0 and count <= stacks
    halo = height if in_turns else block + 1
    layout = _plan(frames, channels // depth, depth, height, width, sweeps.PLANES[mode], count, halo)
    run = _Run(mode, layout, images, masks, settings, depth, block)
    if in_turns:
        run.go_in_turns(out)
    else:
        run.go(out)
    return run.taken, run.gaps if mode == sweeps.ROF else None


def _block(settings: Settings, rows: int, threads: int | None) -> int:
    """Steps in one block: few rows for each thread want a small halo."""
    each = rows // (threads or available())
    longest = max(4, min(CHECK if settings.tolerance is not None else BLOCK, each // 4))
    if settings.tolerance is not None:
        return longest
    # Equal blocks: 100 steps are 50 + 50 and not 66 + 34.
    return max(1, -(-settings.iterations // max(1, -(-settings.iterations // longest))))


def _threads(work: float, wanted: int | None, rows: int, block: int) -> int:
    """Threads that are worth having; no more than leave each twice its halo."""
    if work < WORTH_SHARING:
        return 1
    return max(1, min(wanted or available(), rows // (2 * (block + 1))))


class _Run:
    """One batch on its way; ``work`` and ``weights`` belong to the calling thread and are used again."""

    def __init__(
        self,
        mode: int,
        layout: Plan,
        images: NDArray[Any],
        masks: NDArray[np.float32] | None,
        settings: Settings,
        depth: int,
        block: int,
    ) -> None:
        self.mode, self.layout, self.images, self.settings = mode, layout, images, settings
        self.depth, self.block = depth, block
        frames, channels, self.height, self.width = images.shape
        self.work = _buffer("work", layout.size)
        # Half a page further, for the reason of ``rows.plane_size``: a row of weights is one off a row of X.
        size = (frames * self.height + 1) * layout.stride
        self.weights = _buffer("weights", PAGE // 2 + size)[PAGE // 2 :]
        sweeps.fill_weights(
            mode, _ones(self.width) if masks is None else masks, _factor(settings),
            self.height, self.width, depth, layout.stride, self.weights, self.work, layout.chunks[0][2],
        )  # fmt: skip
        self.bands = layout.bands.copy()
        self.bands[:, sweeps.ACTIVE] = 1
        self.rates = _rates(settings)
        self.scale, self.unit = (1 / 255 if images.dtype == np.uint8 else 1.0), _unit(settings)
        self.taken = np.zeros((frames, channels // depth), dtype=np.int64)
        self.gaps = np.full(self.taken.shape, np.inf)
        self.band_gaps = np.zeros(len(self.bands))

    def go_in_turns(self, out: NDArray[Any]) -> None:
        """All steps of each stack at once, or by two threads one after the other."""
        iterations, threads = self.settings.iterations, len(self.layout.chunks)
        if threads == 1:
            self.advance((0, len(self.bands)), (0, iterations), True, out, 0)
        else:
            self.share_in_turns(out)
        self.taken[:] = iterations
        self.gaps = self.band_gaps.reshape(self.taken.shape)

    def share_in_turns(self, out: NDArray[Any]) -> None:
        """See ``bands.turns``; an event a thread says that its first part is done."""
        iterations, threads = self.settings.iterations, len(self.layout.chunks)
        parts = _turns(len(self.bands), iterations, threads)
        begun = [threading.Event() for _ in parts]

        def job(thread: int) -> None:
            try:
                for bands, steps in parts[thread]:
                    if steps[0] > 0:
                        begun[thread - 1].wait()
                    target = out if steps[1] == iterations else None
                    self.advance(bands, steps, steps[0] == 0, target, thread)
                    begun[thread].set()
            finally:
                begun[thread].set()

        share(job, threads)

    def go(self, out: NDArray[Any]) -> None:
        """Load, blocks of steps until the last one or until every stack is close enough, store."""
        iterations, threads = self.settings.iterations, len(self.layout.chunks)
        done, loaded, stored = 0, False, False
        while not stored:
            steps = (done, min(done + self.block, iterations))
            last = steps[1] == iterations
            target = out if last else None
            share(functools.partial(self.advance_chunk, steps, not loaded, target), threads)
            loaded, stored, done = True, last, steps[1]
            self.finish_block(done)
            if not stored and not self.bands[:, sweeps.ACTIVE].any():
                share(lambda thread: self.store(self.layout.chunks[thread][:2], out, thread), threads)
                stored = True
            elif not stored and self.layout.cut:
                planes = sweeps.PLANES[self.mode]
                sweeps.exchange_halos(self.work, self.bands, planes, self.depth, self.layout.stride)

    def measures(self, done: int) -> bool:
        """Whether the gap is wanted after ``done`` steps."""
        wanted = self.settings.tolerance is not None or done == self.settings.iterations
        return self.mode == sweeps.ROF and wanted

    def advance_chunk(
        self, steps: tuple[int, int], load: bool, out: NDArray[Any] | None, thread: int
    ) -> None:
        """What one thread does in one block; ``out`` only in the last."""
        self.advance(self.layout.chunks[thread][:2], steps, load, out, thread)

    def advance(
        self,
        bands: tuple[int, int],
        steps: tuple[int, int],
        load: bool,
        out: NDArray[Any] | None,
        thread: int,
    ) -> None:
        """Let the bands ``bands[0]`` to ``bands[1] - 1`` take ``steps[0]`` to ``steps[1]``."""
        start, stop = bands
        spare = self.layout.chunks[thread][2]
        depth, stride = self.depth, self.layout.stride
        if load:
            sweeps.load_bands(
                self.mode, self.images, np.float32(self.scale / self.unit), self.work, self.bands,
                start, stop, depth, stride, spare,
            )  # fmt: skip
        sweeps.advance_bands(
            self.mode, self.work, self.weights, self.bands, start, stop, depth, self.height, self.width,
            stride, spare, self.rates, np.float32(self.settings.epsilon / self.unit), steps,
        )  # fmt: skip
        if self.measures(steps[1]):
            sweeps.gap_of_bands(
                self.work, self.weights, self.bands, start, stop, depth, self.height, self.width, stride,
                self.band_gaps,
            )  # fmt: skip
        if out is not None:
            self.store(bands, out, thread)

    def finish_block(self, done: int) -> None:
        """Note the steps taken and the gaps; retire the stacks that are proven to be close enough."""
        bands = self.bands
        where = (bands[:, sweeps.FRAME], bands[:, sweeps.STACK])
        active = bands[:, sweeps.ACTIVE] == 1
        self.taken[where[0][active], where[1][active]] = done
        if not self.measures(done):
            return
        gaps = np.zeros_like(self.gaps)
        np.add.at(gaps, where, self.band_gaps)
        self.gaps = gaps
        if self.settings.tolerance is not None:
            pixels = self.height * self.width * self.depth
            bands[:, sweeps.ACTIVE] = (gaps > 0.5 * self.settings.tolerance**2 * pixels)[where]

    def store(self, bands: tuple[int, int], out: NDArray[Any], thread: int) -> None:
        """Write the rows of some bands."""
        # The conversion to uint8 truncates, so half a grey level makes it round.
        scale, bias = (255.0, 0.5) if out.dtype == np.uint8 else (1.0, 0.0)
        sweeps.store_bands(
            self.mode, self.images, (np.float32(self.scale), np.float32(self.unit)), self.work, self.bands,
            *bands, self.depth, self.layout.stride, self.layout.chunks[thread][2], out,
            np.float32(scale), np.float32(bias),
        )  # fmt: skip


@functools.lru_cache(maxsize=32)
def _ones(width: int) -> NDArray[np.float32]:
    """One row of a mask that is 1 everywhere."""
    return np.ones((1, 1, width), dtype=np.float32)


def _factor(settings: Settings) -> np.float32:
    """What the rows of each mode want the mask multiplied by."""
    if settings.mode == "rof":
        return np.float32(0.5 * settings.weight)
    return np.float32(settings.step * (settings.weight if settings.mode == "released" else 1.0))


def _unit(settings: Settings) -> float:
    """What the iterates are counted in: `descent` saves an operation in units of lambda / 2 (``rows``).

    A lambda below 1e-7 counts as 1e-7: it moves no pixel by more than 4e-7.
    """
    return max(settings.weight, 1e-7) / 2 if settings.mode == "descent" else 1.0


@functools.lru_cache(maxsize=32)
def _rates(settings: Settings) -> NDArray[np.float32]:
    """(iterations, 3) as ``sweeps.advance_bands`` wants them, of `rof` only."""
    if settings.mode != "rof":
        return np.zeros((1, 3), dtype=np.float32)
    tau, sigma, theta = schedule(settings.iterations).T
    pull = tau / (1 + tau)
    return np.stack([sigma, pull, (1 + theta) * pull], axis=1).astype(np.float32)


def _buffer(name: str, size: int) -> NDArray[np.float32]:
    """A float32 array of this thread, kept for the next call as long as it is not far too large."""
    kept = getattr(_local, name, None)
    if kept is None or not size <= kept.size <= 4 * size + 1_000_000:
        kept = aligned_zeros(size)
        setattr(_local, name, kept)
    return kept[:size]


def rms_bound(gap: float, pixels: int) -> float:
    """The RMS distance to the exact minimiser that a gap over ``pixels`` values proves."""
    return math.sqrt(2.0 * max(gap, 0.0) / pixels)
