"""What a spool has on the disk at which moment: after a power failure only what was synced is there."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from runtime.streaming.spool import LOOK_BACK, OUTCOMES, Encoded, Spool


def frame(number: int) -> Encoded:
    return Encoded(f"picture-{number}", f"a-{number}", b"RH" + bytes(300), "plain", 0.0)


def test_a_frame_is_whole_and_synced_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``fsync`` finds is what survives: the bytes that were flushed, then the folder with the name."""
    events: list[tuple[Any, ...]] = []
    fsync, rename, replace = os.fsync, Path.rename, os.replace

    def watched_fsync(file: int) -> None:
        about = os.fstat(file)
        events.append(("folder",) if stat.S_ISDIR(about.st_mode) else ("file", about.st_size))
        fsync(file)

    def watched_rename(path: Path, target: Path) -> Path:
        events.append(("name", Path(target).name))
        return rename(path, target)

    def watched_replace(path: Any, target: Any, **more: Any) -> None:
        events.append(("name", Path(target).name))
        replace(path, target, **more)

    spool = Spool(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watched_fsync)
        patch.setattr(Path, "rename", watched_rename)
        patch.setattr(os, "replace", watched_replace)
        added = spool.add(frame(0))
    assert added.file is not None
    assert events == [("file", added.file.stat().st_size), ("name", added.file.name), ("folder",)]
    events.clear()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watched_fsync)
        spool.settle(added, {"event": "answered", "id": "a-0"})
    assert ("file", (tmp_path / OUTCOMES).stat().st_size) in events
    spool.close()


def test_the_last_outcomes_are_looked_at_however_many_there_are(tmp_path: Path) -> None:
    """A frame whose outcome is the last line of more than is read at the start is not sent again."""
    spool = Spool(tmp_path)
    first, last = spool.add(frame(0)), spool.add(frame(1))
    spool.add(frame(2))
    spool.close()
    assert first.file is not None and last.file is not None
    line = json.dumps({"event": "answered", "id": "older", "text": "x" * 1000}).encode() + b"\n"
    with (tmp_path / OUTCOMES).open("ab") as file:
        file.write(line * (LOOK_BACK // len(line) + 100))
        file.write(json.dumps({"event": "answered", "id": last.identity}).encode() + b"\n")
    size = (tmp_path / OUTCOMES).stat().st_size
    spool = Spool(tmp_path)
    assert [left.identity for left in spool.left()] == ["a-0", "a-2"]
    spool.close()
    assert not last.file.exists() and first.file.exists()
    assert (tmp_path / OUTCOMES).stat().st_size == size


def test_a_failed_line_takes_no_other_threads_line_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread's write fails on a full disk while another records: the other one's outcome stays."""
    spool = Spool(tmp_path)
    kept = [spool.add(frame(number)) for number in range(2)]
    write, writing, other_is_done = os.write, threading.Event(), threading.Event()

    def full_for_the_first(file: int, data: bytes) -> int:
        if b'"a-0"' not in data:
            return write(file, data)
        writing.set()
        other_is_done.wait(0.3)  # it never is: the other thread waits for its turn
        raise OSError(errno.ENOSPC, "No space left on device")

    def other() -> None:
        spool.settle(kept[1], {"event": "answered", "id": "a-1"})
        other_is_done.set()

    failed: list[OSError] = []

    def first() -> None:
        try:
            spool.settle(kept[0], {"event": "answered", "id": "a-0"})
        except OSError as error:
            failed.append(error)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_for_the_first)
        threads = [threading.Thread(target=work, daemon=True) for work in (first, other)]
        threads[0].start()
        assert writing.wait(5)
        threads[1].start()
        for thread in threads:
            thread.join(5)
    spool.close()
    assert [error.errno for error in failed] == [errno.ENOSPC]
    lines = (tmp_path / OUTCOMES).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a-1"]
    spool = Spool(tmp_path)
    assert [left.identity for left in spool.left()] == ["a-0"]
    spool.close()


def test_a_frame_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    fsync, calls = os.fsync, iter([False, True, True])

    def full(file: int) -> None:
        if next(calls):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(file)

    monkeypatch.setattr(os, "fsync", full)
    for _ in range(2):  # once of the folder, when the frame has its name; once of the frame
        with pytest.raises(OSError, match="No space left"):
            spool.add(frame(0))
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    spool.close()
