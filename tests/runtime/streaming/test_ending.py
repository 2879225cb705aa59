"""How a client ends: told to, by a failure, or with a source that does not return."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from runtime.bundle import load
from runtime.errors import StreamError
from runtime.head import Head
from runtime.json_log import JsonLog
from runtime.streaming import pipeline as module
from runtime.streaming.buffer import Buffer
from runtime.streaming.connection import ServerAnswer
from runtime.streaming.pipeline import StreamPipeline
from runtime.streaming.sender import Ending, Sender
from runtime.streaming.source import Shot, paced
from runtime.streaming.spool import Encoded
from tests.runtime.streaming.server_process import ROOT
from tests.tiny_bundle import tiny_images


class Server:
    """A link that answers once ``open`` is set, or fails."""

    def __init__(self, failure: Exception | None = None):
        self.open, self.failure = threading.Event(), failure

    def infer(self, identity: str, packet: bytes) -> ServerAnswer:
        if self.failure is not None:
            raise self.failure
        if not self.open.wait(0.02):
            raise TimeoutError
        return ServerAnswer({"top_classes": [1], "top_probabilities": [1.0]})

    def close(self) -> None:
        pass


def camera(release: threading.Event | None = None) -> Iterator[Shot]:
    """Frames without end; after the third it returns none until it is released."""
    image = tiny_images(1)[0]
    for number in range(10**6):
        if number == 3 and release is not None:
            release.wait(20)
        yield Shot(str(number), partial(lambda it: it, image))


Build = Callable[..., StreamPipeline]


@pytest.fixture
def build(tiny_bundles: dict[str, Path], tmp_path: Path) -> Build:
    def begin(frames: Iterator[Shot], link: Server, drain: float, senders: int = 2) -> StreamPipeline:
        buffer: Buffer[Encoded] = Buffer(4, "block")
        ending = Ending()
        sending = [Sender(link, ended=ending.now) for _ in range(senders)]
        head, log = Head(load(tiny_bundles["fp"])), JsonLog(tmp_path / "log")
        return StreamPipeline(frames, head, sending, buffer, log, ending=ending, drain=drain)

    return begin


def client_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name in ("encode", "send", "stop")]


def in_background(pipeline: StreamPipeline) -> threading.Thread:
    thread = threading.Thread(target=pipeline.run, daemon=True)
    thread.start()
    return thread


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_captured_is_still_sent(build: Build) -> None:
    link = Server()
    pipeline = build(camera(), link, drain=20.0)
    run = in_background(pipeline)
    until(lambda: pipeline.totals.captured >= 5)
    pipeline.stop()
    time.sleep(0.05)
    assert run.is_alive()
    link.open.set()
    run.join(10)
    totals = pipeline.totals
    assert totals.answered == totals.captured >= 5 and not totals.unanswered and not client_threads()


def test_draining_has_an_end_and_what_is_lost_is_counted(build: Build, tmp_path: Path) -> None:
    pipeline = build(camera(), Server(), drain=0.1)
    run, begin = in_background(pipeline), time.monotonic()
    until(lambda: pipeline.totals.captured >= 5)
    pipeline.stop()
    run.join(10)
    assert time.monotonic() - begin < 5 and not client_threads()
    assert pipeline.totals.unanswered == pipeline.totals.captured >= 5
    pipeline._log.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["unanswered"] * pipeline.totals.captured


def test_the_second_time_it_ends_at_once(build: Build) -> None:
    pipeline = build(camera(), Server(), drain=1e6)
    run = in_background(pipeline)
    until(lambda: pipeline.totals.captured >= 3)
    pipeline.stop()
    pipeline.stop()
    run.join(5)
    assert not run.is_alive() and not client_threads()


def test_told_before_it_begins_it_captures_nothing(build: Build) -> None:
    pipeline = build(camera(), Server(), drain=0.1)
    pipeline.stop()
    in_background(pipeline).join(5)
    assert pipeline.totals.captured <= 1 and not client_threads()


def test_a_slow_pace_does_not_hold_it_up(build: Build) -> None:
    pipeline = build(camera(), Server(), drain=5.0)
    pipeline._frames = paced(camera(), 0.01, pipeline._ending.soon.wait)
    for sender in pipeline._senders:
        sender._link.open.set()  # type: ignore[attr-defined]
    run = in_background(pipeline)
    until(lambda: pipeline.totals.answered == 1)
    pipeline.stop()
    run.join(3)
    assert not run.is_alive() and not pipeline.stuck and not client_threads()


def test_a_source_that_does_not_return_is_left_alone(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOURCE_SECONDS", 0.05)
    release, link = threading.Event(), Server()
    link.open.set()
    pipeline = build(camera(release), link, drain=20.0)
    run = in_background(pipeline)
    until(lambda: pipeline.totals.answered == 3)
    pipeline.stop()
    run.join(5)
    assert not run.is_alive() and pipeline.stuck and client_threads() == ["encode"]
    release.set()
    until(lambda: not client_threads())
    assert pipeline.totals.captured == pipeline.totals.answered == 3


@pytest.mark.parametrize("failure", [StreamError("no trust"), ZeroDivisionError()])
def test_no_thread_outlives_a_failure(build: Build, failure: Exception) -> None:
    """A thread inside a library when the interpreter ends would abort the process."""
    pipeline = build(camera(), Server(failure), drain=5.0)
    with pytest.raises(type(failure)):
        pipeline.run()
    assert not client_threads() and not pipeline.stuck
    assert pipeline.totals.captured > pipeline.totals.unanswered


def test_a_source_that_fails_is_raised_after_its_frames_are_sent(build: Build) -> None:
    def breaks() -> Iterator[Shot]:
        frames = camera()
        yield next(frames)
        yield next(frames)
        raise StreamError("the camera is gone")

    link = Server()
    link.open.set()
    pipeline = build(breaks(), link, drain=0.0)
    with pytest.raises(StreamError, match="camera is gone"):
        pipeline.run()
    assert pipeline.totals.answered == 2 and not client_threads()


def test_sigterm_while_opening_ends_it_even_as_process_1(
    tiny_bundles: dict[str, Path], pictures: Path
) -> None:
    """Process 1 gets no signal that it does not handle."""
    code = (
        "import signal, os, sys\n"
        "from runtime.cli import stream\n"
        "from runtime.cli.main import main\n"
        "stream._check = lambda _: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.exit(main(['stream', '--source', {str(pictures)!r}, '--to', 'edge']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 130 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "ratehold stream: stopped"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.slow
def test_a_source_that_hangs_does_not_keep_the_command(tiny_bundles: dict[str, Path], tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from runtime.cli.main import main\n"
        "from runtime.streaming import source\n"
        "def hangs(_):\n"
        "    print('open', flush=True)\n"
        "    time.sleep(60)\n"
        "    yield\n"
        "source.shots = hangs\n"
        f"log, bundle = {str(tmp_path / 'log')!r}, {str(tiny_bundles['fp'])!r}\n"
        "words = ['stream', '--source', 'x', '--to', '127.0.0.1:9', '--log', log, '--bundle', bundle]\n"
        "sys.exit(main([*words, '--guard', 'never']))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None and client.stdout.readline() == "open\n"
        client.send_signal(signal.SIGTERM)
        _, said = client.communicate(timeout=20)
    assert client.returncode == 0 and "Traceback" not in said
    assert said.splitlines() == [
        "ratehold: 0 captured, 0 answered, 0 bytes a frame",
        "ratehold: the source does not return: it is left alone",
    ]
