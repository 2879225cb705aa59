"""Servers that can be killed, and something to send to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.runtime.streaming.server_process import ServerProcess
from tests.tiny_bundle import tiny_images


@pytest.fixture
def serve(tiny_bundles: dict[str, Path], tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts server processes; arguments are those of the command."""
    started = []

    def begin(http_port: int = 0, *arguments: str) -> ServerProcess:
        bundles = list(tiny_bundles.values())
        started.append(ServerProcess(bundles, tmp_path / "server.jsonl", http_port, *arguments))
        return started[-1]

    yield begin
    for server in started:
        server.kill()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of six images."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, image in enumerate(tiny_images(6)):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder
