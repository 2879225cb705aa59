"""``python -m runtime stream`` against servers that are killed, half-open, slow, or want certificates."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trustme

from runtime.bundle import load
from runtime.cli.main import main
from runtime.head import Head
from runtime.pictures import read_image
from runtime.tail import Tail
from tests.runtime.streaming.server_process import ROOT, ServerProcess

Serve = Callable[..., ServerProcess]
FRAMES = 'ratehold_frames_total{bundle="tiny-fp",coarser="false",defended="false",rate_controlled="false"}'


def stream(source: Path, to: str, bundle: Path, log: Path, *more: str) -> int:
    command = ["stream", "--source", str(source), "--to", to, "--bundle", str(bundle), "--log", str(log)]
    return main([*command, "--guard", "never", *more])


def events(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def in_background(function: Callable[..., int], *arguments: Any) -> tuple[threading.Thread, list[int]]:
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(function(*arguments)), daemon=True)
    thread.start()
    return thread, status


def in_order(answered: list[dict[str, Any]], in_flight: int) -> list[str]:
    """Names of answered frames, as they were captured where several were on their way at a time."""
    names = [str(event["frame"]) for event in answered]
    return names if in_flight == 1 else sorted(names)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_frame_is_answered_once(
    serve: Serve,
    pictures: Path,
    tiny_bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server, log = serve(), tmp_path / "client.jsonl"
    (pictures / "3.png").write_bytes(b"broken")
    assert stream(pictures, server.address, tiny_bundles["fp"], log) == 0
    bundle, seen = load(tiny_bundles["fp"]), events(log)
    head, tail = Head(bundle), Tail(bundle)
    assert {event["frame"] for event in seen if event["event"] == "unreadable"} == {"3.png"}
    answered = [event for event in seen if event["event"] == "answered"]
    assert in_order(answered, 4) == [f"{n}.png" for n in (0, 1, 2, 4, 5)]
    for event in answered:
        packet = head.encode(read_image(pictures / event["frame"])).to_bytes()
        assert event["bytes"] == len(packet) and event["attempts"] == 1 and event["ms"] > 0
        assert event["classes"] == np.argsort(-tail.decode(packet))[:5].tolist()
    assert server.metrics()[FRAMES] == 5
    assert "6 captured, 5 answered, 1 unreadable" in capsys.readouterr().err


def test_a_source_of_which_nothing_can_be_read_is_a_failure(
    pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in pictures.iterdir():
        path.write_bytes(b"broken")
    log = tmp_path / "client.jsonl"
    assert stream(pictures, "127.0.0.1:9", tiny_bundles["fp"], log) == 1
    assert [event["event"] for event in events(log)] == 6 * ["unreadable"]
    assert "none of 6 captured frames can be read" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_server_that_is_killed_and_returns(
    serve: Serve, pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path, in_flight: int
) -> None:
    first, log = serve(), tmp_path / "client.jsonl"
    more = ["--fps", "8", "--in-flight", str(in_flight)]
    thread, status = in_background(stream, pictures, first.address, tiny_bundles["fp"], log, *more)
    until(lambda: log.exists() and len(events(log)) >= 2)
    first.kill()
    time.sleep(0.3)
    back = time.monotonic()
    second = serve(first.port)
    thread.join(20)
    assert time.monotonic() - back < 15 and status == [0]
    answered = [event for event in events(log) if event["event"] == "answered"]
    assert in_order(answered, in_flight) == [f"{n}.png" for n in range(6)]
    assert len({event["id"] for event in answered}) == 6
    assert 1 <= second.metrics()[FRAMES] <= 4
    assert max(event["attempts"] for event in answered) > 1


class LossyProxy:
    """Passes connections on to a server, and loses some answers: the server has decoded, the client waits.

    half_open: it keeps silent, as a link does that went away; otherwise it closes.
    """

    def __init__(self, server: ServerProcess, lost: set[int], half_open: bool):
        self._server, self._lost, self._half_open = server, lost, half_open
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.answers = 0
        self._silent: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for connection in [self._listener, *self._silent]:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        upstream = socket.create_connection(("127.0.0.1", self._server.port))
        threading.Thread(target=self._up, args=(client, upstream), daemon=True).start()
        try:
            while data := upstream.recv(1 << 16):
                self.answers += 1
                if self.answers in self._lost:
                    if self._half_open:
                        self._silent.append(client)
                        return
                    break
                client.sendall(data)
        except OSError:
            pass
        client.close()

    @staticmethod
    def _up(client: socket.socket, upstream: socket.socket) -> None:
        try:
            while data := client.recv(1 << 16):
                upstream.sendall(data)
        except OSError:
            pass
        upstream.close()


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize("half_open", [False, True])
def test_lost_answers_are_asked_for_again_and_counted_once(
    serve: Serve,
    pictures: Path,
    tiny_bundles: dict[str, Path],
    tmp_path: Path,
    half_open: bool,
    in_flight: int,
) -> None:
    server, log = serve(), tmp_path / "client.jsonl"
    proxy = LossyProxy(server, {1, 3, 4}, half_open)
    more = ["--timeout", "0.3", "--in-flight", str(in_flight)]
    assert stream(pictures, proxy.address, tiny_bundles["fp"], log, *more) == 0
    proxy.close()
    answered = [event for event in events(log) if event["event"] == "answered"]
    assert in_order(answered, in_flight) == [f"{n}.png" for n in range(6)]
    assert sum(event["attempts"] for event in answered) == 9
    counted = server.metrics()
    assert counted[FRAMES] == 6 and counted["ratehold_repeated_requests_total"] == 3


def test_a_slow_link_drops_the_oldest_and_says_so(
    serve: Serve,
    pictures: Path,
    tiny_bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server, log = serve(), tmp_path / "client.jsonl"
    proxy = LossyProxy(server, {1}, half_open=True)  # nothing moves for 0.5 s
    more = ["--timeout", "0.5", "--policy", "drop-oldest", "--buffer", "2", "--in-flight", "1"]
    assert stream(pictures, proxy.address, tiny_bundles["fp"], log, *more) == 1
    proxy.close()
    by_event: dict[str, list[str]] = {"answered": [], "dropped": []}
    for event in events(log):
        by_event[event["event"]].append(event["frame"])
    assert by_event["answered"][-2:] == ["4.png", "5.png"] and len(by_event["dropped"]) >= 3
    assert sorted(by_event["answered"] + by_event["dropped"]) == [f"{n}.png" for n in range(6)]
    said, dropped = capsys.readouterr().err, len(by_event["dropped"])
    assert f"{dropped} dropped" in said and f"{dropped} captured frames have no answer" in said
    assert server.metrics()[FRAMES] == len(by_event["answered"])


def test_a_wrong_bundle_is_refused_and_said(
    serve: Serve,
    pictures: Path,
    robust_bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server, log = serve(), tmp_path / "client.jsonl"
    assert stream(pictures, server.address, robust_bundles["fp"], log) == 1
    assert {event["event"] for event in events(log)} == {"refused"}
    assert "packet of bundle" in events(log)[0]["error"]
    said = capsys.readouterr().err
    assert "6 captured, 0 answered, 6 refused" in said and "the server refused 6 frames" in said


def test_a_full_disk_for_the_log_stops_nothing(
    serve: Serve, pictures: Path, tiny_bundles: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    assert stream(pictures, server.address, tiny_bundles["fp"], Path("/dev/full")) == 0
    assert "6 log lines lost" in capsys.readouterr().err
    assert server.metrics()[FRAMES] == 6


def test_a_client_that_is_killed_leaves_the_server_well(
    serve: Serve, pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    server, log = serve(), tmp_path / "client.jsonl"
    command = [sys.executable, "-m", "runtime", "stream", "--source", str(pictures), "--to", server.address]
    command += ["--bundle", str(tiny_bundles["fp"]), "--log", str(log), "--fps", "10"]
    client = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    until(lambda: log.exists() and len(events(log)) >= 1, 20)
    client.kill()
    client.wait()
    assert stream(pictures, server.address, tiny_bundles["fp"], tmp_path / "next.jsonl") == 0
    assert 6 < server.metrics()[FRAMES] <= 12


def test_sigterm_drains_and_ends_well(serve: Serve) -> None:
    server = serve()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert [event["event"] for event in events(server.log)] == ["listening", "draining", "stopped"]


def test_mutual_tls_end_to_end(
    serve: Serve,
    pictures: Path,
    tiny_bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ca, key, chain = tmp_path / "ca.pem", tmp_path / "key.pem", tmp_path / "chain.pem"
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(ca))
    issued.private_key_pem.write_to_path(str(key))
    issued.cert_chain_pems[0].write_to_path(str(chain))
    tls = ["--tls-cert", str(chain), "--tls-key", str(key)]
    server, log = serve(0, *tls, "--tls-client-ca", str(ca)), tmp_path / "client.jsonl"
    to, bundle = f"https://{server.address}", tiny_bundles["fp"]
    assert stream(pictures, to, bundle, log, "--tls-ca", str(ca), *tls) == 0
    assert len(events(log)) == 6
    assert (
        stream(pictures, to, bundle, tmp_path / "none") == 1
    )  # an authority that this machine does not know
    assert "do not trust each other" in capsys.readouterr().err
    command = [sys.executable, "-m", "runtime", "stream", "--source", str(pictures), "--to", to]
    command += ["--bundle", str(bundle), "--tls-ca", str(ca)]  # no certificate of its own
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as stranger:
        assert stranger.stdout is not None and stranger.stderr is not None
        assert b"does it want a client's certificate?" in stranger.stderr.readline()
        stranger.kill()
        assert stranger.stdout.read() == b""


def test_mistakes_are_one_line(pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    bundle = tiny_bundles["fp"]
    for source, to, more in (
        (tmp_path / "none", "edge", []),
        (pictures, "ftp://edge", []),
        (pictures, "edge", ["--buffer", "0"]),
        (pictures, "edge", ["--fps", "0"]),
        (pictures, "edge", ["--in-flight", "0"]),
        (pictures, "edge", ["--in-flight", "99999999"]),
        (pictures, "edge", ["--timeout", "nan"]),
        (pictures, "edge", ["--timeout", "inf"]),
        (pictures, "edge", ["--timeout", "1e10"]),
        (pictures, "edge", ["--fps", "1e-9"]),
        (pictures, "edge", ["--fps", "inf"]),
        (pictures, "edge", ["--drain", "-1"]),
        (pictures, "edge", ["--dashboard", "-1"]),
        (pictures, "edge", ["--dashboard", "99999"]),
    ):
        assert stream(source, to, bundle, tmp_path / "log", *more) == 1
        message = capsys.readouterr().err
        assert message.startswith("ratehold stream: ") and message.count("\n") == 1
