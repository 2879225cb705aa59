"""Load published checkpoints of Entropic Students into the networks of ``export.paper``.

It reads the files of sc2bench and of its predecessor, supervised-compression, since 2021: weights alone or
under ``model`` beside an optimiser's state, keys of DataParallel, and three generations of names. No code in
a file runs: torch's weights-only unpickler accepts tensors and plain containers only.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from export.errors import CheckpointError

Weights = dict[str, torch.Tensor]

NESTS = ("model", "state_dict")
RENAMED = (
    (re.compile(r"^(module\.)+"), ""),  # DataParallel
    (re.compile(r"^(backbone\.)?bottleneck_head\."), "bottleneck_layer."),  # supervised-compression
    (re.compile(r"^backbone\."), ""),
    (re.compile(r"^bottleneck_layer\.(en|de)code\."), r"bottleneck_layer.\1coder."),
    (
        re.compile(r"(entropy_bottleneck)\._matri(?:x|ces\.)(\d)$"),
        r"\1.matrices.\2",
    ),  # CompressAI before 1.2.7
    (re.compile(r"(entropy_bottleneck)\._bias(?:es\.)?(\d)$"), r"\1.biases.\2"),
    (re.compile(r"(entropy_bottleneck)\._factors?\.?(\d)$"), r"\1.factors.\2"),
)
TABLES = ("_offset", "_quantized_cdf", "_cdf_length", "scale_table")
"""Buffers that CompressAI derives from the weights: they may have any size, or be missing."""

CONSTANTS = ("bound", "pedestal", "target", "scale_bound", "num_batches_tracked")
"""Buffers that training does not change: older releases lack some of them."""

SHOWN = 4  # names in an error message


def load_checkpoint(network: nn.Module, path: Path) -> None:
    """Give ``network`` the weights of a file, in place.

    Raises CheckpointError when the file is no checkpoint, or one of another network.
    """
    weights = renamed(_tensors(_read(path), path))
    expected = network.state_dict()
    _check(weights, expected, path)
    for name in (n for n in weights if n.endswith(TABLES)):
        owner, _, buffer = name.rpartition(".")
        setattr(network.get_submodule(owner), buffer, weights[name].clone())
    network.load_state_dict(network.state_dict() | weights)


def renamed(weights: Mapping[str, torch.Tensor]) -> Weights:
    """The same tensors under their current names in sc2bench."""
    found = {}
    for name, tensor in weights.items():
        for old, new in RENAMED:
            name = old.sub(new, name)
        found[name] = tensor
    return found


def _read(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        # torchdistill writes its command line beside the weights: plain values, no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes can make an unpickler raise almost any of them
        reason = str(error).strip().splitlines()
        raise CheckpointError(
            f"{path}: expected what torch.save writes of a state dict; this is something else, damaged, or "
            f"not safe to read: {reason[0] if reason else type(error).__name__}"
        ) from error


def _tensors(content: Any, path: Path) -> Weights:
    while isinstance(content, Mapping):
        nested = next((content[name] for name in NESTS if isinstance(content.get(name), Mapping)), None)
        if nested is None:
            break
        content = nested
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds {type(content).__name__}, expected a state dict")
    if not all(isinstance(n, str) and isinstance(t, torch.Tensor) for n, t in content.items()):
        raise CheckpointError(f"{path}: expected a state dict, name -> tensor, at the top or under 'model'")
    return dict(content)


def _check(weights: Weights, expected: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raise CheckpointError unless ``weights`` are all weights of the network, and finite."""
    missing = [n for n in expected if n not in weights and not n.endswith(TABLES + CONSTANTS)]
    unknown = [n for n in weights if n not in expected]
    if missing or unknown:
        raise CheckpointError(
            f"{path}: not a checkpoint of this network: {_listed('missing', missing)}"
            f"{_listed('not expected', unknown)}is it of another --arch or --prior?"
        )
    shaped = [n for n in weights if not n.endswith(TABLES) and weights[n].shape != expected[n].shape]
    if shaped:
        n = shaped[0]
        raise CheckpointError(
            f"{path}: {n} is {tuple(weights[n].shape)}, expected {tuple(expected[n].shape)}"
            f"{f' (and {len(shaped) - 1} more)' if len(shaped) > 1 else ''}"
        )
    damaged = [n for n, t in weights.items() if t.is_floating_point() and not t.isfinite().all()]
    if damaged:
        raise CheckpointError(f"{path}: {damaged[0]} is not finite: the file is damaged")


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{what}: {', '.join(names[:SHOWN])}{more}; " if names else ""
