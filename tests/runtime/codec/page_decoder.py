"""A decoder written from docs/format.md alone: packet -> symbols -> y_hat.

It imports nothing of the product and favours the page's words over speed. Names and order follow the page.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MAGIC, VERSION = b"RH", 2
TOTAL = 1 << 24
FACTORS = [round(2**16 * (256 / 0.11) ** (c / 252)) for c in range(64)]
PATH = re.compile(r"(\.\./shared/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
MEMBERS = {
    "schema", "name", "backbone", "prior", "rate", "step", "preprocess", "latent", "hyper", "features",
    "clean_bits", "files", "provenance",
}  # fmt: skip
MORE = {1: {"classes"}, 2: {"classes", "budget"}, 3: {"task", "outputs", "budget"}}


class Refused(Exception):
    """A packet that is not taken; ``verdict`` is a word of the page's table of checks."""

    def __init__(self, verdict: str):
        super().__init__(verdict)
        self.verdict = verdict


class Table:
    """A coding table: symbols ``offset`` to ``offset + size - 2``, then the escape."""

    def __init__(self, counts: list[int], offset: int):
        assert 2 <= len(counts) <= 65536 and min(counts) >= 1 and sum(counts) == TOTAL
        assert offset >= -(1 << 20) and offset + len(counts) - 2 <= 1 << 20
        self.counts, self.offset, self.size = counts, offset, len(counts)
        self.starts = [0] * self.size
        for entry in range(1, self.size):
            self.starts[entry] = self.starts[entry - 1] + counts[entry - 1]

    def rebinned(self, c: int) -> Table:
        """The table of symbols that count steps of F(c) / 2^16."""
        if c == 0:
            return self
        wide = FACTORS[c]
        edges = [
            (2 * (self.offset + i) - 1 << 16, 2 * (self.offset + i) + 1 << 16) for i in range(self.size - 1)
        ]
        counts, first = [], None
        s = edges[0][0] // (2 * wide) - 1
        while (2 * s - 1) * wide < edges[-1][1]:
            low, high = (2 * s - 1) * wide, (2 * s + 1) * wide
            if high > edges[0][0]:
                first = s if first is None else first
                shared = [max(0, min(high, b) - max(low, a)) for a, b in edges]
                mass = sum(count * length for count, length in zip(self.counts, shared, strict=False))
                counts.append(max(1, mass >> 17))
            s += 1
        counts.append(self.counts[-1])
        counts[counts.index(max(counts))] += TOTAL - sum(counts)
        assert first is not None
        return Table(counts, first)


class Stack:
    """The stream: a state and the words below it."""

    def __init__(self, payload: bytes):
        if payload.endswith(b"\0"):
            raise Refused("sync")
        filled = payload + bytes(-len(payload) % 4)
        self.words = [int.from_bytes(filled[i : i + 4], "little") for i in range(0, len(filled), 4)]
        top, self.words = self.words[-2:], self.words[:-2]
        self.x = sum(word << 32 * i for i, word in enumerate(top))

    def pop(self, starts: list[int], counts: list[int]) -> int:
        """The number of an entry."""
        q = self.x % TOTAL
        entry = bisect_right(starts, q) - 1
        self.x = (self.x >> 24) * counts[entry] + q - starts[entry]
        if self.x < 1 << 32 and self.words:
            self.x = (self.x << 32) + self.words.pop()
        return entry

    def bit(self) -> int:
        """A bit of an escaped value."""
        return self.pop([0, 1 << 23], [1 << 23, 1 << 23])

    def escaped(self, table: Table) -> int:
        """A value outside its table."""
        below, k = self.bit(), 0
        while not self.bit():
            k += 1
            if k > 21:
                raise Refused("sync")
        d = 1
        for _ in range(k):
            d = 2 * d + self.bit()
        value = table.offset - d if below else table.offset + table.size - 2 + d
        if abs(value) > 1 << 20:
            raise Refused("sync")
        return value

    def part(self, numbers: list[int], tables: list[Table]) -> list[int]:
        """The symbols of one part by place, given the number of the table of each."""
        symbols, escapes = [0] * len(numbers), []
        for place in sorted(
            range(len(numbers)), key=numbers.__getitem__
        ):  # stable, so by place within a table
            table = tables[numbers[place]]
            entry = self.pop(table.starts, table.counts)
            symbols[place] = table.offset + entry
            if entry == table.size - 1:
                escapes.append(place)
        for place in sorted(escapes):
            symbols[place] = self.escaped(tables[numbers[place]])
        return symbols


