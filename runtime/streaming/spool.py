"""Frames on disk until they are answered: a client that was killed sends them after its restart.

    DIR/000000000017.frame   a frame that waits: name, id and rung as JSON, a newline, its packet
    DIR/outcomes.jsonl       the outcome of every other frame, one line each
    DIR/lock                 held by the one client that uses the folder

A frame is written before it is sent, and its outcome before the frame is deleted. A client that dies in
between finds both after its restart, and deletes the frame: every frame has one outcome, whoever dies when.
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
    """An encoded frame, ready to be sent.

    name: file name or number, from the source.
    identity: id of all its requests, in every process that sends it.
    rung: as in ``runtime.guard.decision.Decision``.
    captured: ``time.perf_counter()`` when it was captured, or found in the spool.
    file: its file in the spool; None without a spool.
    """

    name: str
    identity: str
    packet: bytes
    rung: str
    captured: float
    file: Path | None = None


OUTCOMES = "outcomes.jsonl"
LOOK_BACK = 1 << 20
"""Bytes at the end of the outcomes that are read at the start: only the last frames may still be there."""


class Spool:
    """The frames of one client and their outcomes, in one folder. Two threads may use it at a time.

    Raises StreamError when another client holds the folder, or when it cannot be written.
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
        """Write a frame; returns it with its file. Raises OSError when that fails, and leaves nothing."""
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
        """Record the outcome of a frame, and delete the frame.

        Raises OSError when that fails: the frame stays, and the next client sends it again.
        """
        assert frame.file is not None, "only a frame that was added has an outcome"
        self._record(outcome)
        frame.file.unlink()

    def close(self) -> None:
        """Release the folder."""
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
        """Ids of the last outcomes. A last line that a power failure cut off is removed."""
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
        """Write the folder to the disk: it holds the names of its files."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: Path) -> Encoded | None:
    """Parse a file that ``add`` wrote; None for anything else."""
    head, _, packet = path.read_bytes().partition(b"\n")
    try:
        about = json.loads(head)
        return Encoded(
            str(about["frame"]), str(about["id"]), packet, str(about["rung"]), time.perf_counter(), path
        )
    except (ValueError, KeyError, TypeError):
        return None
