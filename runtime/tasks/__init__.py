"""What a bundle's network is for: a task turns the output of the tail into an answer. NumPy only.

    base             what every task has
    classification   logits -> the likeliest classes
    detection        class scores and box distributions -> boxes

The manifest names the task, ``{"kind": "detection", ...}``. A kind is a module of this folder or an entry
point of the group ``ratehold.tasks``, never a path: a bundle cannot say what is imported. docs/extend.md adds
one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, cast

from runtime.errors import BundleError
from runtime.tasks.base import Named, Output, Parameter, Task, TaskModule, Tensor, given

__all__ = ["CLASSIFICATION", "Named", "Output", "Parameter", "Task", "Tensor", "given", "open_task"]

CLASSIFICATION: Mapping[str, Any] = {"kind": "classification"}
"""The task of bundles whose manifest is older than tasks."""

GROUP = "ratehold.tasks"
"""The entry-point group of tasks that other packages offer: a kind -> a module like those of this folder."""

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")


def open_task(spec: Mapping[str, Any], outputs: tuple[Output, ...], size: int) -> Task:
    """The task that a manifest describes.

    Args:
        spec: its ``kind``, and the numbers of that kind.
        outputs: what the tail returns.
        size: side of the prepared frame, in pixels.

    Raises BundleError for a kind that is not installed, and for numbers or outputs that do not fit it.
    """
    kind = spec.get("kind")
    if not isinstance(kind, str) or _KIND.fullmatch(kind) is None:
        raise BundleError(f"manifest: a task has a kind, a lower-case word, not {ascii(kind)[:60]}")
    numbers = {name: value for name, value in spec.items() if name != "kind"}
    return _module(kind).open_task(numbers, outputs, size)


def _module(kind: str) -> TaskModule:
    name = f"{__name__}.{kind}"
    if find_spec(name) is None:
        found = {point.name: point.value for point in entry_points(group=GROUP)}
        if kind not in found:
            raise BundleError(f"manifest: no task {kind!r} is installed: install the package that has it")
        name = found[kind]
    module = import_module(name)
    if not hasattr(module, "open_task"):
        raise BundleError(f"manifest: {kind!r} is no task: {name} has no open_task")
    return cast(TaskModule, module)
