"""Files of the command line: ``-`` is standard input or output, and ``--json PATH`` means one thing."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

from runtime.errors import ImageError

STANDARD = "-"

MOST_BYTES = 1 << 30
"""Of an image on standard input: 100 million pixels of 16-bit RGB, uncompressed, are 600 MB."""


class StandardInput(io.BytesIO):
    """All bytes of standard input, with a name for messages. Raises ImageError beyond ``MOST_BYTES``."""

    def __init__(self) -> None:
        super().__init__()
        while chunk := sys.stdin.buffer.read(1 << 20):
            self.write(chunk)
            if self.tell() > MOST_BYTES:  # a pipe may have no end
                raise ImageError(f"standard input: more than {MOST_BYTES:,} bytes, no image is that large")
        self.seek(0)

    def __str__(self) -> str:
        return "standard input"


def completes_files(action: argparse.Action) -> argparse.Action:
    """Let the scripts of ``ratehold completion`` offer files for an argument; the text is shtab's."""
    fish = "(__fish_complete_path (commandline -ct))"
    vars(action)["complete"] = {"bash": "_shtab_compgen_files", "zsh": "_files", "fish": fish}
    return action


def add_json(command: argparse.ArgumentParser) -> None:
    """Add ``--json PATH``; with ``-`` the text for people goes to standard error."""
    completes_files(
        command.add_argument(
            "--json", metavar="PATH", help="write the result as one JSON object to PATH (-: standard output)"
        )
    )


def read_bytes(path: str) -> bytes:
    """A file's bytes, or those of standard input."""
    return sys.stdin.buffer.read() if path == STANDARD else Path(path).read_bytes()


def write_bytes(path: str, data: bytes) -> None:
    """Write a file, or standard output."""
    if path == STANDARD:
        sys.stdout.buffer.write(data)
    else:
        Path(path).write_bytes(data)


def report(lines: list[str], result: dict[str, Any], path: str | None, *, taken: bool = False) -> None:
    """Print ``lines`` for people, and write ``result`` as JSON to the ``--json`` path, its folder included.

    taken: standard output carries something else, so the lines go to standard error.
    """
    for line in lines:
        print(line, file=sys.stderr if taken or path == STANDARD else sys.stdout)
    if path is None:
        return
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if path == STANDARD:
        sys.stdout.write(text)
    else:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
