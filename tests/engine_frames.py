"""What serving engines are sent in their tests: packets of every kind, damaged ones, and a stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.serve.kills import Client, account
from runtime.bundle import load
from runtime.codec.packet import Flags, Packet
from runtime.guard import Guard
from runtime.guard.defence import Defence
from runtime.head import Head
from runtime.streaming.connection import Address
from tests.tiny_bundle import tiny_images


def frames(path: Path, count: int) -> list[bytes]:
    """Packets of a bundle: plain, under a budget that some frames meet by coarser steps, and defended."""
    bundle = load(path)
    plain = Head(bundle)
    images = tiny_images(count)
    sizes = [len(plain.encode(image).to_bytes()) for image in images]
    heads = [
        plain,
        Head(bundle, guard=Guard("never", budget=int(np.median(sizes)))),
        Head(bundle, guard=Guard("always", Defence(rate_control=0.0))),
    ]
    found = [heads[number % 3].encode(image) for number, image in enumerate(images)]
    if count >= 30:
        assert any(packet.coarseness for packet in found)
        assert any(Flags.DENOISED in packet.flags for packet in found)
    return [packet.to_bytes() for packet in found]


def damaged(path: Path, count: int) -> list[bytes]:
    """What is no packet of a bundle: flipped bits, missing and further bytes, noise, foreign bundles."""
    rng, good = np.random.default_rng(5), frames(path, 8)
    found = []
    for number in range(count):
        packet = bytearray(good[number % len(good)])
        place = int(rng.integers(len(packet)))
        kind = number % 5
        if kind == 0:
            packet[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del packet[place:]
        elif kind == 2:
            packet[place:place] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 3:
            packet = bytearray(rng.bytes(int(rng.integers(0, 200))))
        else:
            parsed = Packet.from_bytes(bytes(packet), 1 << 20)
            packet = bytearray(Packet(rng.bytes(8), parsed.flags, parsed.payload).to_bytes())
        found.append(bytes(packet))
    return found


def square(path: Path) -> list[NDArray[np.uint8]]:
    """Images as the bundle's head takes them."""
    bundle = load(path)
    return [bundle.manifest.preprocess.square(image) for image in tiny_images(6)]


def stream_through(
    port: int, model: str, path: Path, folder: Path, trouble: Callable[[], None]
) -> dict[str, Any]:
    """Stream with a spool while there is trouble; counts of ``bench.serve.kills.account``."""
    address = Address("127.0.0.1", port, 10.0)
    client = Client(folder / "client", load(path), address, square(path), "--model", model)
    try:
        trouble()
        client.finish()
    finally:
        client.kill()
    return account(client)
