"""Where a figure comes from: the commit of the code, the date, the command as typed, and the machine.

{"commit": "f55a468..." or "f55a468...+changes", "date": "2026-11-29T16:40:00+00:00",
 "command": "python -m bench.latency --runs 50", "machine": {"cpu": str, "cores": int, "gpu": str or null}}
"""

from __future__ import annotations

import functools
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHANGES = "+changes"
PATIENCE_S = 10  # for git and nvidia-smi, which can hang on a file system or a driver that is away


def provenance() -> dict[str, Any]:
    """Commit, date (UTC, ISO 8601), command and machine of the program that runs."""
    return {
        "commit": commit(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command(sys.orig_argv),
        "machine": {"cpu": processor(), "cores": cores(), "gpu": gpu()},
    }


@functools.cache
def commit(root: Path = ROOT) -> str | None:
    """The commit of the checkout at ``root``, with ``+changes`` when a tracked file outside docs/ differs.

    Outside a checkout: the version of the installed package, as ``version 0.1.0``, or None. Documents do not
    count as changes, because a benchmark that writes its JSON there would mark the next one. The first
    answer holds for the process: a campaign takes hours, and the checkout may move on meanwhile.
    """
    if (root / ".git").exists():  # not any repository above, which an environment may lie in
        head = _said("git", "-C", str(root), "rev-parse", "HEAD")
        if head:
            changed = ("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)docs")
            return head + (CHANGES if _said("git", "-C", str(root), *changed) else "")
    try:
        return f"version {metadata.version('ratehold')}"
    except metadata.PackageNotFoundError:
        return None


def command(argv: Sequence[str]) -> str:
    """What was typed, from the interpreter's own arguments (``sys.orig_argv``).

    The interpreter's path becomes ``python``, and a console script stands by its name alone.
    """
    first, *rest = argv
    if rest and not rest[0].startswith("-"):
        script = Path(rest[0])
        return shlex.join([script.name, *rest[1:]] if script.suffix != ".py" else ["python", *rest])
    return shlex.join(["python", *rest]) if Path(first).name.startswith("python") else shlex.join(argv)


def processor() -> str:
    """The processor's model, as the kernel names it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def cores() -> int | None:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def gpu() -> str | None:
    """The names of NVIDIA's GPUs, joined by commas; None without one, or without its driver's tool."""
    names = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return ", ".join(names.splitlines()) if names else None


def _said(*command: str) -> str | None:
    """What a program wrote, stripped; None when it is missing, fails or does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
