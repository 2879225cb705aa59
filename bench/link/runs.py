"""Frames at a camera's pace over an emulated link: which arrive, and how old they are then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.common.image_codecs import JPEG, WEBP, ImageCodec
from bench.serve.emulated_link import Conditions, over, wire_bytes
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
"""The device sends a frame again after so long without an answer."""

QUALITIES = ((JPEG, 75), (WEBP, 80))
"""Top-1 of 87.0 and 89.4 % on nips17-dev, ratehold at rate 1 90.6 (FP) and 89.6 % (docs/results.md)."""


@dataclass(frozen=True)
class LinkSetup:
    """One way to send.

    frames: ``clean`` or ``attacked``.
    codec: picture format and quality; None for ratehold.
    guard: the guard of ratehold's head.
    shrink: whether the guard's budget follows the link, as with ``runtime stream --policy shrink``.
    """

    name: str
    frames: str
    codec: tuple[ImageCodec, int] | None = None
    guard: Guard | None = None
    shrink: bool = False


def setups(budget: int | None) -> list[LinkSetup]:
    """Ratehold alone, with guard and budget, and with packets that shrink to the link; JPEG; WebP.

    Each sends clean and attacked frames. budget: bytes, of the guard; None: no limit.
    """
    found = [LinkSetup("ratehold", "clean"), LinkSetup("ratehold", "attacked")]
    guard = Guard("auto", budget=budget)
    found += [LinkSetup("ratehold guarded", frames, guard=guard) for frames in ("clean", "attacked")]
    found += [LinkSetup("ratehold shrinking", f, guard=guard, shrink=True) for f in ("clean", "attacked")]
    for codec, quality in QUALITIES:
        found += [LinkSetup(f"{codec.name} q{quality}", f, (codec, quality)) for f in ("clean", "attacked")]
    return found


@dataclass(frozen=True)
class FrameEncoder:
    """What the device runs for one frame: image -> bytes to be sent. room: a budget that follows the link."""

    encode: Callable[[Image], bytes]
    room: LinkBudget | None = None


class Nowhere:
    """A server that answers at once, without decoding or classifying: it flatters JPEG and WebP."""

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        """An answer without classes, at once."""
        return ServerAnswer({})

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Arrival:
    """An answered frame: its number, bytes of its HTTP request, seconds from capture to answer, top-1."""

    number: int
    wire_bytes: int
    seconds: float
    top1: int | None


def open_encoder(setup: LinkSetup, bundle: Bundle, threads: int) -> FrameEncoder:
    """The encoder of a setup, warm."""
    if setup.codec is not None:
        codec, quality = setup.codec
        return FrameEncoder(lambda image: codec.encode(bundle.manifest.preprocess.square(image), quality))
    head = Head(bundle, EngineOptions(threads=threads), guard=setup.guard)
    head.warm_up()
    if not setup.shrink:
        return FrameEncoder(lambda image: head.encode(image).to_bytes())
    room = LinkBudget(BudgetRange.of(head))

    def encode(image: Image) -> bytes:
        room.captured(time.perf_counter())
        head.limit(room.bytes)
        return head.encode(image).to_bytes()

    return FrameEncoder(encode, room)


def run(
    encoder: FrameEncoder,
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
    InFlightWindow(len(links))
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
            top1 = next(iter(delivery.answer.tensors.get("top_classes", ())), None)
            arrivals.append(Arrival(number, wire_bytes(identity, data), now - captured, top1))
        return RoundTrip(len(data), now - begin) if delivery.attempts == 1 else None

    camera, lock = threading.Thread(target=capture), threading.Lock()
    camera.start()
    send_all(senders, window, buffer.get, send)
    camera.join()
    if failures:
        raise failures[0]
    return arrivals


@dataclass(frozen=True)
class Camera:
    """What all setups share: pace, number of frames, frames on their way at most, threads of the device."""

    fps: float
    frames: int
    in_flight: int
    threads: int


@dataclass(frozen=True)
class LinkRow:
    """One setup over one link; times and sizes are None where no frame was answered.

    agreement: share of answered frames with the class of the clean frame; None where that is not known.
    """

    link: str
    variant: str
    frames: str
    kbit_s: float
    captured: int
    answered: int
    wire_bytes_mean: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    goodput_fps: float
    agreement: float | None


def measure(
    setup: LinkSetup,
    link: str,
    images: list[Image],
    expected: list[int],
    bundle: Bundle,
    address: Address,
    camera: Camera,
) -> LinkRow:
    """The row of one setup over one link, described like ``250kbit,80ms,1%loss``.

    expected: top-1 of the same frames, clean; empty where it is not known.
    """
    ours, conditions = setup.codec is None, Conditions.of(link)
    links: list[Link] = [Connection(address) if ours else Nowhere() for _ in range(camera.in_flight)]
    encoder = open_encoder(setup, bundle, camera.threads)
    begin = time.perf_counter()
    arrivals = run(encoder, images, links, conditions, camera.fps, camera.frames)
    elapsed = time.perf_counter() - begin
    for connection in links:
        connection.close()
    seconds = [arrival.seconds for arrival in arrivals]
    known = [arrival for arrival in arrivals if expected and arrival.top1 is not None]
    agree = [arrival.top1 == expected[arrival.number % len(expected)] for arrival in known]
    return LinkRow(
        link=link,
        variant=setup.name,
        frames=setup.frames,
        kbit_s=conditions.kbit_s,
        captured=camera.frames,
        answered=len(arrivals),
        wire_bytes_mean=float(np.mean([arrival.wire_bytes for arrival in arrivals])) if arrivals else None,
        latency_p50_ms=1e3 * float(np.quantile(seconds, 0.5)) if arrivals else None,
        latency_p95_ms=1e3 * float(np.quantile(seconds, 0.95)) if arrivals else None,
        goodput_fps=len(arrivals) / elapsed,
        agreement=float(np.mean(agree)) if agree else None,
    )
