"""The page in a browser: what it draws, and what it does not let in."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from runtime.bundle import load
from runtime.dashboard.history import History, Shown
from runtime.dashboard.listener import Listener
from runtime.streaming.connection import Address, Connection
from tests.runtime.dashboard.conftest import HOSTILE
from tests.runtime.serving.running import Running

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--window-size=1360,1000",
    "--enable-logging=stderr", "--virtual-time-budget=2000",
)  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")


def visit(url: str, folder: Path, *more: str) -> tuple[str, list[str]]:
    """The document after two seconds, and what the browser's console had to say."""
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={folder / 'profile'}", *more, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]


def inside(document: str, identity: str) -> str:
    """The text of an element."""
    (found,) = re.findall(rf'id="{identity}"[^>]*>([^<]*)<', document)
    return unescape(found)


def test_the_page_of_a_device(device: Listener, tmp_path: Path) -> None:
    document, console = visit(device.url, tmp_path, "--dump-dom")
    assert console == []
    assert (inside(document, "role"), inside(document, "bundles")) == ("device", "tiny-mshp-robust")
    assert (inside(document, "frames"), inside(document, "defended")) == ("5", "20 %")
    assert inside(document, "class") == "thing 3" and inside(document, "pictured") == "noise.png"
    bars = re.findall(r'<rect class="(\w+)"', document.partition('id="latency-chart"')[0])
    assert [bars.count(kind) for kind in ("plain", "defended", "refused")] == [3, 1, 1]
    assert [bars.count(kind) for kind in ("ordinary", "suspicious")] == [4, 1]
    legend = re.findall(r"</i>([^<]*)<", document.partition('id="bytes-legend"')[2].partition("</ul>")[0])
    assert legend[:3] == ["plain", "defended", "refused"]
    captions = re.findall(r"<figcaption>(\w+)<small>([^<]*)", document)
    assert [title for title, _ in captions] == ["frame", "mask", "denoised", "bits"]
    assert captions[0][1].endswith("suspicious") and document.count("data:image/png") == 4
    stages = unescape(re.sub(r"<[^>]*>", "", document.partition('id="stages"')[2].partition("</ul>")[0]))
    order = [stages.index(stage) for stage in ("preprocess", "mask", "denoise", "encode", "link and server")]
    assert order == sorted(order)
    rows = document.partition('id="latest"')[2].count("<tr")
    assert rows == 5
    assert inside(document, "fitted") == "0 %" and '<section id="empty" class="panel" hidden' in document


def test_the_line_of_the_budget(robust_bundles: dict[str, Path], tmp_path: Path) -> None:
    history = History("device", [load(robust_bundles["mshp"])])
    for number, budget in enumerate((150, 150, None, 120)):
        rung = "plain" if budget is None else "fitted"
        history.add(
            Shown(str(number), "tiny", 100, rung, False, rung, {"head": 1.0}, (), before=200, budget=budget)
        )
    listener = Listener(0, lambda cursor: history.state(cursor) | {"pictures": None})
    try:
        document, console = visit(listener.url, tmp_path, "--dump-dom")
    finally:
        listener.close()
    assert console == []
    (path,) = re.findall(r'<path class="budget" d="([^"]*)"', document)
    assert (path.count("M"), path.count("L"), path.count("H")) == (2, 1, 3)  # no budget, no line
    assert (inside(document, "fitted"), inside(document, "fitted-note")) == ("75 %", "budget 120 B")
    assert "budget <b>120</b>" in document and "without guard</li>" in document


@pytest.mark.parametrize("whose", ["device", "tail server"])
def test_an_empty_page_says_what_to_run(whose: str, robust_bundles: dict[str, Path], tmp_path: Path) -> None:
    history = History(whose, [load(robust_bundles["mshp"])])
    listener = Listener(0, lambda cursor: history.state(cursor) | {"pictures": None})
    try:
        document, console = visit(listener.url.removesuffix("dashboard"), tmp_path, "--dump-dom")
    finally:
        listener.close()
    assert console == [] and '<div id="full" hidden' in document
    address = listener.url.removesuffix("/dashboard")
    assert (
        inside(document, "empty-command")
        == {
            "device": "ratehold serve --bundle tiny-mshp-robust",
            "tail server": f"ratehold stream --source FOLDER --to {address} --bundle tiny-mshp-robust",
        }[whose]
    )


def test_a_name_that_is_html_stays_a_name(device: Listener, tmp_path: Path) -> None:
    document, console = visit(device.url, tmp_path, "--dump-dom")
    assert console == []  # as HTML, the policy of the page would have blocked it, and said so
    assert '<img src="x"' not in document and "<title>ratehold</title>" in document
    assert HOSTILE in unescape(document)


def test_the_page_of_a_server(
    open_server: Callable[..., Running], packets: list[bytes], tmp_path: Path
) -> None:
    server = open_server(dashboard=True)
    client = Connection(Address.of(server.http, 5.0))
    for number, packet in enumerate(packets):
        client.infer(f"camera-{number}", packet)
    client.close()
    shot = tmp_path / "page.png"
    document, console = visit(
        f"http://{server.http}/dashboard", tmp_path, "--dump-dom", f"--screenshot={shot}"
    )
    assert console == []
    assert (inside(document, "role"), inside(document, "frames")) == ("tail server", "2")
    assert "defended, coarseness 4, rate controlled" in document and "camera-1" in document
    captions = re.findall(r"<figcaption>(\w+)<small>", document)
    assert captions == ["likelihood", "bits"]
    assert shot.stat().st_size > 10_000
