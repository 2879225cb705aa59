"""``ratehold wheelhouse``: a folder of wheels that a board installs from without a network.

pip fetches what a lock file in ``wheelhouses`` names, for the board's Python and aarch64, and checks every
file against its hash. The lock files hold what uv resolved for the board (``make locks``): pip itself would
read the markers of this machine. ratehold's own wheel is built from the checkout that runs this.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from runtime.cli.files import add_json, report
from runtime.errors import WheelhouseError

LOCKS = Path(__file__).parent / "wheelhouses"
ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "native_denoise", "runtime", "export", "bench")
SUMS = "SHA256SUMS"
EXTRAS = "cpu,jetson,bench"
OLDEST_GLIBC = 17  # of manylinux2014, which every aarch64 wheel may ask for
LEFT_OUT = (
    "constriction has no wheel for aarch64 and is left out: the Numba coder writes the same words; "
    "--constriction WHEEL adds one that you built from its repository with Rust 1.85 or newer and maturin"
)

_WHEEL = re.compile(r"([\w.]+)-([\w.!+]+)(?:-\d\w*)?-([\w.]+)-([\w.]+)-([\w.]+)\.whl")


@dataclass(frozen=True)
class Board:
    """A kind of board. python: its minor version, for 3.N. glibc: its minor version, for 2.N."""

    name: str
    lock: str
    python: int
    glibc: int

    @property
    def platforms(self) -> list[str]:
        """The tags of wheels that run there, the newest first; pip takes none for granted."""
        tags = [f"manylinux_2_{minor}_aarch64" for minor in range(self.glibc, OLDEST_GLIBC - 1, -1)]
        return [*tags, "manylinux2014_aarch64"]

    def packages(self) -> dict[str, str]:
        """Version by name, as the lock file has them."""
        return dict(re.findall(r"^([\w.-]+)==(\S+)", (LOCKS / self.lock).read_text("utf-8"), re.MULTILINE))


JETPACKS = {
    6: Board("JetPack 6", "jetpack6.txt", 10, 35),
    7: Board("JetPack 7", "jetpack7.txt", 12, 39),
}
DEBIANS = {12: Board("Debian 12", "debian12.txt", 11, 36)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fill the subcommand's parser."""
    parser.description = (
        "Fetch what a board needs besides NVIDIA's own packages, for aarch64 and the board's Python, each "
        "file checked against a hash of this repository. The board then installs from the folder alone."
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--jetpack", type=int, choices=JETPACKS, help="a Jetson with this JetPack")
    which.add_argument(
        "--debian", type=int, choices=DEBIANS, help="another board with this Debian, or Raspberry Pi OS"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the wheels"
    )
    parser.add_argument(
        "--constriction", type=Path, metavar="WHEEL",
        help="put in this wheel of constriction, which has none for aarch64 (default: leave it out)",
    )  # fmt: skip
    add_json(parser)
    parser.set_defaults(run=_wheelhouse)


def fetch(board: Board, folder: Path, constriction: Path | None = None) -> list[Path]:
    """Fill ``folder`` with the board's wheels and their ``SHA256SUMS``; what is there already is kept.

    Raises WheelhouseError where the folder has other wheels, this is no checkout, the wheel of constriction
    is not one for the board, or pip fails.
    """
    if not (ROOT / "pyproject.toml").is_file():
        raise WheelhouseError(
            f"{ROOT} is no checkout of ratehold, whose wheel the board needs: run it in one"
        )
    if constriction is not None:
        _check_constriction(constriction, board)
    folder.mkdir(parents=True, exist_ok=True)
    _check_folder(folder, board)
    pip = _pip()
    _call([*pip, "download", "--dest", str(folder), *_choices(board), "-r", str(LOCKS / board.lock)], board)
    for old in folder.glob("ratehold-*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as copy:
        _copy_sources(Path(copy))
        _call([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), copy], board)
    if constriction is not None:
        shutil.copy(constriction, folder)
    wheels = sorted(folder.glob("*.whl"))
    sums = [f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n" for wheel in wheels]
    (folder / SUMS).write_text("".join(sums), encoding="utf-8")
    return wheels


def _choices(board: Board) -> list[str]:
    python = f"3{board.python}"
    told = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp"]
    told += ["--python-version", python, "--abi", f"cp{python}"]
    for platform in board.platforms:
        told += ["--platform", platform]
    return told


def _pip() -> list[str]:
    if util.find_spec("pip") is None:
        raise WheelhouseError(f"{sys.executable} has no pip: python -m ensurepip")
    return [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def _call(command: Sequence[str], board: Board) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        said = lines[0].removeprefix("ERROR: ") if lines else f"exit status {done.returncode}"
        raise WheelhouseError(
            f"pip did not {command[5]} what {board.name} needs: {said}; it needs a package index with the "
            f"files of {LOCKS / board.lock}, which `make locks` writes anew"
        )


def _check_folder(folder: Path, board: Board) -> None:
    known = {_plain(name): version for name, version in board.packages().items()}
    for wheel in folder.glob("*.whl"):
        found = _WHEEL.fullmatch(wheel.name)
        name = _plain(found[1]) if found else ""
        ours = name in ("ratehold", "constriction")
        if found is None or not (ours or known.get(name) == found[2]):
            raise WheelhouseError(f"{wheel} is not of {board.name}'s wheelhouse: name an empty folder")


def _check_constriction(wheel: Path, board: Board) -> None:
    found = _WHEEL.fullmatch(wheel.name)
    tag = f"cp3{board.python}"
    if (
        found is None
        or found[1] != "constriction"
        or not (tag in found[3].split(".") or found[4] == "abi3")
        or not found[5].endswith("aarch64")
    ):
        raise WheelhouseError(f"{wheel.name} is no wheel of constriction for {tag} and aarch64")
    if not wheel.is_file():
        raise WheelhouseError(f"{wheel} is not there: build it with maturin, then name it")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _copy_sources(folder: Path) -> None:
    """A build leaves folders beside the sources, and takes stale ones into the wheel; so build a copy."""
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder)


def _wheelhouse(options: argparse.Namespace) -> None:
    board = JETPACKS[options.jetpack] if options.jetpack else DEBIANS[options.debian]
    wheels = fetch(board, options.output, options.constriction)
    size = sum(wheel.stat().st_size for wheel in wheels)
    extra = " constriction" if options.constriction else ""
    install = f"pip install --no-index --find-links {options.output} 'ratehold[{EXTRAS}]'{extra}"
    lines = [
        f"{len(wheels)} wheels, {size / 1e6:.0f} MB, for {board.name} (Python 3.{board.python}, aarch64) "
        f"in {options.output}",
        *([] if options.constriction else [LEFT_OUT]),
        f"on the board: {install}",
    ]
    told = {
        "board": board.name,
        "wheels": [wheel.name for wheel in wheels],
        "bytes": size,
        "constriction": options.constriction is not None,
        "install": install,
    }
    report(lines, told, options.json)
