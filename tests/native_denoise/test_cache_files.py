"""Files of a cache: whole or not at all, and only those that nobody else can have written."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from native_denoise import cache_files
from native_denoise.cache_files import CacheFileError, cache_folder, read, write

KEY = hashlib.sha256(b"key").digest()


@pytest.fixture
def kept(tmp_path):
    write(tmp_path / "new" / "ratehold" / "x", KEY, b"payload")
    return tmp_path / "new" / "ratehold" / "x"


def test_what_was_written_is_read_and_private(kept):
    assert read(kept, KEY) == b"payload"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in list(kept.parents)[:2]] == [0o700, 0o700]
    assert list(kept.parent.iterdir()) == [kept]


def test_a_missing_file_is_none(tmp_path):
    assert read(tmp_path / "x", KEY) is None


@pytest.mark.parametrize("size", [0, 1, 32, 63, 64, 70])
def test_a_torn_file_is_told(kept, size):
    kept.write_bytes(kept.read_bytes()[:size])
    with pytest.raises(CacheFileError, match="damaged"):
        read(kept, KEY)


def test_a_file_of_another_key_is_told(kept):
    with pytest.raises(CacheFileError, match="damaged, or of another"):
        read(kept, hashlib.sha256(b"another").digest())


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_not_used(kept, mode):
    kept.chmod(mode)
    with pytest.raises(CacheFileError, match="another user"):
        read(kept, KEY)


def test_a_file_of_another_user_is_not_used(kept, monkeypatch):
    monkeypatch.setattr(cache_files.os, "geteuid", lambda: 4242)
    if os.getuid() == 0:
        assert read(kept, KEY) == b"payload"  # root's: as an image has it that root built
        os.chown(kept, 4243, 4243)
    with pytest.raises(CacheFileError, match="another user"):
        read(kept, KEY)


def test_what_is_no_file_is_told_at_once(kept):
    kept.unlink()
    os.mkfifo(kept, 0o600)
    with pytest.raises(CacheFileError, match="not a file"):
        read(kept, KEY)
    kept.unlink()
    kept.mkdir()
    with pytest.raises(CacheFileError, match="Is a directory"):
        read(kept, KEY)


@pytest.mark.parametrize("where", ["/proc/nowhere/x", "/dev/null/x"])
def test_a_folder_that_cannot_be_made_is_told_with_its_cure(where):
    with pytest.raises(CacheFileError, match="RATEHOLD_CACHE"):
        write(Path(where), KEY, b"payload")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"RATEHOLD_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"RATEHOLD_CACHE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/ratehold"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/c"}, "/c/.cache/ratehold"),
        ({"HOME": "/c"}, "/c/.cache/ratehold"),
    ],
)
def test_where_the_cache_is(monkeypatch, variables, folder):
    for name in ("RATEHOLD_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(folder)


def test_a_user_without_a_home_is_told_the_cure(monkeypatch):
    import pwd

    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("RATEHOLD_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CacheFileError, match="RATEHOLD_CACHE"):
        cache_folder()
    monkeypatch.setenv("HOME", "")
    with pytest.raises(CacheFileError, match="RATEHOLD_CACHE"):
        cache_folder()
