"""The JSON that the page asks for, and the headers around it, from a device and from a server."""

from __future__ import annotations

import base64
import io
import json
import socket
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from runtime.bundle import load
from runtime.dashboard.listener import Listener
from runtime.dashboard.page import HEADERS
from runtime.errors import StreamError
from runtime.guard import Guard
from runtime.head import Head
from runtime.latent import Latent
from runtime.streaming.connection import Address, Connection, Refused
from runtime.streaming.dashboard import DeviceView
from runtime.streaming.spool import Encoded
from tests.runtime.dashboard.conftest import HOSTILE
from tests.runtime.serving.running import Running
from tests.tiny_bundle import tiny_images

Open = Callable[..., Running]
PATHS = ("/dashboard", "/dashboard/page.css", "/dashboard/page.js", "/dashboard/state.json")


def ask(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(address, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, dict(answer.headers), content


def state(address: str, cursor: str = "") -> dict[str, Any]:
    status, _, content = ask(address, f"/dashboard/state.json?after={cursor}")
    assert status == 200
    found: dict[str, Any] = json.loads(content)
    return found


def pixels(found: dict[str, Any], title: str) -> np.ndarray:  # type: ignore[type-arg]
    (src,) = [picture["src"] for picture in found["pictures"] if picture["title"] == title]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2]))))


def test_a_device_tells_what_it_did_and_what_became_of_it(device: Listener) -> None:
    address = urlsplit(device.url).netloc
    found = state(address)
    frames = {frame["identity"]: frame for frame in found["frames"]}
    assert [frame["outcome"] for frame in frames.values()] == ["answered"] * 2 + ["refused"] + [
        "answered"
    ] * 2
    assert list(frames) == ["0.png", "1.png", "2.png", HOSTILE, "noise.png"]
    assert found["totals"]["answered"] == 4 and found["totals"]["refused"] == 1
    ordinary, noisy = frames["0.png"], frames["noise.png"]
    assert (ordinary["rung"], ordinary["decision"], ordinary["defended"]) == ("plain", "plain", False)
    assert (noisy["rung"], noisy["decision"], noisy["defended"]) == ("defended", "defended", True)
    assert ordinary["score"] <= 0 < noisy["score"] and ordinary["budget"] is None
    assert ordinary["top"] == [["thing 3", 0.5], ["thing 1", 0.0], ["class 99", 0.25]]
    assert frames["2.png"]["top"] == []
    assert list(noisy["milliseconds"])[:3] == ["preprocess", "head", "prior"]
    assert {"mask", "denoise", "link and server"} <= set(noisy["milliseconds"])
    assert (
        state(address, found["cursor"])["frames"] == []
        and state(address, found["cursor"])["pictures"] is None
    )


def test_a_device_shows_frame_mask_and_denoised_image(
    device: Listener, robust_bundles: dict[str, Path]
) -> None:
    found = state(urlsplit(device.url).netloc)
    assert found["pictured"] == "noise.png"
    assert [picture["title"] for picture in found["pictures"]] == ["frame", "mask", "denoised", "bits"]
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    prepared = load(robust_bundles["mshp"]).manifest.preprocess(noise)
    np.testing.assert_array_equal(
        pixels(found, "frame"), np.rint(255 * prepared[0].transpose(1, 2, 0)).astype(np.uint8)
    )
    assert pixels(found, "mask").shape == (32, 32)

    def variation(image: np.ndarray) -> float:  # type: ignore[type-arg]
        return float(np.abs(np.diff(image.astype(float), axis=0)).sum())

    assert variation(pixels(found, "denoised")) < variation(pixels(found, "frame"))