def reading_order(numbers: list[int]) -> list[int]:
    """Places by table number, then by place, given the number of the table at each."""
    return sorted(range(len(numbers)), key=numbers.__getitem__)  # stable


@dataclass(frozen=True)
class Layer:
    """One layer of the exact h_s; int64 arrays."""

    weight: Any
    bias: Any
    shift: Any
    geometry: list[int]

    def __call__(self, a: Any) -> Any:
        """(in, H, W) -> (out, H', W')."""
        transposed, s, p, e, _, low, high, leaky = self.geometry
        w, k = self.weight, self.weight.shape[-1]
        if transposed:  # a convolution of the inputs with zeros between them, its kernel turned around
            spread = np.zeros((len(a), *((n - 1) * s + 1 for n in a.shape[1:])), np.int64)
            spread[:, ::s, ::s] = a
            a = np.pad(spread, ((0, 0), (k - 1, k - 1 + e), (k - 1, k - 1 + e)))
            a = a[:, p : a.shape[1] - p, p : a.shape[2] - p]
            w, s = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], 1
        else:
            a = np.pad(a, ((0, 0), (p, p), (p, p)))
        windows = np.lib.stride_tricks.sliding_window_view(a, (k, k), axis=(1, 2))[:, ::s, ::s]
        sums = np.tensordot(w, windows, axes=([1, 2, 3], [0, 3, 4])) + self.bias[:, None, None]
        shift = self.shift[:, None, None]
        value = sums >> shift
        if leaky:
            value = np.maximum(value, 5 * sums >> shift + 9)
        return np.clip(value, low, high)


class Synthesis:
    """The exact h_s of a bundle."""

    def __init__(self, arrays: dict[str, Any]):
        self.layers: list[Layer] = []
        self.rungs = arrays.get("h_s.rungs")
        while f"h_s.{len(self.layers)}.weight" in arrays:
            self.layers.append(self._layer(arrays, f"h_s.{len(self.layers)}."))
        for number, layer in enumerate(self.layers):
            axes = (0, 2, 3) if layer.geometry[0] else (1, 2, 3)
            assert (127 * np.abs(layer.weight).sum(axes) + np.abs(layer.bias)).max() < 1 << 20
            hidden = number < len(self.layers) - 1
            assert not hidden or -127 <= layer.geometry[5] <= layer.geometry[6] <= 127

    def _layer(self, arrays: dict[str, Any], prefix: str) -> Layer:
        weight, bias, geometry = (
            arrays[prefix + name].astype(np.int64) for name in ("weight", "bias", "geometry")
        )
        shift = arrays.get(prefix + "shift", np.full(len(bias), geometry[4])).astype(np.int64)
        return Layer(weight, bias, shift, [*geometry.tolist(), 0][:8])

    def __call__(self, z: Any) -> Any:
        """int (C, H, W) -> int64 (2 C', H', W'): table numbers, then means in sixteenths."""
        a = np.clip(z, -127, 127).astype(np.int64)
        for layer in self.layers:
            a = layer(a)
        if self.rungs is not None:
            scale, mean = np.split(a, 2)
            a = np.concatenate([self.rungs[np.clip(scale, 0, len(self.rungs) - 1)], mean])
        return a


@dataclass(frozen=True)
class Frame:
    """What a packet says: int64 z and y, float32 y_hat of the bundle's shapes; no z without a hyperprior."""

    z: Any
    y: Any
    y_hat: Any
    denoised: bool
    rate_controlled: bool
    coarseness: int


