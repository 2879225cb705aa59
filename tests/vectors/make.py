"""Makes the vectors: python -m tests.vectors.make

The same call writes the same bytes. A vector that is there already is never changed: that needs a new version
of the format (docs/format.md), and a new one begins with an empty index.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.runtime.codec.page_decoder import PageDecoder, reading_order, seal
from tests.runtime.codec.product import VERSION, Codec, Flags
from tests.vectors.bundles import FOLDER as BUNDLES

FOLDER = Path(__file__).parent
INDEX = "index.json"
PAGE = FOLDER.parent.parent / "docs" / "format.md"
FAR = 1 << 20
"""The largest symbol."""


@dataclass(frozen=True)
class Vector:
    """One packet. ``verdict`` is ``accepted`` or one of the page's; z, y: the symbols of an accepted one."""

    name: str
    kind: str
    bundle: str
    about: str
    packet: bytes
    verdict: str = "accepted"
    z: Any = None
    y: Any = None


class Noise:
    """Numbers that look random and are the same with every NumPy: SHAKE-256 of a name and a counter."""

    def __init__(self, name: str):
        self._name, self._calls = name, 0

    def integers(self, low: int, high: int, shape: Any) -> Any:
        """int32 of a shape, ``low`` to ``high``, both included."""
        self._calls += 1
        seed, size = f"{self._name} {self._calls}".encode(), int(np.prod(shape))
        drawn = np.frombuffer(hashlib.shake_256(seed).digest(4 * size), "<u4").reshape(shape)
        return (drawn % (high - low + 1)).astype(np.int32) + low

    def choice(self, values: list[int], shape: Any) -> Any:
        """int32 of a shape, each one of the values."""
        return np.array(values, np.int32)[self.integers(0, len(values) - 1, shape)]


def vectors() -> Iterator[Vector]:
    """All vectors."""
    for bundle in sorted(path.name for path in BUNDLES.iterdir()):
        yield from _accepted(bundle, Codec(BUNDLES / bundle))
    yield from _damaged()


def _accepted(bundle: str, codec: Codec) -> Iterator[Vector]:
    noise, kind = Noise(bundle), "hyperprior" if codec.hyper else "factorized"

    def vector(
        name: str, kind: str, about: str, y: Any, z: Any = None, c: int = 0, flags: Flags = Flags.NONE
    ) -> Vector:
        packet = codec.encode(z, y, c, flags)
        return Vector(f"{bundle}.{name}", kind, bundle, about, packet, z=z, y=np.int32(y))

    def latent(spread: float) -> Any:
        """A y in sixteenths, so that no machine rounds it differently."""
        bell = sum(noise.integers(-127, 127, codec.latent) for _ in range(4)) / 147
        return (np.rint(16 * spread * bell) / 16).astype(np.float32)

    if bundle == "fp-long":
        y = noise.integers(-FAR, FAR, codec.latent)
        yield vector("escapes", "escapes", "a length of three bytes: almost every symbol is an escape", y)
        return
    if bundle == "fp-far":
        y = np.array([[[FAR, -FAR, 0]], [[-FAR, FAR, 0]], [[-1, 0, 1]]])
        yield vector("ends", "escapes", "from one end of the range to the other: k = 21", y)
        yield vector("likeliest", "coarse", "the first of two largest counts takes what is missing", y, c=3)
        return
    z = noise.integers(-3, 3, codec.hyper) if codec.hyper else None
    yield vector("plain", kind, "steps of the bundle", codec.symbols(z, latent(0.8)), z)
    yield vector("zeros", kind, "every symbol is 0", np.zeros(codec.latent), None if z is None else 0 * z)
    yield vector("denoised", kind, "bit 0 of done", codec.symbols(z, latent(0.5)), z, 0, Flags.DENOISED)
    for c in (1, 2, 5, 17, 40, 63):
        y = codec.symbols(z, latent(1.0 + c / 8), c)
        yield vector(f"coarse-{c}", "coarse", f"coarseness {c}", y, z, c)
    for c, weight in ((0, 0.05), (4, 0.02), (63, 0.5)):
        y, about = codec.symbols(z, latent(2 + c / 16), c, weight), f"lambda {weight} at coarseness {c}"
        flags = Flags.DENOISED | Flags.RATE_CONTROLLED if c == 4 else Flags.RATE_CONTROLLED
        yield vector(f"rate-controlled-{c}", "rate_controlled", about, y, z, c, flags)
    for c in (0, 21):
        wide = latent(2.0) * np.exp2(noise.integers(0, 13, codec.latent))
        y = codec.symbols(z, wide.astype(np.float32), c)
        yield vector(f"escapes-{c}", "escapes", f"many escapes at coarseness {c}", y, z, c)
    ends = noise.choice([-FAR, 1 - FAR, -70_001, 0, 70_001, FAR - 1, FAR], codec.latent)
    yield vector("escapes-far", "escapes", "symbols up to the largest", ends, z)
    yield vector("escapes-far-63", "escapes", "the same, coarseness 63: y_hat is rounded", ends, z, 63)
    if codec.hyper:
        about = "z up to its largest, 65536: h_s sees at most 127"
        z = noise.choice([-65536, -128, -127, 0, 1, 127, 128, 65536], codec.hyper)
        yield vector("large-z", "escapes", about, codec.symbols(z, latent(2.0)), z)


