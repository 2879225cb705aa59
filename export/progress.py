"""Progress on stderr, so that stdout holds results only."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def bar(total: int, text: str, unit: str = "step") -> Any:
    """A progress bar of ``total`` units; as a context manager it closes itself."""
    return tqdm(total=total, desc=text, unit=unit, file=sys.stderr, dynamic_ncols=True, mininterval=1.0)


def say(text: str) -> None:
    """Print one line of progress."""
    print(text, file=sys.stderr, flush=True)
