"""The options of the command line reach what they are for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import runtime.serving.server
from runtime.cli.main import main
from tests.runtime.serving.running import Running
from tests.tiny_bundle import tiny_images

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("words", "expected"), [((), (False, False)), (("--dashboard", "--otel"), (True, True))]
)
def test_serve(
    words: tuple[str, ...],
    expected: tuple[bool, bool],
    tiny_bundles: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(runtime.serving.server, "run", lambda options, log: asked.append(options))
    assert main(["serve", "--bundle", str(tiny_bundles["fp"]), *words]) == 0
    (options,) = asked
    assert (options.dashboard, options.otel) == expected


def test_stream(
    open_server: Callable[..., Running],
    tiny_bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = open_server(dashboard=True)
    Image.fromarray(tiny_images(1)[0]).save(tmp_path / "0.png")
    command = ["stream", "--source", str(tmp_path), "--to", server.http, "--bundle", str(tiny_bundles["fp"])]
    command += ["--log", str(tmp_path / "log.jsonl"), "--guard", "never"]
    assert main([*command, "--model", "tiny-fp", "--dashboard", "0"]) == 0
    assert "ratehold: http://127.0.0.1:" in capsys.readouterr().err
    assert main([*command, "--model", "tiny-mshp"]) == 1  # another bundle's model refuses the packet
    assert main([*command, "--dashboard", server.http.rpartition(":")[2]]) == 1
    assert "cannot listen" in capsys.readouterr().err


def test_a_server_prints_the_address_of_its_page(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runtime", "serve", "--bundle", str(tiny_bundles["fp"]), "--dashboard"]
    command += ["--http-port", "0", "--grpc-port", "0", "--log", str(tmp_path / "log.jsonl")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = server.stderr.readline().strip()
        server.terminate()
    listening = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert said == f"ratehold: http://127.0.0.1:{listening['http_port']}/dashboard"
