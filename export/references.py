"""A caller's own code by name: ``module:name`` on a command line, and the entry points of packages.

    attack = resolve("my_module:my_attack")
    packages = installed("ratehold.threats")     # {"their_attack": "their_package.attacks:main"}

Modules are looked for where Python looks for them, and then in the working folder.
"""

from __future__ import annotations

import ast
import hashlib
import os
import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from export.errors import ExtensionError


def is_reference(name: str) -> bool:
    """Whether a name has the form ``module:name``."""
    module, colon, attribute = name.partition(":")
    return bool(module and colon and attribute)


def installed(group: str) -> dict[str, str]:
    """The entry points of a group in installed packages: their names -> ``module:name``. Imports none."""
    found = sorted(entry_points(group=group), key=lambda point: point.name)
    return {point.name: point.value for point in found}


def resolve(reference: str) -> Any:
    """The callable that ``module:name`` names.

    Raises ExtensionError when the module cannot be imported, has no such name, or the name is no callable.
    """
    module, _, attribute = reference.partition(":")
    _look_here_too()
    try:
        imported = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise ExtensionError(f"{reference}: {module} cannot be imported: {error}") from error
        raise ExtensionError(
            f"{reference}: no module {module!r} here or on Python's path; run in its folder or set PYTHONPATH"
        ) from error
    except Exception as error:  # whatever a caller's module raises while it is imported
        said = f"{type(error).__name__}: {error}"
        raise ExtensionError(f"{reference}: {module} cannot be imported: {said}") from error
    try:
        found = getattr(imported, attribute)
    except AttributeError as error:
        public = [name for name, value in vars(imported).items() if callable(value) and name[0] != "_"]
        raise ExtensionError(
            f"{reference}: {module} has no {attribute!r}; it has {', '.join(public) or 'nothing to call'}"
        ) from error
    if not callable(found):
        raise ExtensionError(f"{reference} is a {type(found).__name__}; a callable is needed")
    return found


def first_line(reference: str) -> str:
    """The first line of the docstring of ``module:name``, read from the source and not imported.

    A function or a class has its own; a constant has the string that follows its assignment. Without one it
    is the module's. Empty where the source cannot be found.
    """
    module, _, attribute = reference.partition(":")
    path = _source(module)
    if path is None:
        return ""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    text = _docstring_of(tree, attribute) or ast.get_docstring(tree) or ""
    return text.strip().partition("\n")[0]


def fingerprint(reference: str) -> str:
    """12 hex digits of the source of ``module:name``'s module, so that results know when it changed."""
    path = _source(reference.partition(":")[0])
    return "" if path is None else hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _source(module: str) -> Path | None:
    _look_here_too()
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def _docstring_of(tree: ast.Module, name: str) -> str:
    for statement, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)) and statement.name == name:
            return ast.get_docstring(statement) or ""
        if isinstance(statement, ast.Assign) and any(_names(target, name) for target in statement.targets):
            return _text(following)
    return ""


def _names(target: ast.expr, name: str) -> bool:
    return isinstance(target, ast.Name) and target.id == name


def _text(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value)
    return ""


def _look_here_too() -> None:
    """Add the working folder as the last place: what it holds never hides an installed package."""
    here = os.getcwd()  # noqa: PTH109 - sys.path holds strings
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
