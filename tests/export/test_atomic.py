"""What export writes appears whole, stays whole, and mixes with nothing."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from export.atomic import new_folders, share, whole_folder, write_whole
from export.errors import ExportError
from runtime.bundle import MANIFEST, load


@pytest.fixture
def out(tiny_bundles: dict[str, Path], tmp_path: Path) -> Path:
    """A folder with two bundles and what they share."""
    shutil.copytree(tiny_bundles["fp"].parent, tmp_path / "out")
    return tmp_path / "out"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_all_of_it_is_written(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out" / "a") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "out" / "a").exists()
        assert folder.parent == tmp_path / "out"  # so that ../shared is what it will be
    assert names(tmp_path / "out") == ["a"] and (tmp_path / "out" / "a" / "x").read_text() == "1"
    assert (tmp_path / "out" / "a").stat().st_mode & 0o555 == 0o555


def test_a_failure_leaves_the_older_bundle_and_nothing_else(out: Path) -> None:
    before = load(out / "tiny-fp").id
    with pytest.raises(KeyboardInterrupt), whole_folder(out / "tiny-fp") as folder:
        (folder / MANIFEST).write_text("half")
        raise KeyboardInterrupt
    assert load(out / "tiny-fp").id == before
    assert names(out) == ["shared", "tiny-fp", "tiny-mshp"]


def test_a_bundle_replaces_a_bundle_and_keeps_what_is_no_part_of_it(out: Path) -> None:
    (out / "tiny-fp" / "notes.txt").write_text("mine")
    with whole_folder(out / "tiny-fp") as folder:
        (folder / "x").write_text("1")
    assert names(out / "tiny-fp") == ["notes.txt", "x"]
    assert names(out) == ["shared", "tiny-fp", "tiny-mshp"]


def test_what_is_no_bundle_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.tex").write_text("years of work")
    (tmp_path / "b").write_text("a file")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    for name in "abc":
        with pytest.raises(ExportError, match="there already"), whole_folder(tmp_path / name):
            pass
    assert (tmp_path / "a" / "thesis.tex").exists() and names(tmp_path) == ["a", "b", "c"]


def test_two_at_once_do_not_mix(out: Path) -> None:
    """Each writes a number to 20 files, at the same pace; whoever is last leaves its own in all of them."""
    barrier = threading.Barrier(2, timeout=20)

    def write(number: int) -> None:
        for _ in range(10):
            with whole_folder(out / "tiny-fp") as folder:
                for file in range(20):
                    (folder / f"{file}").write_text(str(number))
                shutil.copy(out / "tiny-mshp" / MANIFEST, folder / MANIFEST)
                barrier.wait()

    threads = [threading.Thread(target=write, args=(number,), daemon=True) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not barrier.broken
    assert len({(out / "tiny-fp" / f"{file}").read_text() for file in range(20)}) == 1
    assert names(out) == ["shared", "tiny-fp", "tiny-mshp"]


def test_a_shared_file_is_never_replaced(tmp_path: Path) -> None:
    first = share(tmp_path / "shared" / "tail.onnx", b"one")
    assert first == tmp_path / "shared" / "tail.onnx" == share(first, b"one")
    other = share(first, b"two")
    assert other.name == "tail-3fc4ccfe.onnx" and other == share(first, b"two")
    assert (first.read_bytes(), other.read_bytes()) == (b"one", b"two")
    assert names(tmp_path / "shared") == ["tail-3fc4ccfe.onnx", "tail.onnx"]
    other.write_bytes(b"damaged")
    with pytest.raises(ExportError, match="other bytes"):
        share(first, b"two")


def test_a_disk_without_links_can_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    assert share(tmp_path / "a", b"one") == share(tmp_path / "a", b"one") == tmp_path / "a"
    assert share(tmp_path / "a", b"two").read_bytes() == b"two"
    assert len(names(tmp_path)) == 2


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(tmp_path / "a", b"one")
    write_whole(tmp_path / "a", b"two")

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(ExportError, match="No space left"):
        write_whole(tmp_path / "a", b"three")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"two"


def test_new_folders_move_together_and_replace_none(tmp_path: Path) -> None:
    with new_folders(tmp_path / "models", ("a", "b")) as made:
        for name in "ab":
            (made / name).mkdir()
            (made / name / "x").write_text("1")
        assert names(tmp_path / "models") == []
    assert names(tmp_path / "models") == ["a", "b"] and names(tmp_path) == ["models"]
    with pytest.raises(ExportError, match="cannot write"), new_folders(tmp_path / "models", ("a",)) as made:
        (made / "a").mkdir()
    assert (tmp_path / "models" / "a" / "x").read_text() == "1" and names(tmp_path) == ["models"]
