"""Whole streams to several real servers, which are killed, away, or behind one name."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from runtime.bundle import load
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming.buffer import Buffer
from runtime.streaming.connection import Connection
from runtime.streaming.pipeline import StreamPipeline
from runtime.streaming.remote.fleet import Fleet
from runtime.streaming.sender import Sender
from runtime.streaming.source import Shot
from runtime.streaming.spool import OUTCOMES, Encoded, Spool
from tests.runtime.streaming.server_process import ServerProcess
from tests.runtime.streaming.test_fleet import RECORDS, named, refuses
from tests.runtime.streaming.test_stream import FRAMES, events, stream, until
from tests.tiny_bundle import tiny_images

Serve = Callable[..., ServerProcess]


def kill_in_turns(serve: Serve, bundle: Path, folder: Path, kills: int) -> tuple[list[str], list[str]]:
    """Names of frames that were captured, and of those that were answered, while one of two servers dies.

    Each that dies returns before the other does.
    """
    servers = [serve(), serve()]
    fleet = Fleet.of(",".join(server.address for server in servers), 5.0)
    stop, captured, images = threading.Event(), [], tiny_images(10)

    def frames() -> Iterator[Shot]:
        for number in itertools.count():
            if stop.is_set():
                return
            captured.append(str(number))
            yield Shot(str(number), partial(images.__getitem__, number % len(images)))

    spool, log = Spool(folder / "spool"), JsonLog(folder / "client.jsonl")
    buffer: Buffer[Encoded] = Buffer(4, "block")
    senders = [Sender(Connection(fleet)) for _ in range(3)]
    pipeline = StreamPipeline(frames(), Head(load(bundle)), senders, buffer, log, spool)
    fleet.moved = pipeline.moved
    client = threading.Thread(target=pipeline.run, daemon=True)
    client.start()
    for number in range(kills):
        answered = pipeline.totals.answered
        until(lambda least=answered + 20: pipeline.totals.answered >= least, 60)  # type: ignore[misc]
        which = number % 2
        servers[which].kill()
        servers[which] = serve(servers[which].port)
    stop.set()
    client.join(60)
    assert not client.is_alive()
    spool.close()
    log.close()
    outcomes = [json.loads(line) for line in (folder / "spool" / OUTCOMES).read_text().splitlines()]
    assert {outcome["event"] for outcome in outcomes} == {"answered"}
    assert len({outcome["id"] for outcome in outcomes}) == len(outcomes)
    assert not list((folder / "spool").glob("*.frame"))
    return captured, [outcome["frame"] for outcome in outcomes]


def test_servers_that_are_killed_in_turns_lose_no_frame(
    serve: Serve, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    captured, answered = kill_in_turns(serve, tiny_bundles["fp"], tmp_path, 2)
    assert len(captured) >= 40 and sorted(answered) == sorted(captured)


@pytest.mark.slow
def test_twenty_kills_lose_no_frame_and_answer_none_twice(
    serve: Serve, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    captured, answered = kill_in_turns(serve, tiny_bundles["mshp"], tmp_path, 20)
    assert len(captured) >= 400 and sorted(answered) == sorted(captured)


def test_one_of_many_is_enough(
    serve: Serve, pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    server, log = serve(), tmp_path / "client.jsonl"
    to = ",".join([refuses().url, refuses().url, server.address, refuses().url])
    assert stream(pictures, to, tiny_bundles["fp"], log) == 0
    assert [event["event"] for event in events(log)] == ["answered"] * 6
    assert server.metrics()[FRAMES] == 6


def test_a_server_that_is_full_hands_frames_on_and_each_counts_once(
    serve: Serve, pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    full, other, log = serve(0, "--queue", "0"), serve(), tmp_path / "client.jsonl"
    assert stream(pictures, f"{full.address},{other.address}", tiny_bundles["fp"], log) == 0
    assert [event["event"] for event in events(log)] == ["answered"] * 6
    assert sum(server.metrics().get(FRAMES, 0) for server in (full, other)) == 6


def test_a_name_with_several_records(
    serve: Serve,
    pictures: Path,
    tiny_bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server, log = serve(), tmp_path / "client.jsonl"
    named(monkeypatch, [*RECORDS, "127.0.0.1"], "localhost")  # nobody listens at the others
    assert stream(pictures, f"localhost:{server.port}", tiny_bundles["fp"], log) == 0
    assert len(events(log)) == 6 and server.metrics()[FRAMES] == 6
    assert "trying again" not in capsys.readouterr().err


def test_the_spool_goes_on_with_whoever_is_there(
    serve: Serve, pictures: Path, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    spool, bundle, away = tmp_path / "spool", tiny_bundles["fp"], refuses()
    more = ["--spool", str(spool)]
    status: list[int] = []

    def keep() -> None:
        status.append(stream(pictures, f"{away.url},{refuses().url}", bundle, tmp_path / "first", *more))

    client = threading.Thread(target=keep, daemon=True)
    client.start()
    until(lambda: len(list(spool.glob("*.frame"))) == 6, 30)
    server = ServerProcess([bundle], tmp_path / "server.jsonl", away.port)
    client.join(30)
    assert status == [0] and server.metrics()[FRAMES] == 6
    server.kill()
    assert len((spool / OUTCOMES).read_text().splitlines()) == 6


def test_a_name_that_does_not_resolve_is_said_and_the_others_are_asked(
    serve: Serve,
    pictures: Path,
    tiny_bundles: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named(monkeypatch, [])
    server = serve()
    assert stream(pictures, f"tail.example,{server.address}", tiny_bundles["fp"], tmp_path / "log") == 0
    assert "the name tail.example does not resolve" in capsys.readouterr().err
