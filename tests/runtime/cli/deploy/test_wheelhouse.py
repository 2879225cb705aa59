"""``ratehold wheelhouse`` with a real pip on an index of tiny wheels; the locks against pyproject.toml."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.tags import cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from runtime.cli.deploy import wheelhouse
from runtime.cli.deploy.wheelhouse import DEBIANS, EXTRAS, JETPACKS, LOCKS, Board
from runtime.cli.main import main
from tests.floors import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    tomllib = None  # type: ignore[assignment]

BOARDS = [*JETPACKS.values(), *DEBIANS.values()]
each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)


def wheel(folder: Path, name: str) -> Path:
    """A wheel with nothing but what pip asks of it."""
    folder.mkdir(exist_ok=True)
    project, version, *tags = name.split("-")
    info = f"{project}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}.whl", "w") as file:
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {'-'.join(tags)}\n")
        file.writestr(f"{info}/RECORD", "")
    return folder / f"{name}.whl"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index whose two packages make the lock of JetPack 6, and small sources of ratehold."""
    folder = tmp_path / "index"
    files = [
        wheel(folder, "one-1.0-cp310-cp310-manylinux_2_28_aarch64"),
        wheel(folder, "two-2.0-py3-none-any"),
    ]
    wheel(folder, "one-1.0-cp311-cp311-manylinux_2_28_x86_64")
    (tmp_path / "locks").mkdir()
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    lock = f"one==1.0 \\\n    --hash=sha256:{digests[0]}\ntwo==2.0 \\\n    --hash=sha256:{digests[1]}\n"
    (tmp_path / "locks" / "jetpack6.txt").write_text(lock)
    sources = tmp_path / "sources"
    sources.mkdir()
    text = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    text += '[project]\nname = "ratehold"\nversion = "9"\n[tool.setuptools]\npackages = []\n'
    (sources / "pyproject.toml").write_text(text)
    monkeypatch.setattr(wheelhouse, "LOCKS", tmp_path / "locks")
    monkeypatch.setattr(wheelhouse, "ROOT", sources)
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder),
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it the other way round: no isolation, hence no index
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return folder


def test_the_folder_holds_the_boards_wheels_ours_and_their_sums(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = wheel(tmp_path / "built", "constriction-0.5.0-cp310-cp310-manylinux_2_35_aarch64")
    folder = tmp_path / "out"
    asked = ["wheelhouse", "--jetpack", "6", "-o", str(folder), "--json", "-"]
    assert main(asked) == 0
    told, said = capsys.readouterr()
    expected = ["one-1.0-cp310-cp310-manylinux_2_28_aarch64.whl", "ratehold-9-py3-none-any.whl"]
    expected.append("two-2.0-py3-none-any.whl")
    assert json.loads(told)["wheels"] == expected and not json.loads(told)["constriction"]
    assert "constriction has no wheel for aarch64" in said and "--constriction WHEEL" in said
    assert f"pip install --no-index --find-links {folder} 'ratehold[{EXTRAS}]'\n" in said
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in expected}

    assert main([*asked, "--constriction", str(built)]) == 0  # the same folder again
    told, said = capsys.readouterr()
    assert json.loads(told)["wheels"] == [built.name, *expected]
    assert "no wheel" not in said and said.rstrip().endswith("' constriction")


def test_a_file_with_another_hash_is_not_taken(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(index / "two-2.0-py3-none-any.whl", "a") as file:
        file.writestr("two.py", "evil = True\n")
    assert main(["wheelhouse", "--jetpack", "6", "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "pip did not download what JetPack 6 needs" in said and "HASHES" in said and "make locks" in said


def test_a_folder_with_other_wheels_is_left_alone(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = wheel(tmp_path / "out", "one-2.0-py3-none-any")
    assert main(["wheelhouse", "--jetpack", "6", "-o", str(other.parent)]) == 1
    assert f"{other} is not of JetPack 6's wheelhouse: name an empty folder" in capsys.readouterr().err
    assert [file.name for file in other.parent.iterdir()] == [other.name]


@pytest.mark.parametrize(
    "name",
    [
        "constriction-0.5.0-cp312-cp312-manylinux_2_35_aarch64",
        "constriction-0.5.0-cp310-cp310-manylinux_2_35_x86_64",
        "other-0.5.0-cp310-cp310-manylinux_2_35_aarch64",
    ],
)
def test_a_constriction_of_another_board_is_refused(
    index: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    built = wheel(tmp_path / "built", name)
    arguments = ["wheelhouse", "--jetpack", "6", "-o", str(tmp_path / "out"), "--constriction", str(built)]
    assert main(arguments) == 1
    assert "is no wheel of constriction for cp310 and aarch64" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_without_a_checkout_the_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wheelhouse, "ROOT", tmp_path)
    assert main(["wheelhouse", "--jetpack", "7", "-o", str(tmp_path / "out")]) == 1
    assert "is no checkout of ratehold" in capsys.readouterr().err


@each_board
def test_a_lock_has_what_pyproject_asks_for_on_the_board(board: Board) -> None:
    if tomllib is None:
        pytest.skip("tomllib came with Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = list(project["dependencies"])
    for extra in EXTRAS.split(","):
        asked += project["optional-dependencies"][extra]
    there = {
        "sys_platform": "linux", "platform_machine": "aarch64", "python_version": f"3.{board.python}",
        "python_full_version": f"3.{board.python}.0",
    }  # fmt: skip
    packages = {canonicalize_name(name): version for name, version in board.packages().items()}
    for requirement in map(Requirement, asked):
        name = canonicalize_name(requirement.name)
        if requirement.marker is None or requirement.marker.evaluate(there):
            assert requirement.specifier.contains(packages[name]), f"{requirement}: run make locks"
        else:
            assert name not in packages  # constriction
    lock = (LOCKS / board.lock).read_text(encoding="utf-8")
    assert ";" not in lock  # pip would read the marker for this machine


@each_board
def test_platforms_are_those_that_run_there(board: Board) -> None:
    name = f"a-1-cp3{board.python}-cp3{board.python}"
    tags = set(cpython_tags((3, board.python), [f"cp3{board.python}"], board.platforms))
    for minor, runs in ((17, True), (board.glibc, True), (board.glibc + 1, False)):
        *_, built = parse_wheel_filename(f"{name}-manylinux_2_{minor}_aarch64.whl")
        assert bool(built & tags) is runs


def test_the_locks_are_part_of_the_package() -> None:
    assert {board.lock for board in BOARDS} == {file.name for file in LOCKS.iterdir()}
    assert '"cli/deploy/wheelhouses/*.txt"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
