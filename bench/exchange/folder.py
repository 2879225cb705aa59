"""A folder of packets with what their maker saw in them, to be decoded on another machine.

manifest.json     bundle, its id, number of frames, the machine and its versions
00000.rhp ...     one packet a frame, as it is sent
symbols.npz       by stream, int32 (frames, n): the symbols that were coded
logits.npy        float32 (frames, classes): what the maker's own tail made of its packets
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.common.errors import ExchangeError

MANIFEST, SYMBOLS, LOGITS = "manifest.json", "symbols.npz", "logits.npy"


@dataclass(frozen=True)
class Exchange:
    """What one machine hands to another.

    bundle, bundle_id: name or folder of the bundle on the maker's side, and its id in hex.
    environment: of the maker, as ``bench.common.report.environment`` returns it.
    packets: the bytes of each frame.
    symbols: by stream, int32 (frames, n), flattened in coding order.
    logits: float32 (frames, classes).
    """

    bundle: str
    bundle_id: str
    environment: dict[str, Any]
    packets: tuple[bytes, ...]
    symbols: dict[str, NDArray[np.int32]]
    logits: NDArray[np.float32]

    def save(self, folder: Path) -> None:
        """Write the folder; packets of an earlier exchange in it are removed."""
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.rhp"):
            old.unlink()
        for number, packet in enumerate(self.packets):
            _packet_path(folder, number).write_bytes(packet)
        arrays: dict[str, Any] = dict(self.symbols)
        np.savez(folder / SYMBOLS, **arrays)
        np.save(folder / LOGITS, self.logits)
        about = {
            "bundle": self.bundle,
            "bundle_id": self.bundle_id,
            "frames": len(self.packets),
            "environment": self.environment,
        }
        (folder / MANIFEST).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> Exchange:
        """Read the folder. Raises ExchangeError when a file is missing, unreadable or does not fit."""
        try:
            about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            packets = tuple(_packet_path(folder, n).read_bytes() for n in range(about["frames"]))
            with np.load(folder / SYMBOLS, allow_pickle=False) as archive:
                symbols = {name: archive[name] for name in archive.files}
            logits = np.load(folder / LOGITS, allow_pickle=False)
            exchange = cls(
                about["bundle"], about["bundle_id"], about["environment"], packets, symbols, logits
            )
        except FileNotFoundError as error:
            raise ExchangeError(
                f"{error.filename}: missing; write it: python -m bench.exchange write {folder}"
            ) from error
        except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ExchangeError(f"{folder}: not an exchange: {type(error).__name__}: {error}") from error
        if any(len(array) != len(packets) for array in (*symbols.values(), logits)):
            raise ExchangeError(f"{folder}: symbols or logits of another number of frames; write it again")
        return exchange


def _packet_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.rhp"
