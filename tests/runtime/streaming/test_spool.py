"""Frames that outlive the client, whenever it dies."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import StreamError
from runtime.streaming.spool import OUTCOMES, Encoded, Spool

FULL = OSError(errno.ENOSPC, "No space left on device")


def frame(number: int, packet: bytes = b"RH\n\0\xff\n") -> Encoded:
    return Encoded(f"picture-{number}\udc80", f"a-{number}", packet, "plain", 0.0)


def outcomes(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / OUTCOMES).read_text().splitlines()]


def left(folder: Path) -> list[Encoded]:
    spool = Spool(folder)
    found = list(spool.left())
    spool.close()
    return found


def test_frames_come_back_as_they_were_and_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new" / "spool")
    kept = [spool.add(frame(number)) for number in range(12)]
    spool.settle(kept[3], {"event": "answered", "id": kept[3].identity})
    spool.close()
    found = left(tmp_path / "new" / "spool")
    assert [f.identity for f in found] == [f"a-{n}" for n in range(12) if n != 3]
    assert [(f.name, f.packet, f.rung) for f in found] == [
        (f.name, f.packet, f.rung) for f in kept if f != kept[3]
    ]
    assert outcomes(tmp_path / "new" / "spool") == ["a-3"]


def test_numbers_go_on_after_those_that_were_left(tmp_path: Path) -> None:
    for number in range(3):
        spool = Spool(tmp_path)
        spool.add(frame(number))
        spool.close()
    assert [f.identity for f in left(tmp_path)] == ["a-0", "a-1", "a-2"]


@pytest.mark.parametrize("dies_in", ["fsync of the frame", "rename", "fsync of the outcome", "unlink"])
def test_whenever_it_dies_each_frame_has_one_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    class Killed(BaseException):
        """Not an OSError: nothing cleans up after it, as after kill -9."""

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    spool = Spool(tmp_path)
    kept = spool.add(frame(0))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        if dies_in == "rename":
            patch.setattr(Path, "rename", die)
        elif dies_in == "unlink":
            patch.setattr(Path, "unlink", die)
        else:
            patch.setattr(os, "fsync", die)
        if dies_in in ("fsync of the frame", "rename"):
            spool.add(frame(1))
        else:
            spool.settle(kept, {"event": "answered", "id": kept.identity})
    spool.close()
    spool = Spool(tmp_path)
    for again in spool.left():
        spool.settle(again, {"event": "answered", "id": again.identity})
    spool.close()
    assert outcomes(tmp_path) == ["a-0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", OUTCOMES]


def test_one_client_a_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(StreamError, match="another client"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()
    (tmp_path / "file").write_text("")
    with pytest.raises(StreamError, match="cannot be used"):
        Spool(tmp_path / "file")


def test_a_torn_outcome_is_cut_off_and_a_damaged_frame_is_said(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    kept = spool.add(frame(0))
    spool.settle(spool.add(frame(1)), {"event": "answered", "id": "a-1"})
    spool.close()
    assert kept.file is not None
    (tmp_path / "000000000009.frame").write_bytes(b'{"frame": ')
    with (tmp_path / OUTCOMES).open("ab") as file:
        file.write(b'{"event": "answered", "id": "a-0"')
    assert [f.identity for f in left(tmp_path)] == ["a-0"]
    assert outcomes(tmp_path) == ["a-1", ""]


@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_leaves_nothing_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    spool = Spool(tmp_path)
    kept = spool.add(frame(0))
    before = (tmp_path / OUTCOMES).read_bytes()
    write: Callable[[int, bytes], int] = os.write

    def some(file: int, data: bytes) -> int:
        if not room:
            raise FULL
        return write(file, data[:room])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", some)
        with pytest.raises(OSError, match="No space"):
            spool.settle(kept, {"event": "answered", "id": "a-0"})
    assert (tmp_path / OUTCOMES).read_bytes() == before

    def full(_: int) -> None:
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            spool.add(frame(1))
    spool.close()
    assert [f.identity for f in left(tmp_path)] == ["a-0"]
