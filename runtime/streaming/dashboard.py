"""The device's page: what a device knows of a frame, with the image, the mask and the denoised image."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
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
from runtime.preprocess import Nv12
from runtime.streaming.spool import Encoded

WAITING = 256
"""Most frames in memory that are encoded and have no outcome yet: more than a buffer holds."""

PICTURED = 8
"""Most of them whose image is in memory, too: the newest."""


@dataclass(frozen=True, eq=False)
class Encoding:
    """An encoded frame: its name, its image as ``Preprocess`` takes it, and what the head did with it."""

    name: str
    image: NDArray[np.uint8] | Nv12
    report: HeadReport


class DeviceView:
    """The frames of a device for its page. Thread-safe: the pipeline adds, the listener reads."""

    def __init__(self, bundle: Bundle, guard: Guard):
        self._history, self._labels = History("device", [bundle]), bundle.labels()
        self._bundle, self._pictures = bundle, Once(_Drawing(bundle, guard))
        self._waiting: OrderedDict[str, Shown] = OrderedDict()
        self._encodings: OrderedDict[str, Encoding] = OrderedDict()
        self._last: Encoding | None = None
        self._lock = threading.Lock()

    def encoded(self, frame: Encoded, image: NDArray[np.uint8] | Nv12, report: HeadReport) -> None:
        """Remember an encoded frame, until ``settled`` tells its outcome."""
        decision, before = report.decision, report.decision.expected_bits_before
        shown = Shown(
            frame.name, self._bundle.manifest.name, decision.bytes, decision.rung, decision.defended,
            _words(decision), {stage: 1e3 * s for stage, s in report.seconds.items()}, (),
            None if before is None else before / 8, decision.budget, _finite(decision.score),
        )  # fmt: skip
        with self._lock:
            self._waiting[frame.identity] = shown
            self._encodings[frame.identity] = Encoding(frame.name, image, report)
            if len(self._waiting) > WAITING:
                self._waiting.popitem(last=False)
            if len(self._encodings) > PICTURED:
                self._encodings.popitem(last=False)

    def settled(self, frame: Encoded, event: str, about: dict[str, Any]) -> None:
        """Remember a frame's outcome. about: the fields of its line in the log."""
        with self._lock:
            shown = self._waiting.pop(frame.identity, None)
            self._last = self._encodings.pop(frame.identity, self._last)
        if shown is None:  # an earlier process encoded it, or it was long ago
            return
        milliseconds = dict(shown.milliseconds)
        if "ms" in about:
            milliseconds["link and server"] = max(0.0, about["ms"] - sum(milliseconds.values()))
        shares = about.get("probabilities", about.get("scores", ()))
        top = named(self._labels, zip(about.get("classes", ()), shares, strict=False))
        shown = replace(shown, steady=time.monotonic(), time=time.time())
        self._history.add(replace(shown, milliseconds=milliseconds, top=top, outcome=event))

    def state(self, cursor: str) -> dict[str, Any]:
        """JSON for the page, with pictures where there are new frames. Any thread may call it."""
        last, state = self._last, self._history.state(cursor)
        if last is None or not state["frames"]:
            return state | {"pictures": None}
        return state | {"pictures": self._pictures(last), "pictured": last.name}


class _Drawing:
    """Draws a frame, its mask and its denoised image; the head's own arrays belong to its next frame."""

    def __init__(self, bundle: Bundle, guard: Guard):
        self._prepare = bundle.manifest.preprocess
        self._defender = Defender(guard.defence, self._prepare.size, threads=1)

    def __call__(self, frame: Encoding) -> list[Picture]:
        report, prepared = frame.report, self._prepare(frame.image)
        decision, first = report.decision, report.decision.first
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
