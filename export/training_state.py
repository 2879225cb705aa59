"""The state of a training that may be interrupted: weights, optimiser and step, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def resume(path: Path, weights: Mapping[str, torch.Tensor], optimiser: torch.optim.Optimizer) -> int:
    """Restore weights and optimiser, in place, from a file of ``keep``; returns the steps done, or 0."""
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
    """Write the state after ``step`` steps."""
    detached = {name: weight.detach() for name, weight in weights.items()}
    save_whole({"weights": detached, "optimiser": optimiser.state_dict(), "step": step}, path)


def save_whole(state: Mapping[str, Any], path: Path) -> None:
    """Write ``state`` in one move: an interruption leaves the earlier file as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(dict(state), partial)
    partial.replace(path)
