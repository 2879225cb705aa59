"""Frames on disk until they are answered: a client that was killed sends them after its restart.

    DIR/000000000017.frame   a frame that waits: name, id and rung as JSON, a checksum, a newline, its packet
    DIR/outcomes.jsonl       the outcome of every other frame, one line each
    DIR/lock                 held by the one client that uses the folder

Folder and files are the user's alone. Only regular files with such names are opened; what else is there, and
what is damaged, is told, left and passed over.

A frame is written before it is sent, and its outcome before the frame is deleted. A client that dies in
between finds both after its restart, and deletes the frame: every frame has one outcome, whoever dies when.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.errors import StreamError
from runtime.streaming.remote.answers import printable


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


LOCK, OUTCOMES = "lock", "outcomes.jsonl"
LOOK_BACK, TORN = 1 << 20, 1 << 16
"""Bytes at the end of the outcomes that are read at the start: only the last frames may still be there. A
last line without an end is cut off unless it is longer than the second: then it was no line of ours."""

LARGEST = 1 << 24
"""Most bytes of a frame's file."""

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
OURS = re.compile(r"([0-9]{12}|[1-9][0-9]{12,16})\.(frame|part)")
ID = re.compile(r"[!-~]{1,128}")
"""What may identify a frame: it goes into requests and comes back in answers."""

CHECKSUM = re.compile(rb"[0-9a-f]{8}")


class Spool:
    """The frames of one client and their outcomes, in one folder. Two threads may use it at a time.

    Args:
        tell: called in words with what is passed over.

    Raises StreamError when another client holds the folder, or when it cannot be written.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None] = lambda _: None):
        self._folder, self._tell, self._guard = folder, tell, threading.Lock()
        self._known: set[str] = set()
        self._damaged: set[str] = set()
        with contextlib.ExitStack() as opened:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._lock = _private(folder / LOCK)
                opened.callback(os.close, self._lock)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._outcomes = _private(folder / OUTCOMES, os.O_APPEND)
                opened.callback(os.close, self._outcomes)
                self._recall()
                self._left, self._next = self._look_round()
            except BlockingIOError as error:
                raise StreamError(f"{folder}: another client uses this spool; each needs its own") from error
            except OSError as error:
                told = error.strerror or str(error)
                raise StreamError(f"{folder}: cannot be used as a spool: {told}") from error
            opened.pop_all()

    def left(self) -> Iterator[Encoded]:
        """The frames that an earlier client left without an outcome, oldest first."""
        seen: set[str] = set()
        for path in self._left:
            try:
                frame = _read(path)
                if frame.identity in self._known:
                    path.unlink()
                    continue
                if frame.identity in seen:
                    raise ValueError("a copy of another frame")
            except (OSError, ValueError) as error:
                self._pass_over(path, error)
                continue
            seen.add(frame.identity)
            yield frame

    def _pass_over(self, path: Path, error: Exception) -> None:
        """Tell of a frame that cannot be sent, and record it once."""
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        self._tell(f"{path}: {told}; it is left there and passed over")
        if path.name in self._damaged:
            return
        try:
            self._record({"event": "damaged", "frame": path.name, "id": ""})
        except OSError as full:
            self._tell(f"{self._folder}: outcome not recorded: {full.strerror}")

    def _look_round(self) -> tuple[list[Path], int]:
        """Our frames in the folder, oldest first, and the first free number. Unfinished files are deleted."""
        frames: list[tuple[int, Path]] = []
        foreign, free = [], 0
        for path in self._folder.iterdir():
            ours = OURS.fullmatch(path.name)
            free = max(free, int(ours[1]) + 1 if ours else 0)
            if path.name in (LOCK, OUTCOMES):
                continue
            if ours is None or not stat.S_ISREG(path.lstat().st_mode):
                foreign.append(path.name)
            elif ours[2] == "part":
                path.unlink()
            else:
                frames.append((int(ours[1]), path))
        self._make_private(alone=not foreign)
        if foreign:
            shown = ", ".join(printable(name) for name in sorted(foreign)[:3])
            more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
            self._tell(f"{self._folder}: no frames of this spool, left alone: {shown}{more}")
        return [path for _, path in sorted(frames)], free

    def _make_private(self, alone: bool) -> None:
        """Close the folder to other users where it holds nothing else; tell where they can write into it."""
        about = self._folder.stat()
        if not about.st_mode & 0o077:
            return
        if alone and about.st_uid == os.geteuid():
            with contextlib.suppress(OSError):
                self._folder.chmod(0o700)
                return
        if about.st_mode & 0o022:
            self._tell(f"{self._folder}: other users can write into this folder; a spool should have its own")

    def add(self, frame: Encoded) -> Encoded:
        """Write a frame; returns it with its file. Raises OSError when that fails, and leaves nothing."""
        about = {"frame": frame.name, "id": frame.identity, "rung": frame.rung}
        text = json.dumps(about).encode()
        content = b"%s %08x\n%s" % (text, _checksum(text, frame.packet), frame.packet)
        path = self._free()
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, NEW, 0o600), "wb") as file:
            try:
                file.write(content)
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

    def _free(self) -> Path:
        """The first name that nothing in the folder has."""
        while True:
            path = self._folder / f"{self._next:012d}.frame"
            if not (os.path.lexists(path) or os.path.lexists(path.with_suffix(".part"))):
                return path
            self._next += 1

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

    def _recall(self) -> None:
        """Read the last outcomes. A last line that a power failure cut off is removed."""
        size = os.fstat(self._outcomes).st_size
        tail = os.pread(self._outcomes, LOOK_BACK, max(0, size - LOOK_BACK))
        torn = len(tail) - (tail.rfind(b"\n") + 1)
        if torn > TORN:
            os.write(self._outcomes, b"\n")
        elif torn:
            os.ftruncate(self._outcomes, size - torn)
        for line in tail[: len(tail) - torn].splitlines():
            # The first line may be cut off as well.
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                outcome = json.loads(line)
                if outcome["id"]:
                    self._known.add(str(outcome["id"]))
                else:
                    self._damaged.add(str(outcome["frame"]))

    def _sync_folder(self) -> None:
        """Write the folder to the disk: it holds the names of its files."""
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _checksum(text: bytes, packet: bytes) -> int:
    return zlib.crc32(packet, zlib.crc32(text))


def _private(path: Path, flags: int = 0) -> int:
    """Open a file of the spool for the user alone. Raises OSError for anything but a regular file."""
    flags |= os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(path, flags, 0o600)
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, f"{path.name} is not a regular file")
    if about.st_mode & 0o077:
        with contextlib.suppress(OSError):
            os.fchmod(file, 0o600)
    return file


def _read(path: Path) -> Encoded:
    """Parse a file that ``add`` wrote. Raises ValueError for anything else, OSError when it cannot be read.

    Earlier versions wrote no checksum.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(file, "rb") as opened:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            raise ValueError("no frame of ours")
        head, _, packet = opened.read(LARGEST + 1).partition(b"\n")
    text, _, checksum = head.rpartition(b" ")
    if not CHECKSUM.fullmatch(checksum):
        text = head
    elif int(checksum, 16) != _checksum(text, packet):
        raise ValueError("damaged: its checksum does not match")
    try:
        fields = json.loads(text)
        name, identity, rung = (fields[key] for key in ("frame", "id", "rung"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("damaged: no frame of ours") from error
    if not (
        packet and all(isinstance(field, str) for field in (name, identity, rung)) and ID.fullmatch(identity)
    ):
        raise ValueError("damaged: no frame of ours")
    return Encoded(name, identity, packet, rung, time.perf_counter(), path)
