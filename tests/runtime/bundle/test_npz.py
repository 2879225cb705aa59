"""Arrays are read as NumPy reads them, within bounds, and nothing else is."""

from __future__ import annotations

import io
import time
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from runtime.bundle import INSTALLED, installed
from runtime.bundle.npz import MOST_UNPACKED, read_arrays


def saved(compressed: bool = True, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.comment = comment
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def npy(shape: tuple[int, ...], descr: str = "<i4", data: bytes = b"abcd") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


@given(
    arrays_of.arrays(
        st.sampled_from(["|i1", "|u1", "<i2", "<u4", "<i8", "<f2", "<f4", ">f8", "|b1"]),
        arrays_of.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    ),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=150)
def test_arrays_are_those_of_numpy(array: np.ndarray, fortran: bool, compressed: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    (found,) = read_arrays(saved(compressed, a=array)).values()
    assert found.dtype == array.dtype and found.flags.writeable
    assert found.shape == array.shape and found.tobytes() == array.tobytes()


@pytest.mark.parametrize("name", installed())
def test_shipped_arrays_are_those_of_numpy(name: str) -> None:
    for path in (INSTALLED / name).glob("*.npz"):
        with np.load(path) as archive:
            found = read_arrays(path.read_bytes())
            assert list(found) == archive.files
            assert all(np.array_equal(found[n], archive[n]) for n in archive.files)


def method(number: int, flag: int) -> bytes:
    data = bytearray(zipped({"a.npy": npy((1,))}, zipfile.ZIP_STORED))
    directory = data.find(b"PK\x01\x02")
    data[8], data[directory + 10] = number, number
    data[6], data[directory + 8] = flag, flag
    return bytes(data)


REFUSED = {
    "nothing": b"",
    "text": b"hello",
    "npy": npy((1,)),
    "pickle": b"\x80\x04\x95\x0a",
    "objects": saved(a=np.array([{"a": 1}], dtype=object)),
    "texts": saved(a=np.array(["a"])),
    "records": saved(a=np.zeros(2, "i4,f4")),
    "negative shape": zipped({"a.npy": npy((-1,))}),
    "shape of 2**31": zipped({"a.npy": npy((1 << 31,))}),
    "shape of 2**62": zipped({"a.npy": npy((1 << 62, 4))}),
    "zero times 2**33": zipped({"a.npy": npy((0, 1 << 33))}),
    "too short": zipped({"a.npy": npy((2,))}),
    "too long": zipped({"a.npy": npy((1,), data=b"abcde")}),
    "many axes": zipped({"a.npy": npy((1,) * 40)}),
    "a call": zipped({"a.npy": b"\x93NUMPY\1\0\x20\0" + b"{'descr': print(1)}".ljust(31) + b"\n"}),
    "no header": zipped({"a.npy": b"\x93NUMPY"}),
    "long header": zipped({"a.npy": b"\x93NUMPY\2\0" + b"\xff" * 4 + b"x" * 100}),
    "another member": zipped({"a.txt": b"a"}),
    "lzma": zipped({"a.npy": npy((1,))}, zipfile.ZIP_LZMA),
    "method 99": method(99, 0),
    "encrypted": method(0, 1),
    "comment": zipped({"a.npy": npy((1,))}, comment=b"x"),
    "many members": zipped({f"{n}.npy": npy((1,)) for n in range(300)}),
    "large directory": zipped({f"{n:0200}.npy": npy((1,)) for n in range(256)} | {"b" * 60000 + ".npy": b""}),
    "large file": bytes(1 << 24) + saved(a=np.zeros(1)),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_everything_else_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_arrays(REFUSED[kind])


def test_two_arrays_of_one_name_are_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.npy", npy((1,)))
        archive.writestr("a.npy", npy((1,)))
    with pytest.raises(ValueError, match="two of one name"):
        read_arrays(file.getvalue())


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zipped({f"{n}.npy": npy((1 << 23,), "|u1", bytes(1 << 23)) for n in range(9)})
    assert len(bomb) < MOST_UNPACKED / 500
    start = time.perf_counter()
    with pytest.raises(ValueError, match="take more than"):
        read_arrays(bomb)
    assert time.perf_counter() - start < 0.1


def test_a_size_that_lies_unpacks_no_more_than_it_says() -> None:
    data = bytearray(zipped({"a.npy": npy((1 << 20,), "|u1", bytes(1 << 20))}))
    at = data.find(b"PK\x01\x02") + 24
    data[at : at + 4] = (200).to_bytes(4, "little")
    with pytest.raises(ValueError, match=r"\w"):
        read_arrays(bytes(data))


@given(st.data())
@settings(max_examples=200)
def test_damaged_files_are_value_errors_or_arrays(data: st.DataObject) -> None:
    file = bytearray(saved(data.draw(st.booleans()), a=np.arange(20), b=np.ones((3, 4), np.float32)))
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_arrays(bytes(file))
    except ValueError:
        return
    assert all(isinstance(array, np.ndarray) for array in found.values())
