"""Progress on stderr, where it does not mix with results."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm


def bar(total: int, text: str, unit: str = "step") -> Any:
    """A progress bar of ``total`` units; closes itself as a context manager."""
    return tqdm(total=total, desc=text, unit=unit, file=sys.stderr, dynamic_ncols=True, mininterval=1.0)


def say(text: str) -> None:
    """One line of progress."""
    print(text, file=sys.stderr, flush=True)


def resume(path: Path, weights: Mapping[str, torch.Tensor], optimiser: torch.optim.Optimizer) -> int:
    """Take up what ``keep`` wrote, in place; how many steps were done, 0 where there is no such file."""
    if not path.exists():
        return 0
    kept: dict[str, Any] = torch.load(path, weights_only=True)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(kept["weights"][name])
    optimiser.load_state_dict(kept["optimiser"])
    return int(kept["step"])


def keep(
    path: Path, weights: Mapping[str, torch.Tensor], optimiser: torch.optim.Optimizer, step: int
) -> None:
    """Write the state after ``step`` steps, in one move: an interruption leaves the file before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    detached = {name: weight.detach() for name, weight in weights.items()}
    torch.save({"weights": detached, "optimiser": optimiser.state_dict(), "step": step}, partial)
    partial.replace(path)
