"""Files that a stranger may have laid there: never a pipe or a device, never more than was expected."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file, or what a link to one leads to, and its size in bytes. Opening never waits.

    Raises OSError for everything else: folders, pipes, devices and sockets.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield file, status.st_size


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file. Raises OSError for one that cannot be read or holds more than ``most``."""
    with opened(path) as (file, size):
        data = file.read(most + 1) if size <= most else None
    if data is None or len(data) > most:
        raise OSError(errno.EFBIG, f"more than {most:,} bytes", str(path))
    return data
