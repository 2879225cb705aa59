"""What calibration and training optimise for a task.

    base             what every objective has
    classification   the KL divergence of a softmax
    detection        that of class scores and box distributions, weighted by the score

``export.tasks.KIND`` belongs to ``runtime.tasks.KIND``. An installed package offers its own by the
entry-point group ``ratehold.objectives``.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import cast

from export.errors import ExtensionError
from export.tasks.base import Objective, ObjectiveModule
from runtime.tasks import Task

__all__ = ["GROUP", "Objective", "open_objective"]

GROUP = "ratehold.objectives"
"""The entry-point group of other packages: a kind of task -> a module like those of this folder."""


def open_objective(task: Task) -> Objective:
    """The objective of a task. Raises ExtensionError where the package that has the task brings none."""
    name = f"{__name__}.{task.kind}"
    if find_spec(name) is None:
        found = {point.name: point.value for point in entry_points(group=GROUP)}
        if task.kind not in found:
            raise ExtensionError(
                f"no objective of the task {task.kind!r}: name one in the entry points {GROUP}"
            )
        name = found[task.kind]
    return cast(ObjectiveModule, import_module(name)).open_objective(task)
