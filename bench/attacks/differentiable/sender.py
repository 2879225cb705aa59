"""The whole guarded device, differentiable: what a Head sends of a frame, budget included.

    frames --Head--> packets --PacketReader--> symbols, y_hat                         forwards: the runtime
    frames --head, adapted head, or denoiser and shield--> y --prior--> bits, y_hat   backwards

Forwards nothing is modelled: decision, bisection of the steps, rate control and bytes are the runtime's, on
the 8 bits in which the frame arrives. Backwards the decision and the chosen steps are constants, and symbols
pass the gradient straight through to the look that the packet holds. So an attack knows the guard whatever
its rules are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bench.attacks.differentiable.device import Device, Look, SentPacket, as_frames
from bench.attacks.differentiable.straight_through import straight_through
from bench.attacks.differentiable.target import Target
from bench.common.errors import AttackError


@dataclass(frozen=True)
class Sent:
    """What a device sends of a batch of frames.

    bits: (N,), forwards those of the packets, headers included; backwards those of the symbols.
    before: (N,), bits of the same looks in the bundle's own steps, before anything was given up.
    lost: (N,), squared distance between ``y_hat`` and the looks, in the bundle's steps. In the Fisher metric
        it is what the answer loses, to second order. No gradient.
    y_hat: (N, C, H, W), forwards the server's.
    """

    bits: torch.Tensor
    before: torch.Tensor
    lost: torch.Tensor
    y_hat: torch.Tensor


class DifferentiableSender:
    """A target behind its guard. Raises AttackError where the target was opened without one."""

    def __init__(self, target: Target):
        if target.device is None:
            raise AttackError("this attack needs a guard to attack: Target.open(bundle, Guard(...))")
        self._target, self._device = target, target.device
        self._looks: dict[Look, Callable[[torch.Tensor], list[torch.Tensor]]] = {
            "plain": target.head, "adapted": target.adapted, "shield": target.shielded
        }  # fmt: skip

    @property
    def device(self) -> Device:
        """The runtime's part."""
        return self._device

    def __call__(self, images: torch.Tensor) -> Sent:
        """What is sent of frames, float32 (N, 3, S, S) in [0, 1], which are rounded to 8 bits."""
        packed = [self._device.send(frame) for frame in as_frames(images)]
        order: list[int] = []
        parts: list[tuple[torch.Tensor, ...]] = []
        for look, graph in self._looks.items():
            chosen = [number for number, one in enumerate(packed) if one.look == look]
            if chosen:
                latents = graph(images[chosen])
                for row, number in enumerate(chosen):
                    parts.append(self._one([latent[row : row + 1] for latent in latents], packed[number]))
                order += chosen
        place = torch.tensor(order).argsort()
        return Sent(*(torch.cat(values)[place] for values in zip(*parts, strict=True)))

    def logits(self, sent: Sent) -> torch.Tensor:
        """The server's answers, (N, classes)."""
        return self._target.answer(sent.y_hat)

    def _one(self, latents: list[torch.Tensor], packed: SentPacket) -> tuple[torch.Tensor, ...]:
        """The fields of ``Sent`` for one frame."""
        received, prior = packed.received, self._target.prior
        symbols = [torch.from_numpy(stream.symbols).float() for stream in received.streams]
        coded = prior.code(latents, received.coarseness, sent=symbols)
        bits = straight_through(torch.tensor([8.0 * packed.bytes]), coded.bits)
        y_hat = straight_through(torch.from_numpy(received.y_hat), coded.y_hat)
        lost = (latents[0] - y_hat).detach().square().flatten(1).sum(1)
        return bits, prior.code(latents).bits, lost, y_hat
