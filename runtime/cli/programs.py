"""The programs of ``ratehold bench``, found and described without an import of any of them."""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from importlib import util
from pathlib import Path

STARTS = 'if __name__ == "__main__"'


@dataclass(frozen=True)
class Program:
    """A module with a ``main(arguments)`` of its own.

    module: full name of the module.
    summary: first line of its docstring.
    """

    module: str
    summary: str

    def start(self, arguments: list[str]) -> int:
        """Run it in this process; returns its exit status. Raises ImportError where a package is missing."""
        return int(importlib.import_module(self.module).main(arguments) or 0)


def found(package: str = "bench") -> dict[str, Program]:
    """The programs of a package by name: its modules, and its folders with a ``__main__``."""
    spec = util.find_spec(package)
    programs: dict[str, Program] = {}
    for folder in map(Path, (spec.submodule_search_locations if spec else None) or []):
        for file in [*folder.glob("*.py"), *folder.glob("*/__main__.py")]:
            text = file.read_text(encoding="utf-8")
            if STARTS in text:
                name = file.parent.name if file.stem == "__main__" else file.stem
                module = f"{package}.{name}" + (".__main__" if file.stem == "__main__" else "")
                summary = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0].replace("``", "`")
                programs[name] = Program(module, summary)
    return dict(sorted(programs.items()))