class PageDecoder:
    """Decodes packets of the bundle in a folder."""

    def __init__(self, folder: Path):
        text = (folder / "manifest.json").read_bytes()
        self.id = hashlib.sha256(text).digest()[:8]
        manifest = json.loads(text.decode("utf-8"))
        assert manifest["schema"] in MORE and manifest["prior"] in ("fp", "mshp")
        assert set(manifest) == MEMBERS | MORE[manifest["schema"]]
        self.latent: tuple[int, int, int] = tuple(manifest["latent"])
        self.hyper: tuple[int, int, int] | None = tuple(manifest["hyper"]) if manifest["hyper"] else None
        assert (self.hyper is None) == (manifest["prior"] == "fp")
        prior = self._arrays(folder, manifest["files"]["prior"])
        self.tables = self._tables(prior)
        self._rebinned = {0: self.tables}
        if self.hyper:
            self.scales = self._tables(self._arrays(folder, manifest["files"]["scales"]))
            self.h_s = Synthesis(prior)
        self.limit = 16 + 9 * sum(int(np.prod(shape)) for shape in (self.latent, self.hyper) if shape)

    @staticmethod
    def _arrays(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
        assert PATH.fullmatch(entry["path"]), entry
        data = (folder / entry["path"]).read_bytes()
        assert len(data) == entry["bytes"] and hashlib.sha256(data).hexdigest() == entry["sha256"]
        with zipfile.ZipFile(folder / entry["path"]) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            return {
                name: np.lib.format.read_array(archive.open(name + ".npy"), allow_pickle=False)
                for name in names
            }

    @staticmethod
    def _tables(arrays: dict[str, Any]) -> list[Table]:
        tables, begin, counts = [], 0, arrays["counts"].tolist()
        for size, offset in zip(arrays["size"].tolist(), arrays["offset"].tolist(), strict=True):
            tables.append(Table(counts[begin : begin + size], offset))
            begin += size
        assert begin == len(counts)
        return tables

    def decode(self, data: bytes) -> Frame:
        """The frame in a packet. Raises Refused with the verdict of the first check that fails."""
        done, payload = self._opened(data)
        c, stack = done >> 2, Stack(payload)
        z, mean = None, np.zeros(self.latent, np.int64)
        if self.hyper:
            z = np.reshape(stack.part(self._channels(self.hyper), self.tables), self.hyper)
            if np.abs(z).max() > 65536:
                raise Refused("sync")
            numbers, mean = self.parameters(z, c)
            symbols = stack.part(numbers, self.scales)
        else:
            symbols = stack.part(self._channels(self.latent), self._at(c))
        y = np.reshape(symbols, self.latent)
        if stack.words or stack.x != seal(z, y):
            raise Refused("sync")
        y_hat = y.astype(np.float32) * np.float32(FACTORS[c] / 2**16)
        if self.hyper:
            y_hat = y_hat + (mean / 16).astype(np.float32)
        return Frame(z, y, y_hat, bool(done & 1), bool(done & 2), c)

    def parameters(self, z: Any, c: int) -> tuple[list[int], Any]:
        """The number of the table of each symbol of y by place, and their means in sixteenths."""
        number, mean = np.split(self.h_s(z), 2)
        assert number.shape == self.latent
        number = np.clip(number, 0, len(self.scales) - 1)
        return np.maximum(number - (c + 2) // 4, 0).ravel().tolist(), mean

    def _opened(self, data: bytes) -> tuple[int, bytes]:
        """``done`` and the payload, after the checks 1 to 9."""
        if len(data) < 17:
            raise Refused("truncated")
        if data[:2] != MAGIC or data[2] != VERSION:
            raise Refused("format")
        groups = data[12:16]
        n = next((n for n in range(1, 5) if groups[n - 1] < 128), 5)
        if n == 5 or (n > 1 and groups[n - 1] == 0):
            raise Refused("format")
        p = sum((byte & 127) << 7 * i for i, byte in enumerate(groups[:n]))
        if p > self.limit:
            raise Refused("too_large")
        if len(data) != 16 + n + p:
            raise Refused("truncated" if len(data) < 16 + n + p else "format")
        if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise Refused("checksum")
        if data[3:11] != self.id:
            raise Refused("bundle")
        return data[11], data[12 + n : -4]

    def _at(self, c: int) -> list[Table]:
        if c not in self._rebinned:
            self._rebinned[c] = [table.rebinned(c) for table in self.tables]
        return self._rebinned[c]

    @staticmethod
    def _channels(shape: tuple[int, int, int]) -> list[int]:
        return [channel for channel in range(shape[0]) for _ in range(shape[1] * shape[2])]


def seal(*arrays: Any) -> int:
    """Of the arrays of a frame, None for z without a hyperprior: each in C order."""
    data = b"".join(np.ascontiguousarray(array, "<i4").tobytes() for array in arrays if array is not None)
    return zlib.crc32(data) & 0xFFFF
