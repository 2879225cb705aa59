"""A device's page and a server's, each with frames in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import load
from runtime.dashboard.listener import Listener
from runtime.guard import Guard
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.serving.options import Options
from runtime.streaming.buffer import Buffer
from runtime.streaming.connection import Refused, ServerAnswer
from runtime.streaming.dashboard import DeviceView
from runtime.streaming.pipeline import StreamPipeline
from runtime.streaming.sender import Sender
from runtime.streaming.source import Shot
from runtime.streaming.spool import Encoded
from tests.runtime.serving.running import Running
from tests.tiny_bundle import tiny_images

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>.png"


class Server:
    """Answers at once, but refuses the frame whose number ends in 2."""

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        if identity.endswith("-2"):
            raise Refused("400 not today")
        return ServerAnswer({"top_classes": [3, 1, 99], "top_probabilities": [0.5, float("nan"), 0.25]})

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def device(robust_bundles: dict[str, Path], tmp_path: Path) -> Iterator[Listener]:
    """Ordinary frames, one refused, one with a name that is HTML, and a suspicious one at the end."""
    bundle, guard = load(robust_bundles["mshp"]), Guard("auto")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    images = [*tiny_images(3), tiny_images(1)[0], noise]
    names = ["0.png", "1.png", "2.png", HOSTILE, "noise.png"]

    def shot(name: str, image: np.ndarray) -> Shot:  # type: ignore[type-arg]
        return Shot(name, lambda: image)

    log, view = JsonLog(tmp_path / "log.jsonl"), DeviceView(bundle, guard)
    buffer: Buffer[Encoded] = Buffer(4, "block")
    frames = iter([shot(*pair) for pair in zip(names, images, strict=True)])
    pipeline = StreamPipeline(frames, Head(bundle, guard=guard), [Sender(Server())], buffer, log, view=view)
    pipeline.run()
    log.close()
    listener = Listener(0, view.state)
    yield listener
    listener.close()


@pytest.fixture
def open_server(tiny_bundles: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Opens servers on free ports; keyword arguments go to ``Options``."""
    opened = []

    def begin(**options: bool) -> Running:
        chosen = Options(tuple(tiny_bundles.values()), http_port=0, grpc_port=0, drain=5.0, **options)
        opened.append(Running(chosen, tmp_path / "log.jsonl"))
        return opened[-1]

    yield begin
    for server in opened:
        server.stop()


@pytest.fixture(scope="session")
def packets(tiny_bundles: dict[str, Path]) -> list[bytes]:
    """One of each prior, the second one defended."""
    image = tiny_images(1)[0]
    plain = Head(load(tiny_bundles["fp"])).encode(image)
    return [
        plain.to_bytes(),
        Head(load(tiny_bundles["mshp"]), guard=Guard("always")).encode(image).to_bytes(),
    ]
