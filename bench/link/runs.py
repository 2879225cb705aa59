"""Frames at a camera's pace over an emulated link: what arrives, and how old it is when it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common.emulated_link import Conditions, over, wire_bytes
from bench.common.image_codecs import JPEG, WEBP, ImageCodec
from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.head import Head
from runtime.streaming.buffer import Buffer
from runtime.streaming.connection import Address, Connection, ServerAnswer
from runtime.streaming.link_budget import BudgetRange, LinkBudget
from runtime.streaming.sender import Link, Sender
from runtime.streaming.window import InFlightWindow, RoundTrip, send_all

Image = NDArray[np.uint8]
BUFFER = 2
LOST_SECONDS = 0.5
"""After so long without an answer the device sends a frame again."""

QUALITIES = ((JPEG, 75), (WEBP, 80))
"""Top-1 of 87.0 and 89.4 % on nips17-dev, ratehold at rate 1 90.6 (FP) and 89.6 % (docs/results.md)."""


@dataclass(frozen=True)
class Variant:
    """One way to send. frames: ``clean`` or ``attacked``. codec: None for ratehold, and its guard.

    shrink: whether the guard's budget follows the link, as with ``runtime stream --policy shrink``.
    """

    name: str
    frames: str
    codec: tuple[ImageCodec, int] | None = None
    guard: Guard | None = None
    shrink: bool = False


def variants(budget: int) -> list[Variant]:
    """Ratehold without and with guard and budget, with packets that shrink to the link, JPEG and WebP, on
    clean and on attacked frames.
    """
    found = [Variant("ratehold", "clean"), Variant("ratehold", "attacked")]
    guard = Guard("auto", budget=budget)
    found += [Variant("ratehold guarded", frames, guard=guard) for frames in ("clean", "attacked")]
    found += [Variant("ratehold shrinking", f, guard=guard, shrink=True) for f in ("clean", "attacked")]
    for codec, quality in QUALITIES:
        found += [Variant(f"{codec.name} q{quality}", f, (codec, quality)) for f in ("clean", "attacked")]
    return found


@dataclass(frozen=True)
class Encoder:
    """What the device runs for one frame: image -> bytes to be sent. room: a budget that follows the link."""

    encode: Callable[[Image], bytes]
    room: LinkBudget | None = None


class Nowhere:
    """A server that has decoded and classified a picture before it is asked: it flatters JPEG and WebP."""

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        """An answer without classes, at once."""
        return ServerAnswer((), ())

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Arrival:
    """An answered frame: its number, bytes of its HTTP request, seconds from capture to answer, top-1."""

    number: int
    wire_bytes: int
    seconds: float
    top1: int | None


def open_encoder(variant: Variant, bundle: Bundle, threads: int) -> Encoder:
    """The encoder of a variant, warm."""
    if variant.codec is not None:
        codec, quality = variant.codec
        return Encoder(lambda image: codec.encode(bundle.manifest.preprocess.square(image), quality))
    head = Head(bundle, EngineOptions(threads=threads), guard=variant.guard)
    head.warm_up()
    if not variant.shrink:
        return Encoder(lambda image: head.encode(image).to_bytes())
    room = LinkBudget(BudgetRange.of(head))

    def encode(image: Image) -> bytes:
        room.captured(time.perf_counter())
        head.limit(room.bytes)
        return head.encode(image).to_bytes()

    return Encoder(encode, room)


def run(
    encoder: Encoder,
    images: list[Image],
    links: list[Link],
    conditions: Conditions,
    fps: float,
    frames: int,
) -> list[Arrival]:
    """Capture ``frames`` frames, ``images`` in turn; those that wait too long give way to fresh ones.

    links: connections over one link; so many frames may be on their way at a time.
    """
    buffer: Buffer[tuple[int, float, bytes]] = Buffer(BUFFER, "drop-oldest")
    senders = [Sender(link) for link in over(links, conditions, LOST_SECONDS)]
    window = InFlightWindow(len(links))
    failures: list[Exception] = []

    def capture() -> None:
        try:
            begin = time.perf_counter()
            for number in range(frames):
                time.sleep(max(0.0, begin + number / fps - time.perf_counter()))
                captured = time.perf_counter()
                buffer.put((number, captured, encoder.encode(images[number % len(images)])))
        except Exception as error:
            failures.append(error)
        finally:
            buffer.close()

    arrivals: list[Arrival] = []
    session = f"{id(buffer):x}-{time.time_ns():x}"  # a name that no other run of this server has

    def send(sender: Sender, item: tuple[int, float, bytes]) -> RoundTrip | None:
        number, captured, data = item
        identity = f"{session}-{number}"
        begin = time.perf_counter()
        delivery = sender.send(identity, data)
        now = time.perf_counter()
        with lock:
            if encoder.room is not None and delivery.attempts == 1:
                encoder.room.sent(len(data), (now - begin) / window.size)
            classes = delivery.answer.classes
            top1 = classes[0] if classes else None
            arrivals.append(Arrival(number, wire_bytes(identity, data), now - captured, top1))
        return RoundTrip(len(data), now - begin) if delivery.attempts == 1 else None

    camera, lock = threading.Thread(target=capture), threading.Lock()
    camera.start()
    send_all(senders, window, buffer.get, send)
    camera.join()
    if failures:
        raise failures[0]
    return arrivals


def measure(
    variant: Variant,
    conditions: Conditions,
    frames_of: dict[str, list[Image]],
    expected: dict[str, list[int]],
    bundle: Bundle,
    address: Address,
    fps: float,
    frames: int,
    threads: int,
    in_flight: int,
) -> dict[str, Any]:
    """The row of one variant over one link.

    frames_of: by ``Variant.frames``. expected: top-1 of the same frames, clean; empty where it is not known.
    """
    ours = variant.codec is None
    links: list[Link] = [Connection(address) if ours else Nowhere() for _ in range(in_flight)]
    encoder = open_encoder(variant, bundle, threads)
    begin = time.perf_counter()
    arrivals = run(encoder, frames_of[variant.frames], links, conditions, fps, frames)
    elapsed = time.perf_counter() - begin
    for link in links:
        link.close()
    seconds = np.array([arrival.seconds for arrival in arrivals])
    classes = expected[variant.frames]
    known = [arrival for arrival in arrivals if classes and arrival.top1 is not None]
    agree = [arrival.top1 == classes[arrival.number % len(classes)] for arrival in known]
    return {
        "variant": variant.name,
        "frames": variant.frames,
        "kbit_s": conditions.kbit_s,
        "captured": frames,
        "answered": len(arrivals),
        "wire_bytes_mean": float(np.mean([arrival.wire_bytes for arrival in arrivals])),
        "latency_p50_ms": 1e3 * float(np.quantile(seconds, 0.5)),
        "latency_p95_ms": 1e3 * float(np.quantile(seconds, 0.95)),
        "goodput_fps": len(arrivals) / elapsed,
        "agreement": float(np.mean(agree)) if agree else None,
    }
