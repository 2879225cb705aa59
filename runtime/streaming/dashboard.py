"""The page of a device, which has the images: as captured, where they would be smoothed, and smoothed."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.bundle import Bundle
from runtime.dashboard.history import History, Shown, named
from runtime.dashboard.pictures import Once, Picture, bits_picture, grey, picture
from runtime.guard import Guard
from runtime.guard.decision import Decision
from runtime.guard.defence import Defender
from runtime.head import HeadReport
from runtime.streaming.spool import Encoded

WAITING = 256
"""Frames that are encoded and not settled, of which the facts are kept: those of a buffer or two."""


Encoding = tuple[str, NDArray[np.uint8], HeadReport]
"""A frame's name, its image, and what the head did with it."""


class DeviceView:
    """Told of each frame twice: when it is encoded, and when it is settled. From any thread."""

    def __init__(self, bundle: Bundle, guard: Guard):
        self._history, self._labels = History("device", [bundle]), bundle.labels()
        self._bundle, self._pictures = bundle, Once(_Drawing(bundle, guard))
        self._waiting: OrderedDict[str, Shown] = OrderedDict()
        self._last: Encoding | None = None
        self._lock = threading.Lock()

    def encoded(self, frame: Encoded, image: NDArray[np.uint8], report: HeadReport) -> None:
        """Remember what the head did with an image."""
        decision, before = report.decision, report.decision.expected_bits_before
        shown = Shown(
            frame.name, self._bundle.manifest.name, decision.bytes, decision.rung, decision.defended,
            _words(decision), {stage: 1e3 * s for stage, s in report.seconds.items()}, (),
            None if before is None else before / 8, decision.budget, _finite(decision.score),
        )  # fmt: skip
        self._last = frame.name, image, report
        with self._lock:
            self._waiting[frame.identity] = shown
            if len(self._waiting) > WAITING:
                self._waiting.popitem(last=False)

    def settled(self, frame: Encoded, event: str, about: dict[str, Any]) -> None:
        """Remember what became of it: the line that the log gets."""
        with self._lock:
            shown = self._waiting.pop(frame.identity, None)
        if shown is None:  # of an earlier process, or long ago
            return
        milliseconds = dict(shown.milliseconds)
        if "ms" in about:
            milliseconds["link and server"] = max(0.0, about["ms"] - sum(milliseconds.values()))
        top = named(self._labels, about.get("classes", ()), about.get("probabilities", ()))
        self._history.add(replace(shown, milliseconds=milliseconds, top=top, outcome=event, time=time.time()))

    def state(self, cursor: str) -> dict[str, Any]:
        """What the page is told, with pictures where a frame is new to it; from any thread."""
        last, state = self._last, self._history.state(cursor)
        if last is None or not state["frames"]:
            return state | {"pictures": None}
        return state | {"pictures": self._pictures(last), "pictured": last[0]}


class _Drawing:
    """Mask and denoised image once more, for the page: the head's own are overwritten by its next frame."""

    def __init__(self, bundle: Bundle, guard: Guard):
        self._prepare = bundle.manifest.preprocess
        self._defender = Defender(guard.defence, self._prepare.size, threads=1)

    def __call__(self, frame: Encoding) -> list[Picture]:
        _, image, report = frame
        first, decision, prepared = report.decision.first, report.decision, self._prepare(image)
        found = [picture("frame", _score(report), grey(prepared[0].transpose(1, 2, 0)))]
        if first is not None:
            mask = self._defender.mask(first)
            note = "light is smoothed" if decision.defended else "light would be smoothed"
            found.append(picture("mask", note, grey(mask)))
            if decision.defended:
                smooth = self._defender.denoise(prepared, mask)
                found.append(picture("denoised", "what was encoded", grey(smooth[0].transpose(1, 2, 0))))
        return [*found, bits_picture(report.latent)]


def _words(decision: Decision) -> str:
    """The rung, and whether the frame was denoised before it."""
    rung = decision.rung.replace("_", " ")
    return f"{rung}, defended" if decision.defended and rung != "defended" else rung


def _score(report: HeadReport) -> str:
    score = _finite(report.decision.score)
    return "" if score is None else f"score {score:+.1f}: {'suspicious' if score > 0 else 'ordinary'}"


def _finite(score: float | None) -> float | None:
    """The alarm's score where JSON can hold it."""
    return score if score is not None and math.isfinite(score) else None