def _damaged() -> Iterator[Vector]:
    codec, hyper = Codec(BUNDLES / "fp"), Codec(BUNDLES / "mshp")
    noise = Noise("damaged")
    y = np.zeros(codec.latent, np.int32)
    y[0], y[2] = noise.integers(-1, 1, y.shape[1:]), 1
    good = codec.encode(None, y)
    payload, limit = good[13:-4], 16 + 9 * y.size
    assert good[12] == len(payload) < 128
    z, y_of_z = noise.integers(-3, 3, hyper.hyper), noise.integers(-2, 2, hyper.latent)

    def damaged(name: str, verdict: str, about: str, packet: bytes, bundle: str = "fp") -> Vector:
        return Vector(f"damaged.{name}", "damaged", bundle, about, packet, verdict)

    def repaired(about: bytes, stream: bytes, after: bytes = b"") -> bytes:
        body = about + stream
        return body + zlib.crc32(body).to_bytes(4, "little") + after

    def carrying(stream: bytes) -> bytes:
        assert len(stream) < 1 << 14
        low, high = len(stream) & 127, len(stream) >> 7
        return repaired(good[:12] + (bytes([low | 128, high]) if high else bytes([low])), stream)

    yield damaged("empty", "truncated", "no byte", b"")
    yield damaged("16-bytes", "truncated", "one byte less than any packet", good[:16])
    yield damaged(
        "16-others", "truncated", "16 bytes of something else: too few come first", bytes(range(16))
    )
    yield damaged("cut", "truncated", "the last byte is missing", good[:-1])
    yield damaged("magic", "format", "RI instead of RH", repaired(b"RI" + good[2:13], payload))
    yield damaged("version", "format", "version 3", repaired(b"RH\3" + good[3:13], payload))
    long_form = good[:12] + bytes([len(payload) | 128, 0])
    yield damaged(
        "length-form", "format", "a length of two bytes where one will do", repaired(long_form, payload)
    )
    five = good[:12] + bytes([len(payload) | 128, 128, 128, 128, 0])
    yield damaged("length-five", "format", "a length of five bytes", repaired(five, payload))
    yield damaged("trailing", "format", "one byte follows the CRC-32", repaired(good[:13], payload, b"\0"))
    much = good[:12] + bytes([(limit + 1) & 127 | 128, (limit + 1) >> 7])
    about = f"a length of {limit + 1}, one over the limit; that comes before the missing bytes"
    yield damaged("length-limit", "too_large", about, repaired(much, payload))
    flipped = bytes([payload[0] ^ 1]) + payload[1:]
    yield damaged("bit", "checksum", "a bit of the payload", good[:13] + flipped + good[-4:])
    yield damaged("flag", "checksum", "a bit of done", good[:11] + b"\1" + good[12:])
    of_another = hyper.encode(z, y_of_z)
    yield damaged("another-bundle", "bundle", "a packet of the bundle mshp", of_another)
    yield damaged("payload", "sync", "a bit of the payload, the CRC-32 right", carrying(flipped))
    yield damaged("nothing", "sync", "an empty stream", carrying(b""))
    yield damaged("zero-byte", "sync", "the stream ends in a zero byte", carrying(payload + b"\0"))
    yield damaged("word", "sync", "one word more at the bottom of the stack", carrying(b"\1\2\3\4" + payload))
    yield damaged("seal", "sync", "a seal of other symbols", codec.encode(None, y, broken_seal=1))
    steps = good[:11] + bytes([1 << 2]) + good[12:13]
    yield damaged(
        "coarseness", "sync", "coarseness 1 instead of 0, the CRC-32 right", repaired(steps, payload)
    )
    about = "d has 23 bits: 1, 22 zeros, 23 bits"
    yield damaged("escape-long", "sync", about, carrying(_escaped_stream(f"1{'0' * 22}1{'0' * 22}")))
    # Table 0 ends with the symbol 3, so 2**20 + 1 is d = 2**20 - 2.
    value = f"{FAR + 1 - 3:b}"
    about = "the value 2^20 + 1"
    yield damaged(
        "escape-far", "sync", about, carrying(_escaped_stream(f"0{'0' * (len(value) - 1)}{value}", FAR + 1))
    )
    numbers, _ = PageDecoder(BUNDLES / "mshp").parameters(z, 0)
    other = seal(z, y_of_z) ^ seal(z, y_of_z.ravel()[reading_order(numbers)])
    assert other
    about = "the seal of y in the order of reading instead of that of its array"
    yield damaged("seal-order", "sync", about, hyper.encode(z, y_of_z, broken_seal=other), "mshp")
    z = z.copy()
    z[0, 0, 0] = 65537
    yield damaged("z-far", "sync", "a z of 65537", hyper.encode(z, y_of_z), "mshp")


