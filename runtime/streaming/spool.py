"""Frames on disk until they are answered, so that a client that was killed sends them when it is back.

    DIR/000000000017.frame   a frame that waits: name, id and rung as JSON, a newline, its packet
    DIR/outcomes.jsonl       what became of every frame that does not wait any more, one line each
    DIR/lock                 held by the one client that uses the folder

A frame is on the disk before it is sent, and its outcome before it is deleted. A client that dies in between
finds both when it is back, and deletes: each frame has one outcome, whenever who dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.errors import StreamError


@dataclass(frozen=True)
class Encoded:
    """A frame that is ready to be sent.

    identity: the id of its requests, however often it is sent and by whichever process.
    rung: as in ``runtime.guard.decision.Decision``.
    captured: ``time.perf_counter()`` when it was taken, or found in the spool.
    file: where it lies in the spool, None without one.
    """

    name: str
    identity: str
    packet: bytes
    rung: str
    captured: float
    file: Path | None = None


OUTCOMES = "outcomes.jsonl"
LOOK_BACK = 1 << 20
"""Bytes at the end of the outcomes that may hold those of frames not yet deleted: of the last few, if any."""


class Spool:
    """The frames of one client in one folder, and their outcomes. Safe from two threads.

    Raises StreamError when another client holds the folder, or it cannot be written.
    """

    def __init__(self, folder: Path):
        self._folder, self._guard = folder, threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._outcomes = os.open(folder / OUTCOMES, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._known = self._settled()
            for unfinished in folder.glob("*.part"):
                unfinished.unlink()
        except BlockingIOError as error:
            raise StreamError(f"{folder}: another client uses this spool; each needs its own") from error
        except OSError as error:
            raise StreamError(f"{folder}: cannot be used as a spool: {error.strerror}") from error
        self._left = sorted(folder.glob("*.frame"))
        self._next = int(self._left[-1].stem) + 1 if self._left else 0

    def left(self) -> Iterator[Encoded]:
        """The frames that an earlier client left without an outcome, oldest first."""
        for path in self._left:
            frame = _read(path)
            if frame is None:
                self._record({"event": "damaged", "frame": path.name, "id": ""})
            elif frame.identity not in self._known:
                yield frame
                continue
            path.unlink()

    def add(self, frame: Encoded) -> Encoded:
        """The frame, on the disk. Raises OSError when it cannot be, and leaves nothing."""
        path = self._folder / f"{self._next:012d}.frame"
        about = {"frame": frame.name, "id": frame.identity, "rung": frame.rung}
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(json.dumps(about).encode() + b"\n" + frame.packet)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            self._sync_folder()
        except OSError:
            for leftover in (part, path):
                leftover.unlink(missing_ok=True)
            raise
        self._next += 1
        return replace(frame, file=path)

    def settle(self, frame: Encoded, outcome: dict[str, Any]) -> None:
        """Record what became of a frame, and delete it.

        Raises OSError when it cannot be recorded: then the frame stays, and the next client sends it again.
        """
        assert frame.file is not None, "only what was added has an outcome"
        self._record(outcome)
        frame.file.unlink()

    def close(self) -> None:
        """Let another client have the folder."""
        os.close(self._outcomes)
        os.close(self._lock)

    def _record(self, outcome: dict[str, Any]) -> None:
        line = json.dumps({"time": round(time.time(), 3), **outcome}).encode() + b"\n"
        with self._guard:
            end = os.fstat(self._outcomes).st_size
            try:
                if os.write(self._outcomes, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._outcomes)
            except OSError:
                os.ftruncate(self._outcomes, end)
                raise

    def _settled(self) -> set[str]:
        """Ids of the last outcomes. A last line that was cut off by a power failure is cut off whole."""
        size = os.fstat(self._outcomes).st_size
        tail = os.pread(self._outcomes, LOOK_BACK, max(0, size - LOOK_BACK))
        whole = tail[: tail.rfind(b"\n") + 1]
        os.ftruncate(self._outcomes, size - len(tail) + len(whole))
        found = set()
        for line in whole.splitlines():
            with contextlib.suppress(
                ValueError, KeyError, TypeError
            ):  # the first line may be cut off as well
                found.add(str(json.loads(line)["id"]))
        return found

    def _sync_folder(self) -> None:
        """A file's name is in its folder, which has to reach the disk too."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: Path) -> Encoded | None:
    """A frame as ``add`` wrote it; None for anything else."""
    head, _, packet = path.read_bytes().partition(b"\n")
    try:
        about = json.loads(head)
        return Encoded(
            str(about["frame"]), str(about["id"]), packet, str(about["rung"]), time.perf_counter(), path
        )
    except (ValueError, KeyError, TypeError):
        return None
