"""Lines that reach the disk, and those that do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runtime import json_log
from runtime.json_log import WAITING, JsonLog

ROOT = Path(__file__).parents[2]

FILL = """
import resource, sys, time
from pathlib import Path
from runtime.json_log import JsonLog
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # the disk is full after 1,000 bytes
log = JsonLog(Path(sys.argv[1]))
for number in range(100):
    log("line", number=number)
while log.waiting:
    time.sleep(0.01)
time.sleep(0.1)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log("room again")
log.close()
Path(sys.argv[2]).write_text(str(log.lost))
"""


def test_each_line_is_an_object(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "log")
    for number in range(3):
        log("counted", number=number, path=tmp_path, text='"\\\n')
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["number"] for line in lines] == [0, 1, 2] and log.lost == 0
    assert all(line["path"] == str(tmp_path) and line["text"] == '"\\\n' for line in lines)


def test_a_disk_that_fills_up_costs_lines_that_are_counted(tmp_path: Path) -> None:
    log, told = tmp_path / "log", tmp_path / "lost"
    subprocess.run([sys.executable, "-c", FILL, str(log), str(told)], cwd=ROOT, check=True, timeout=60)
    *whole, torn, last = log.read_bytes().splitlines()
    assert sum(len(line) + 1 for line in [*whole, torn]) == 1001 and torn  # its end is not there
    assert [json.loads(line)["number"] for line in whole] == list(range(len(whole)))
    assert int(told.read_text()) == 100 - len(whole) and json.loads(last)["event"] == "room again"


def test_a_reader_that_sleeps_stops_nothing() -> None:
    reader, writer = os.pipe()
    log = JsonLog(writer)
    for number in range(WAITING + 5000):
        log("line", number=number, padding="x" * 100)
    lost = log.lost
    assert lost > 0
    read = bytearray()
    thread = threading.Thread(
        target=lambda: [read.extend(more) for more in iter(lambda: os.read(reader, 1 << 16), b"")],
        daemon=True,
    )
    thread.start()
    log.close()
    os.close(writer)
    thread.join(5)
    os.close(reader)
    assert read.count(b"\n") == WAITING + 5000 - lost


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_that_strangers_cause_are_cut_and_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [10.0]
    monkeypatch.setattr(json_log.time, "monotonic", lambda: now[0])
    log = JsonLog(tmp_path / "log")
    for number in range(100):
        log.seldom("refused", "a", number=number, error="x" * 10_000)
    log.seldom("refused", "b")
    now[0] = 11.0
    log.seldom("refused", "a", number=100)
    log.seldom("refused", "a", number=101)
    monkeypatch.undo()
    log.close()
    lines = read(tmp_path / "log")
    numbers = [line["number"] for line in lines if line["kind"] == "a"]
    assert numbers == [*range(json_log.A_SECOND), 100, 101]
    assert [line.get("left_out") for line in lines[-3:]] == [None, 100 - json_log.A_SECOND, None]
    assert max(len(str(line)) for line in lines) < json_log.TEXT + 200


def test_what_waits_is_bounded_in_bytes() -> None:
    reader, writer = os.pipe()
    log = JsonLog(writer)
    log("line", padding="x" * (json_log.LINE + 1))
    assert log.lost == 1
    for _ in range(200):
        log("line", padding="x" * (json_log.LINE - 100))
    assert log.lost > 100 and log._waiting_bytes <= json_log.WAITING_BYTES
    os.close(reader)  # the writer gets an error for each line, and goes on
    log.close()
    os.close(writer)


def test_a_file_is_turned_over_and_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = JsonLog(path, file_bytes=200)
    for number in range(10):
        log("line", number=number)
    log.close()
    kept = [*read(tmp_path / "log.1"), *read(path)]
    assert kept[-1]["number"] == 9 and 2 < len(kept) < 10 and log.lost == 0
    assert path.stat().st_size < 300
    log = JsonLog(path)
    path.replace(tmp_path / "moved")
    log.reopen()
    log("after")
    log.close()
    assert [line["event"] for line in read(path)] == ["after"]