def _escaped_stream(bits: str, value: int = 0) -> bytes:
    """A stream of the bundle fp: the first symbol is an escape of these bits, the others the first of their
    tables. Written from the page, since no encoder writes it; sealed as if the escape meant ``value``.
    """
    decoder = PageDecoder(BUNDLES / "fp")
    tables = [table for table in decoder.tables for _ in range(42)]
    symbols = [value] + [table.offset for table in tables[1:]]
    entries = [(tables[0].starts[-1], tables[0].counts[-1])] + [(0, table.counts[0]) for table in tables[1:]]
    x, words = seal(symbols), b""
    for start, count in reversed(entries + [(int(bit) << 23, 1 << 23) for bit in bits]):
        if x >> 40 >= count:
            words, x = words + (x & 0xFFFFFFFF).to_bytes(4, "little"), x >> 32
        x = (x // count << 24) + start + x % count
    return (words + x.to_bytes(8, "little")).rstrip(b"\0")


def write(folder: Path = FOLDER) -> None:
    """Write packets, symbols and index. Raises SystemExit where that would change a vector."""
    path = folder / INDEX
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"format_version": None}
    entries: dict[str, dict[str, Any]] = {}
    files: dict[str, bytes] = {}
    for vector in vectors():
        written = _files(vector)
        entries[vector.name] = _entry(vector, written)
        files |= written
    if known["format_version"] == VERSION:
        changed = [entry["name"] for entry in known["vectors"] if entries.get(entry["name"]) != entry]
        if changed:
            raise SystemExit(
                f"{', '.join(changed)}: a change needs a version after {VERSION} (docs/format.md)"
            )
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    index = {"format_version": VERSION, "bundles": _bundles(), "vectors": list(entries.values())}
    path.write_bytes((json.dumps(index, indent=1) + "\n").encode())


def _files(vector: Vector) -> dict[str, bytes]:
    """The files of a vector by their path in the folder."""
    files = {f"packets/{vector.name}.bin": vector.packet}
    if vector.verdict != "accepted":
        return files
    frame = Codec(BUNDLES / vector.bundle).decode(vector.packet)
    assert not isinstance(frame, str) and np.array_equal(frame.y, vector.y), vector.name
    arrays = {"y.i32": ("<i4", vector.y), "y_hat.f32": ("<f4", frame.y_hat)}
    if vector.z is not None:
        arrays["z.i32"] = ("<i4", vector.z)
    for name, (dtype, array) in arrays.items():
        files[f"symbols/{vector.name}.{name}"] = np.ascontiguousarray(array, dtype).tobytes()
    return files


def _entry(vector: Vector, files: dict[str, bytes]) -> dict[str, Any]:
    """What the index says about a vector."""
    entry: dict[str, Any] = {
        "name": vector.name, "kind": vector.kind, "bundle": vector.bundle, "about": vector.about,
        "verdict": vector.verdict,
    }  # fmt: skip
    if vector.verdict == "accepted":
        done = vector.packet[11]
        entry |= {"denoised": bool(done & 1), "rate_controlled": bool(done & 2), "coarseness": done >> 2}
    return entry | {"files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}}


def _bundles() -> dict[str, dict[str, Any]]:
    """Id and shapes of each bundle."""
    found = {}
    for folder in sorted(BUNDLES.iterdir()):
        manifest = (folder / "manifest.json").read_bytes()
        shapes = {name: json.loads(manifest)[name] for name in ("latent", "hyper")}
        found[folder.name] = {"id": hashlib.sha256(manifest).hexdigest()[:16], **shapes}
    return found


if __name__ == "__main__":
    write()
    print(f"| {VERSION} | `{hashlib.sha256((FOLDER / INDEX).read_bytes()).hexdigest()}` |  <- docs/format.md")
