"""``module:name`` finds a caller's code and says what is wrong with it; docstrings without an import."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from export import references
from export.errors import ExtensionError

SOURCE = '''"""The module's line."""
import a_package_that_is_not_there
constant = 3
"""The constant's line.

More."""
plain = 4
def function():
    """The function's line."""
class Kind:
    "A class."
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    path = tmp_path / "own_code_of_a_test.py"
    path.write_text(SOURCE)
    yield path
    sys.modules.pop("own_code_of_a_test", None)


def test_names_with_a_module_are_references() -> None:
    assert references.is_reference("my.module:name")
    assert not any(map(references.is_reference, ("pgd_e", "module:", ":name", "")))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("function", "The function's line."), ("constant", "The constant's line."), ("Kind", "A class."),
        ("plain", "The module's line."), ("nothing", "The module's line."),
    ],
)  # fmt: skip
def test_first_lines_come_from_the_source(module: Path, name: str, line: str) -> None:
    assert references.first_line(f"own_code_of_a_test:{name}") == line
    assert "own_code_of_a_test" not in sys.modules
    assert references.first_line("no_module_of_this_name:x") == ""


def test_a_module_of_the_working_folder_is_found_and_its_errors_are_said(module: Path) -> None:
    with pytest.raises(ExtensionError, match="cannot be imported: No module named 'a_package_that"):
        references.resolve("own_code_of_a_test:function")
    module.write_text(SOURCE.replace("import a_package_that_is_not_there", ""))
    assert references.resolve("own_code_of_a_test:function")() is None
    with pytest.raises(ExtensionError, match="has no 'functoin'; it has function, Kind"):
        references.resolve("own_code_of_a_test:functoin")
    with pytest.raises(ExtensionError, match="is a int; a callable is needed"):
        references.resolve("own_code_of_a_test:plain")
    with pytest.raises(ExtensionError, match="no module 'no_module_of_this_name' here or on Python's path"):
        references.resolve("no_module_of_this_name:x")


def test_a_module_that_fails_is_an_error_with_its_exception(module: Path) -> None:
    module.write_text("1 / 0")
    with pytest.raises(ExtensionError, match="cannot be imported: ZeroDivisionError"):
        references.resolve("own_code_of_a_test:x")


def test_a_fingerprint_changes_with_the_source(module: Path) -> None:
    before = references.fingerprint("own_code_of_a_test:x")
    assert len(before) == 12 and references.fingerprint("own_code_of_a_test:y") == before
    module.write_text("changed = True")
    assert references.fingerprint("own_code_of_a_test:x") != before
