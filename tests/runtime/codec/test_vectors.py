"""The vectors: product and page decoder agree with them, and they change only with the version."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.codec.page_decoder import PageDecoder, Refused
from tests.runtime.codec.product import VERSION, Codec, Flags
from tests.vectors import make
from tests.vectors.make import BUNDLES, FOLDER, INDEX, PAGE

VECTORS = json.loads((FOLDER / INDEX).read_text(encoding="utf-8"))
ACCEPTED = [v for v in VECTORS["vectors"] if v["verdict"] == "accepted"]
REFUSED = [v for v in VECTORS["vectors"] if v["verdict"] != "accepted"]
KINDS = {"factorized", "hyperprior", "coarse", "rate_controlled", "escapes", "damaged"}


def named(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[v["name"] for v in vectors])


@cache
def codec(bundle: str) -> Codec:
    return Codec(BUNDLES / bundle)


@cache
def page(bundle: str) -> PageDecoder:
    return PageDecoder(BUNDLES / bundle)


def packet(vector: dict[str, Any]) -> bytes:
    return (FOLDER / "packets" / f"{vector['name']}.bin").read_bytes()


def symbols(vector: dict[str, Any], part: str) -> Any:
    """z, y or y_hat in the shape of its bundle; z is None without a hyperprior."""
    shape = VECTORS["bundles"][vector["bundle"]]["hyper" if part == "z" else "latent"]
    path = FOLDER / "symbols" / f"{vector['name']}.{part}.{'f32' if part == 'y_hat' else 'i32'}"
    if shape is None:
        assert not path.exists()
        return None
    return np.frombuffer(path.read_bytes(), "<f4" if part == "y_hat" else "<i4").reshape(shape)


def check_frame(vector: dict[str, Any], frame: Any) -> None:
    assert np.array_equal(frame.y, symbols(vector, "y"))
    z = symbols(vector, "z")
    assert frame.z is None if z is None else np.array_equal(frame.z, z)
    assert frame.y_hat.dtype == np.float32
    assert frame.y_hat.tobytes() == symbols(vector, "y_hat").tobytes()
    assert frame.coarseness == vector["coarseness"]


def flags(vector: dict[str, Any]) -> Flags:
    return Flags(vector["denoised"] + 2 * vector["rate_controlled"])


@named(ACCEPTED)
def test_the_page_decoder_accepts(vector: dict[str, Any]) -> None:
    frame = page(vector["bundle"]).decode(packet(vector))
    check_frame(vector, frame)
    assert (frame.denoised, frame.rate_controlled) == (vector["denoised"], vector["rate_controlled"])


@named(ACCEPTED)
def test_the_product_accepts(vector: dict[str, Any]) -> None:
    frame = codec(vector["bundle"]).decode(packet(vector))
    assert not isinstance(frame, str), frame
    check_frame(vector, frame)
    assert frame.flags == flags(vector)


@named(ACCEPTED)
def test_the_product_writes(vector: dict[str, Any]) -> None:
    z, y = symbols(vector, "z"), symbols(vector, "y")
    assert codec(vector["bundle"]).encode(z, y, vector["coarseness"], flags(vector)) == packet(vector)


@named(REFUSED)
def test_both_refuse(vector: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        page(vector["bundle"]).decode(packet(vector))
    assert refused.value.verdict == vector["verdict"]
    assert codec(vector["bundle"]).decode(packet(vector)) == vector["verdict"]


def test_every_kind_and_every_verdict_is_there() -> None:
    assert {v["kind"] for v in VECTORS["vectors"]} == KINDS
    table = re.findall(r"^\| \d+ \| [^|]+ \| (\w+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert {v["verdict"] for v in REFUSED} == set(table)
    assert {(v["coarseness"] + 2) // 4 for v in ACCEPTED} >= {0, 1, 4, 10, 16}
    assert {len(packet(v)) > 16_384 for v in ACCEPTED} == {True, False}


def test_a_fused_multiplication_would_be_noticed() -> None:
    """Rounding y_hat once instead of twice differs in some vector."""
    differs = 0
    for vector in ACCEPTED:
        if (z := symbols(vector, "z")) is not None:
            _, mean = page(vector["bundle"]).parameters(z, vector["coarseness"])
            steps = round(65536 * (256 / 0.11) ** (vector["coarseness"] / 252)) / 65536
            once = (symbols(vector, "y") * steps + mean / 16).astype(np.float32)
            differs += np.count_nonzero(once != symbols(vector, "y_hat"))
    assert differs > 0


def test_the_index_names_every_file_and_its_hash() -> None:
    named = {path: digest for v in VECTORS["vectors"] for path, digest in v["files"].items()}
    found = [path for folder in ("packets", "symbols") for path in (FOLDER / folder).iterdir()]
    assert {path.relative_to(FOLDER).as_posix() for path in found} == set(named)
    for path in found:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert digest == named[path.relative_to(FOLDER).as_posix()], path
    for name, bundle in VECTORS["bundles"].items():
        assert codec(name).bundle.id.hex() == page(name).id.hex() == bundle["id"]


def test_the_vectors_change_only_with_the_version() -> None:
    """Page, product and index have one version, and the page pins the index."""
    text = PAGE.read_text(encoding="utf-8")
    title, pins = text.splitlines()[0], re.findall(r"^\| (\d+) \| `([0-9a-f]{64})` \|$", text, re.MULTILINE)
    assert title == f"# Wire format, version {VERSION}"
    assert VECTORS["format_version"] == VERSION
    assert all(packet(vector)[2] == VERSION for vector in ACCEPTED)
    digest = hashlib.sha256((FOLDER / INDEX).read_bytes()).hexdigest()
    assert pins[-1] == (str(VERSION), digest), (
        "a change of a vector is a new version; a further vector only needs its hash in docs/format.md"
    )


def test_they_are_made_again_alike(tmp_path: Path) -> None:
    make.write(tmp_path)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 1 + sum(len(v["files"]) for v in VECTORS["vectors"])
    for path in written:
        assert path.read_bytes() == (FOLDER / path.relative_to(tmp_path)).read_bytes(), path.name


def test_a_changed_vector_is_refused(tmp_path: Path) -> None:
    changed = json.loads(json.dumps(VECTORS))
    changed["vectors"][0]["files"] = {}
    (tmp_path / INDEX).write_text(json.dumps(changed), encoding="utf-8")
    with pytest.raises(SystemExit, match=f"{changed['vectors'][0]['name']}: a change needs a version after"):
        make.write(tmp_path)
