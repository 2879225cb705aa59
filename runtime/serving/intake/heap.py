"""The C library's heap: few arenas, and what a crowd has taken goes back to the system.

glibc gives each thread an arena, up to eight a processor, and returns only what is free at an arena's end.
gRPC's threads spread a crowd's buffers over all of them, and they stayed resident. Other C libraries do
neither, and have neither function.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

ARENAS = 2
"""One for the event loop and gRPC, one more for workers, which wait for each other anyway."""

M_ARENA_MAX = -8
"""Number of the setting in malloc.h."""


def few_arenas() -> None:
    """Have ``ARENAS`` arenas, unless MALLOC_ARENA_MAX says how many. Call it before threads start."""
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError):  # not glibc
            ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return free pages of the heap to the system: milliseconds, without the interpreter's lock."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
