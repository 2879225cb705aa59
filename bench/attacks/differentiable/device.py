"""The runtime's own halves in an attacker's hands: frames in, packets out, symbols read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.codec.packet import Flags
from runtime.head import Head
from runtime.tail import PacketReader, Received

Look = Literal["plain", "adapted", "shield"]
"""Which graph saw what a packet holds: the head, the adapted head, or the shield behind the denoiser."""

ADAPTED = "head_adapted"
"""Stage of a frame's report that says that the adapted head looked."""


class SentPacket(NamedTuple):
    """One packet: its bytes, header included, the look that it holds, and what a server reads from it."""

    bytes: int
    look: Look
    received: Received


@dataclass(frozen=True)
class Device:
    """A guarded head, and the reader of its packets. Frames are photographs: none remembers another."""

    head: Head
    reader: PacketReader

    @classmethod
    def of(cls, head: Head) -> Device:
        """The device that has this head."""
        return cls(head, PacketReader(head.bundle))

    def length(self, frame: NDArray[np.uint8]) -> int:
        """Bytes of the packet of one frame, uint8 (S, S, 3), as an observer of the link sees them."""
        self.head.forget()
        return self.head.encode(frame).size

    def send(self, frame: NDArray[np.uint8]) -> SentPacket:
        """One frame, uint8 (S, S, 3), through the bitstream."""
        self.head.forget()
        data = self.head.encode(frame).to_bytes()
        assert self.head.report is not None
        received = self.reader.read(data)
        if Flags.DENOISED in received.flags:
            return SentPacket(len(data), "shield", received)
        return SentPacket(len(data), "adapted" if ADAPTED in self.head.report.seconds else "plain", received)


def as_frames(images: torch.Tensor) -> NDArray[np.uint8]:
    """Images (N, 3, S, S) in [0, 1] as a camera sends them, uint8 (N, S, S, 3)."""
    levels = (255 * images.detach()).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(levels.permute(0, 2, 3, 1).numpy())
