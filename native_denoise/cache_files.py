"""Files that are made once and read again: whole or not at all, and never another user's.

    32 bytes  SHA-256 of the key
    32 bytes  SHA-256 of what follows
    the rest  the payload

Compiled kernels and TensorRT's plans are kept in such files. Both are executable code, so a file counts only
if this user or root owns it, no one else may write it, and both digests fit. Needs only the standard library.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

FOLDER_VARIABLE = "RATEHOLD_CACHE"
CURE = f"set {FOLDER_VARIABLE} to a folder of your own"
DIGEST = 32  # bytes of a SHA-256


class CacheFileError(Exception):
    """A file of a cache cannot be used or written; the message says which and why. Work goes on without."""


def cache_folder() -> Path:
    """``$RATEHOLD_CACHE``, else ``$XDG_CACHE_HOME/ratehold``, else ``~/.cache/ratehold``.

    Raises CacheFileError where none of them is set and the user has no home.
    """
    if told := os.environ.get(FOLDER_VARIABLE):
        return Path(told).absolute()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(shared):  # its specification: a relative one is ignored  # noqa: PTH117
        return Path(shared) / "ratehold"
    home = os.path.expanduser("~") if os.environ.get("HOME") != "" else "~"  # noqa: PTH111
    if home == "~":  # neither HOME nor an entry in the list of users
        raise CacheFileError(f"this user has no home folder; set {FOLDER_VARIABLE} to a folder")
    return Path(home) / ".cache" / "ratehold"


def read(path: Path, key: bytes) -> bytes | None:
    """The payload that was written under exactly this key (32 bytes); None where there is no file.

    Raises CacheFileError where the file cannot be read, is damaged, or could be another user's.
    """
    try:
        # O_NONBLOCK: a FIFO with this name must not keep the program waiting.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise CacheFileError(f"{path} is not a file: it is not used")
            others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if others or status.st_uid not in (os.geteuid(), 0):
                raise CacheFileError(
                    f"{path} could have been written by another user: it is not used; {CURE}"
                )
            data = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CacheFileError(f"{path} cannot be read ({error.strerror}); {CURE}") from error
    head, payload = data[: 2 * DIGEST], data[2 * DIGEST :]
    if head != key + hashlib.sha256(payload).digest():
        raise CacheFileError(f"{path} is damaged, or of another device: it is not used")
    return payload


def write(path: Path, key: bytes, payload: bytes) -> None:
    """Write beside, then rename: a reader sees all of a file or none, whoever else is writing.

    Folders that are missing are made for this user alone. Raises CacheFileError where that fails.
    """
    temporary = None
    try:
        _make(path.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            temporary = Path(file.name)
            file.write(key + hashlib.sha256(payload).digest() + payload)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise CacheFileError(
            f"{path} cannot be written ({error.strerror}); make room there, or {CURE}"
        ) from error


def _make(folder: Path) -> None:
    """Unlike ``mkdir(parents=True)``, which makes the parents with the mode that the umask leaves."""
    if not folder.is_dir():
        if folder.parent != folder:
            _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
