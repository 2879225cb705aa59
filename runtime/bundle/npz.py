"""Arrays of a bundle: a small part of NumPy's npz, whose bounds are checked before memory is taken.

``numpy.load`` trusts what a file says of itself: a member of a few kilobytes may unpack to gigabytes, and a
header may ask for any shape. Here the directory is measured first, then all members, then each header.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_FILE = 1 << 24
"""Bytes of an npz file."""

MOST_UNPACKED = 1 << 26
"""Bytes of all its arrays."""

MOST_ARRAYS = 256
MOST_DIRECTORY = 1 << 16
MOST_HEADER = 1 << 12
MOST_AXES = 8

_END = b"PK\x05\x06"
_MAGIC = b"\x93NUMPY"
_HEADER = re.compile(
    rb"\{'descr': '([<>|]?[biuf][1248])', 'fortran_order': (True|False), "
    rb"'shape': \(((?:[0-9]{1,10}, ?)*(?:[0-9]{1,10})?)\),? ?\} *\n"
)


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file, by name. Raises ValueError for anything but plain arrays of numbers."""
    _check_directory(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_members(members)
            return {m.filename.removesuffix(".npy"): _array(archive.read(m)) for m in members}
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    except (struct.error, UnicodeError, LookupError) as error:  # of a damaged directory
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check_directory(data: bytes) -> None:
    """A directory that is small, at the end, and has the form that NumPy writes."""
    if len(data) > MOST_FILE:
        raise ValueError(f"more than {MOST_FILE:,} bytes")
    end = data[-22:]
    if len(end) < 22 or end[:4] != _END or end[20:] != b"\0\0":
        raise ValueError("it does not end as an npz file does")
    size = int.from_bytes(end[12:16], "little")
    if size > MOST_DIRECTORY or data[-42:-38] == b"PK\x06\x07":
        raise ValueError("its directory is too large")


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    if len(names) > MOST_ARRAYS or len(set(names)) < len(names):
        raise ValueError("too many arrays, or two of one name")
    for member in members:
        if not member.filename.endswith(".npy"):
            raise ValueError(f"{member.filename[:40]!a} is not an array")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            raise ValueError("a member is encrypted, or packed by other means than deflate")
    if sum(member.file_size for member in members) > MOST_UNPACKED:
        raise ValueError(f"its arrays take more than {MOST_UNPACKED:,} bytes")


def _array(data: bytes) -> NDArray[Any]:
    """One npy file. Its header is matched and not evaluated."""
    if data[:6] != _MAGIC or data[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise ValueError("a member is not in NumPy's format")
    width = 2 if data[6] == 1 else 4
    begin = 8 + width
    length = int.from_bytes(data[8:begin], "little")
    matched = _HEADER.fullmatch(data[begin : begin + length]) if length <= MOST_HEADER else None
    if matched is None:
        raise ValueError("an array holds something else than numbers, or its header is damaged")
    dtype = np.dtype(matched[1].decode("ascii"))
    shape = tuple(int(size) for size in matched[3].replace(b" ", b"").split(b",") if size)
    values = memoryview(data)[begin + length :]
    if len(shape) > MOST_AXES or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"an array of the shape {shape} has {len(values):,} bytes")
    flat = np.frombuffer(bytearray(values), dtype)  # of its own memory, which may be written to
    return flat.reshape(shape[::-1]).T if matched[2] == b"True" else flat.reshape(shape)