def test_a_server_tells_what_packets_report_and_where_their_bits_are(
    open_server: Open, packets: list[bytes], tiny_bundles: dict[str, Path]
) -> None:
    server = open_server(dashboard=True)
    client = Connection(Address.of(server.http, 5.0))
    for packet, identity in ((packets[1], "camera-1"), (packets[1], "camera-1"), (packets[0], "camera-2")):
        client.infer(identity, packet)  # the repetition is no frame
    with pytest.raises(Refused):
        client.infer("camera-3", b"no packet")
    client.close()
    found = state(server.http)
    first, second = found["frames"]
    assert (first["identity"], first["bundle"], first["bytes"]) == ("camera-1", "tiny-mshp", len(packets[1]))
    assert (first["rung"], first["defended"]) == ("defended", True)
    assert first["decision"] == "defended, coarseness 4, rate controlled"
    assert (second["identity"], second["defended"], second["decision"]) == ("camera-2", False, "plain")
    assert {"decode", "tail"} <= set(second["milliseconds"]) and len(second["top"]) == 5
    assert found["pictured"] == "camera-2"
    head = Head(load(tiny_bundles["fp"]))
    head.encode(tiny_images(1)[0])
    assert head.report is not None
    sent: Latent = head.report.latent  # what the device had, the server sees in the packet
    likelihood = np.rint(255 * sent.likelihood_map).astype(np.uint8)
    np.testing.assert_array_equal(pixels(found, "likelihood"), likelihood)


def test_without_the_option_there_is_no_page(open_server: Open) -> None:
    server = open_server()
    for path in ("/", *PATHS):
        assert ask(server.http, path)[0] == 404


def test_a_frame_over_its_budget_counts_as_fitted(
    open_server: Open, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    image, bundle = tiny_images(1)[0], load(tiny_bundles["fp"])
    plain = Head(bundle).encode(image)
    guard = Guard("never", budget=plain.size - 1)
    head, view = Head(bundle, guard=guard), DeviceView(bundle, guard)
    packet = head.encode(image).to_bytes()
    assert head.report is not None
    frame = Encoded("0.png", "camera-1", packet, head.report.decision.rung, 0.0)
    view.encoded(frame, image, head.report)
    view.settled(frame, "answered", {})
    told = view.state("")
    (device,) = told["frames"]
    assert (device["rung"], device["decision"], device["budget"]) == ("fitted", "fitted", plain.size - 1)
    assert (told["totals"]["fitted"], told["totals"]["defended"]) == (1, 0)
    server = open_server(dashboard=True)
    client = Connection(Address.of(server.http, 5.0))
    client.infer("camera-1", packet)
    client.close()
    found = state(server.http)
    assert found["frames"][0]["rung"] == "fitted" and found["totals"]["fitted"] == 1
    assert found["frames"][0]["decision"].startswith("fitted, coarseness ")


@pytest.mark.parametrize("whose", ["device", "server"])
def test_the_root_leads_to_the_page(whose: str, device: Listener, open_server: Open) -> None:
    address = urlsplit(device.url).netloc if whose == "device" else open_server(dashboard=True).http
    status, headers, _ = ask(address, "/")
    assert (status, headers["Location"]) == (302, "/dashboard")


def test_a_server_says_where_its_page_is(open_server: Open) -> None:
    server = open_server(dashboard=True)
    assert server.server.page_url == f"http://{server.http}/dashboard"
    assert open_server().server.page_url is None


@pytest.mark.parametrize("whose", ["device", "server"])
def test_the_page_keeps_to_itself_and_is_only_read(whose: str, device: Listener, open_server: Open) -> None:
    address = urlsplit(device.url).netloc if whose == "device" else open_server(dashboard=True).http
    for path in PATHS:
        status, headers, content = ask(address, path)
        assert status == 200 and content and HEADERS.items() <= headers.items()
        for method in ("POST", "PUT", "DELETE"):
            assert ask(address, path, method)[0] in (405, 501)
        for word in (b"http://", b"https://", b"//cdn", b"innerHTML", b"eval("):
            assert word not in content.replace(b"http://www.w3.org/2000/svg", b"")
    for path in ("/dashboard/../pyproject.toml", "/dashboard/history.py", "/dashboard/%2e%2e/errors.py"):
        assert ask(address, path)[0] == 404


def test_a_page_from_elsewhere_cannot_read_the_devices(device: Listener) -> None:
    address = urlsplit(device.url).netloc
    assert ask(address, "/dashboard/state.json", Host="evil.example:8000")[0] == 403
    assert ask(address, "/dashboard/state.json", Host=f"localhost:{address.rpartition(':')[2]}")[0] == 200


def test_the_device_listens_on_loopback_and_says_when_a_port_is_taken(device: Listener) -> None:
    assert urlsplit(device.url).hostname == "127.0.0.1"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StreamError, match="cannot listen"):
        Listener(taken.getsockname()[1], lambda _: {})
    with pytest.raises(StreamError, match="cannot listen"):
        Listener(1 << 16, lambda _: {})
