"""A log of one JSON object a line, written by its own thread: a full disk or a slow reader stops nothing."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from pathlib import Path
from typing import Any

WAITING = 1024
"""Most lines, more or less, that wait for the disk; further ones are lost, and counted."""

PAUSE = 0.02
"""Seconds that the writer rests once all is written; it then writes together what has come meanwhile."""


class JsonLog:
    """``log(event, **fields)`` writes ``{"time": ..., "event": ..., **fields}``; safe from any thread.

    Args:
        target: a file to append to, or an open file descriptor (1: standard output, 2: standard error).

    Attributes:
        lost: lines that could not be written, or that came while ``WAITING`` others waited.

    Raises OSError when the file cannot be opened; afterwards writing never raises and never waits.
    """

    def __init__(self, target: Path | int):
        self.lost = 0
        # Unbuffered: what a full disk refused must not come back with the next line.
        self._file = open(target, "ab", buffering=0, closefd=isinstance(target, Path))  # noqa: SIM115
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def __call__(self, event: str, **fields: Any) -> None:
        """Queue one line; what JSON does not know is written as its ``str``."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **fields}, default=str)
        if self.waiting < WAITING:
            self._lines.put(line)
        else:
            self.lost += 1

    @property
    def waiting(self) -> int:
        """Lines that the writer has not begun with."""
        return self._lines.qsize()

    def close(self, seconds: float = 2.0) -> None:
        """Write what waits, for at most so many seconds."""
        self._lines.put(None)
        self._writer.join(seconds)

    def _write(self) -> None:
        torn = b""
        while (line := self._lines.get()) is not None:
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


class Forward(logging.Handler):
    """Sends what libraries log to a JsonLog, so that all lines have one form."""

    def __init__(self, log: JsonLog):
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; an exception by its type and message, without the traceback."""
        error = record.exc_info[1] if record.exc_info else None
        fields = {} if error is None else {"error": f"{type(error).__name__}: {error}"}
        self._log("library", logger=record.name, level=record.levelname, text=record.getMessage(), **fields)
