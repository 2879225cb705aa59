"""A log of one JSON object a line, written by its own thread: a full disk or a slow reader stops nothing.

It is bounded: in the bytes of a line, of the lines that wait and of the file, and in lines a second of one
kind where strangers cause them (``JsonLog.seldom``).
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

WAITING = 1024
"""Most lines, more or less, that wait for the disk; further ones are lost, and counted."""

WAITING_BYTES = 4 << 20
"""Most characters of the lines that wait."""

PAUSE = 0.02
"""Seconds that the writer rests once all is written; it then writes together what has come meanwhile."""

TEXT = 500
"""Most characters of one text in a line of ``seldom``, and of what is repeated to a peer."""

LINE = 1 << 16
"""Most characters of a line."""

A_SECOND = 20
"""Lines of one kind in a second, by ``seldom``; the next one says how many were left out."""

FILE_BYTES = 256 << 20
"""A file of so many bytes becomes FILE.1, in place of an older one, and a new file is begun."""


def shortened(text: str, most: int = TEXT) -> str:
    """A text of at most so many characters and a few, which say how many were left out."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most} more)"


class JsonLog:
    """``log(event, **fields)`` writes ``{"time": ..., "event": ..., **fields}``; safe from any thread.

    Args:
        target: a file to append to, or an open file descriptor (1: standard output, 2: standard error).
        file_bytes: see ``FILE_BYTES``.

    Attributes:
        lost: lines that could not be written, or that came while ``WAITING`` others waited.

    Raises OSError when the file cannot be opened; afterwards writing never raises and never waits.
    """

    def __init__(self, target: Path | int, file_bytes: int = FILE_BYTES):
        self.lost = 0
        self._target, self._most = target, file_bytes
        self._file = _opened(target)
        self._reopen, self._waiting_bytes = False, 0
        self._second, self._counts = 0, defaultdict[tuple[str, str], int](int)
        self._lock = threading.Lock()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def __call__(self, event: str, **fields: Any) -> None:
        """Queue one line; what JSON does not know is written as its ``str``."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **fields}, default=str)
        if len(line) <= LINE and self.waiting < WAITING and self._waiting_bytes + len(line) <= WAITING_BYTES:
            with self._lock:
                self._waiting_bytes += len(line)
            self._lines.put(line)
        else:
            self.lost += 1

    def seldom(self, event: str, kind: str = "", **fields: Any) -> None:
        """The same for lines that strangers cause: texts are cut, and at most ``A_SECOND`` of a kind written.

        ``left_out`` of a line: lines of its kind that were left out before it.
        """
        key, second = (event, kind), int(time.monotonic())
        with self._lock:
            if second != self._second:
                over = {one: count - A_SECOND for one, count in self._counts.items() if count > A_SECOND}
                self._second, self._counts = second, defaultdict(int, {one: -n for one, n in over.items()})
            left_out = -min(0, self._counts[key])
            self._counts[key] = max(0, self._counts[key]) + 1
            if self._counts[key] > A_SECOND:
                return
        cut = {name: shortened(value) if isinstance(value, str) else value for name, value in fields.items()}
        more = ({"kind": kind} if kind else {}) | ({"left_out": left_out} if left_out else {})
        self(event, **cut, **more)

    @property
    def waiting(self) -> int:
        """Lines that the writer has not begun with."""
        return self._lines.qsize()

    def reopen(self) -> None:
        """Open the file by its name again, before the next line: somebody has moved it away."""
        self._reopen = True

    def close(self, seconds: float = 2.0) -> None:
        """Write what waits, for at most so many seconds."""
        self._lines.put(None)
        self._writer.join(seconds)

    def _write(self) -> None:
        torn = b""
        while (line := self._lines.get()) is not None:
            with self._lock:
                self._waiting_bytes -= len(line)
            self._turn_over()
            data = torn + line.encode() + b"\n"
            try:
                whole = self._file.write(data) == len(data)
                torn = b"" if whole else b"\n"  # a full disk takes the beginning; the next line begins anew
            except OSError:
                whole = False
            self.lost += not whole
            if self._lines.empty():
                time.sleep(PAUSE)  # a thread that wakes up for each line takes the interpreter from the work
        self._file.close()

    def _turn_over(self) -> None:
        """Open the file again where that was asked for, or where it has become too large."""
        if not isinstance(self._target, Path):
            return
        with suppress(OSError):  # the lines go on to the old file
            if self._file.tell() >= self._most:
                self._target.replace(f"{self._target}.1")
                self._reopen = True
            if self._reopen:
                self._reopen = False
                old, self._file = self._file, _opened(self._target)
                old.close()


def _opened(target: Path | int) -> BinaryIO:
    # Unbuffered: what a full disk refused must not come back with the next line.
    return cast(BinaryIO, open(target, "ab", buffering=0, closefd=isinstance(target, Path)))


class Forward(logging.Handler):
    """Sends what libraries log to a JsonLog, so that all lines have one form."""

    def __init__(self, log: JsonLog):
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; an exception by its type and message, without the traceback."""
        error = record.exc_info[1] if record.exc_info else None
        fields = {} if error is None else {"error": f"{type(error).__name__}: {error}"}
        text = record.getMessage()
        kind = f"{record.name}:{record.lineno}"
        self._log.seldom("library", kind, logger=record.name, level=record.levelname, text=text, **fields)
