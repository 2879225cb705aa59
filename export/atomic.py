"""Files and folders that appear whole: written beside their place under another name, then renamed.

Whoever reads sees all of the old one or all of the new one, also after a crash or a full disk. Two exports at
once write two folders of their own; the last one to end is the one that stays, unmixed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from export.errors import ExportError
from runtime.bundle import MANIFEST, Manifest
from runtime.errors import BundleError

TRIES = 20
"""Times that a folder is renamed while others rename theirs to the same name."""

TAKEN = (errno.EEXIST, errno.ENOTEMPTY)
"""Errors of a rename to a name that somebody has. A look afterwards is too late: they may have moved on."""


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, in place of an older one. Raises ExportError when it cannot; the older one then stays."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _written(path, data)
        try:
            temporary.replace(path)
        except OSError:
            temporary.unlink()
            raise
        _sync(path.parent)


def share(path: Path, data: bytes) -> Path:
    """Write a file that finished bundles may use already: never in place of another.

    Returns ``path``, or where that holds something else, the same with the digest of ``data`` in its name.
    """
    digest = hashlib.sha256(data).hexdigest()[:8]
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for place in (path, path.with_name(f"{path.stem}-{digest}{path.suffix}")):
            temporary = _written(place, data)
            try:
                os.link(temporary, place)  # unlike a rename it fails where somebody was faster
            except FileExistsError:
                if place.read_bytes() == data:
                    return place
            except OSError:  # a disk without links
                if not place.exists():
                    temporary.replace(place)
                    return place
                if place.read_bytes() == data:
                    return place
            else:
                _sync(place.parent)
                return place
            finally:
                temporary.unlink(missing_ok=True)
    raise ExportError(f"{place} is there already with other bytes: remove it, or name another folder")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write a bundle to, beside ``folder``; when the block ends it takes that name.

    It takes the place of an older bundle, from which it keeps the files that no manifest names. When the
    block fails, it is removed. Raises ExportError where something else has the name, or the disk is full.
    """
    with _told(folder):
        _check_replaceable(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield made
        with _told(folder):
            _keep_others(folder, made)
            made.chmod(0o777 & ~_umask())
            for path in made.rglob("*"):
                _sync(path)
            _sync(made)
            _take_place(made, folder)
            _sync(folder.parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def new_folders(parent: Path, names: Iterable[str]) -> Iterator[Path]:
    """A folder to write several folders to; when the block ends they move to ``parent``, one after the other.

    Raises ExportError where one of the names is taken; the folders before it in ``names`` may be there then.
    """
    with _told(parent):
        parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{parent.name}.", dir=parent.absolute().parent))
    try:
        yield made
        with _told(parent):
            for path in made.rglob("*"):
                _sync(path)
            for name in names:
                (made / name).rename(parent / name)
            _sync(parent)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _check_replaceable(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ExportError(f"{folder} is there already and is not a folder: remove it, or name another")
    with suppress(FileNotFoundError):  # others may move it away meanwhile
        if not (folder / MANIFEST).is_file() and any(folder.iterdir()):
            raise ExportError(
                f"{folder} is there already and is not a bundle: remove it, or name another folder"
            )


def _keep_others(old: Path, new: Path) -> None:
    """Copy what lies in the old folder beside its bundle: half graphs, notes."""
    try:
        named = Manifest.from_json((old / MANIFEST).read_text(encoding="utf-8")).files.values()
    except (OSError, UnicodeDecodeError, BundleError):
        return
    bundles = {MANIFEST, *(entry.path for entry in named)}
    for path in old.iterdir():
        if path.is_file() and path.name not in bundles and not (new / path.name).exists():
            shutil.copy2(path, new / path.name)


def _take_place(made: Path, folder: Path) -> None:
    """Rename, after moving an older folder aside."""
    for _ in range(TRIES):
        try:
            made.rename(folder)
            return
        except OSError as error:
            if error.errno not in TAKEN and not folder.exists():
                raise
        _check_replaceable(folder)  # others may have been faster
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        with suppress(FileNotFoundError):
            folder.rename(aside / "old")
        try:
            made.rename(folder)
            return
        except OSError as error:
            if error.errno not in TAKEN and not folder.exists() and (aside / "old").exists():
                (aside / "old").rename(folder)
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    raise ExportError(f"{folder}: other exports keep writing it; name another folder")


def _written(path: Path, data: bytes) -> Path:
    """A file beside ``path`` that is on the disk, with the rights of a new file."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk; file systems without it are let be."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The process's mask: it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportError(f"{path}: cannot write it: {error.strerror or error}") from error
