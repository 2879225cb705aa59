"""The target of an attack: a bundle as a differentiable torch model, with its defence or without.

    images --head--> latent --likelihood map, soft mask, TV--> smooth --shield--> latent --prior--> bits
                                                                               --restore, tail--> logits

Forwards the bits are the runtime's, to within the arithmetic of another engine. Backwards every rounding
passes the gradient straight through. Without a defence the first latent is coded. The path draws no random
numbers, so an attack needs no expectation over them. A frame that only looks corrupted goes through the
adapted head, undenoised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from bench.attacks.ascent import Setting
from bench.attacks.differentiable.denoise import denoise, soft_mask
from bench.attacks.differentiable.device import Device
from bench.attacks.differentiable.prior import Coded, DifferentiablePrior, open_prior
from export.graphs.torch_graph import TorchGraph
from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.guard import Guard
from runtime.guard.alarm import CEILING, CHEAP, QUANTILE
from runtime.guard.defence import Defence
from runtime.head import Head


class DifferentiableSuspicion(NamedTuple):
    """The guard's scores of frames as they come, (N,) each.

    attack: above 0 the guard defends a frame.
    corruption: above 0, where ``attack`` is not, the frame goes through the adapted head.
    """

    attack: torch.Tensor
    corruption: torch.Tensor

    @property
    def worst(self) -> torch.Tensor:
        """The higher of the two: below 0 the guard sends a frame as it comes."""
        return torch.maximum(self.attack, self.corruption)


@dataclass(frozen=True)
class DifferentiableAlarm:
    """``runtime.guard.decision.Discriminant`` in torch.

    discriminants (1 + K, C), bias (1 + K,): of an attack, and of each kind of corruption that a bundle's
        adapted head is there for; None without guard.npz.
    ceiling, cheap: bits.
    """

    discriminants: torch.Tensor | None
    bias: torch.Tensor
    ceiling: float
    cheap: float

    @classmethod
    def of(cls, bundle: Bundle) -> DifferentiableAlarm:
        """The alarms of a bundle."""
        bits, files = bundle.manifest.clean_quantile(QUANTILE), bundle.manifest.files
        if "guard" not in files:
            return cls(None, torch.zeros(1), bits, 0.0)
        scores = None if "adapted" in files else 1
        discriminants, bias = (
            torch.from_numpy(bundle.arrays("guard")[name])[:scores] for name in ("discriminants", "bias")
        )
        return cls(discriminants, bias, CEILING * bits, bundle.manifest.clean_quantile(CHEAP))

    def __call__(self, coded: Coded) -> DifferentiableSuspicion:
        """Scores of each latent."""
        bits = coded.bits
        excess, none = bits / self.ceiling - 1, torch.full_like(bits, -torch.inf)
        if self.discriminants is None:
            return DifferentiableSuspicion(excess, none)
        scores = coded.y_bits.sum((2, 3)) @ self.discriminants.T + self.bias
        attack = torch.maximum(scores[:, 0], excess)
        if scores.shape[1] == 1:
            return DifferentiableSuspicion(attack, none)
        return DifferentiableSuspicion(attack, torch.where(bits > self.cheap, scores[:, 1:].amax(1), none))


@dataclass(frozen=True)
class Target:
    """A bundle under attack; make it with ``open``. Images are float32 (N, 3, S, S) in [0, 1].

    ordinary_bits: most expected bits of an ordinary frame. device: see ``open``.
    others: other photographs, (M, 3, S, S), that the attacker may learn from.
    """

    head: TorchGraph
    shield: TorchGraph
    adapted: TorchGraph
    restore: TorchGraph
    tail: TorchGraph
    prior: DifferentiablePrior
    energy: torch.Tensor
    guard: DifferentiableAlarm
    defence: Defence | None
    ordinary_bits: float
    device: Device | None = None
    others: torch.Tensor | None = None

    @classmethod
    def open(
        cls, bundle: Bundle, known: Defence | Guard | None = None, options: EngineOptions | None = None
    ) -> Target:
        """The model of a bundle, and what the attacker knows of its protection.

        A defence: bits and logits are those of the defended path. A whole guard: so they are with its
        defence, and ``device`` is the runtime's head behind it, run as the ``options`` say.
        """
        defence = known.defence if isinstance(known, Guard) else known
        device = Device.of(Head(bundle, options, guard=known)) if isinstance(known, Guard) else None
        head = TorchGraph(bundle.graph("head"))
        shield, adapted = (
            TorchGraph(bundle.graph(role)) if role in bundle.manifest.files else head
            for role in ("shield", "adapted")
        )
        energy = torch.from_numpy(bundle.arrays("prior")["energy"]).float()
        return cls(
            head, shield, adapted, TorchGraph(bundle.graph("restore")), TorchGraph(bundle.graph("tail")),
            open_prior(bundle), energy / energy.sum(0), DifferentiableAlarm.of(bundle), defence,
            bundle.manifest.clean_quantile(QUANTILE), device,
        )  # fmt: skip

    @property
    def undefended(self) -> Target:
        """The same bundle without its defence."""
        return replace(self, defence=None, device=None)

    def bits(self, images: torch.Tensor, setting: Setting = "unmasked") -> torch.Tensor:
        """Bits of each frame, (N,): z included, or under ``released`` the loss of the paper's code."""
        return self._bits(self._latents(images), setting)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """The server's answer to the packet, (N, classes)."""
        return self._logits(self._latents(images))

    def bits_and_logits(
        self, images: torch.Tensor, setting: Setting = "unmasked"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both with one pass of the head."""
        latents = self._latents(images)
        return self._bits(latents, setting), self._logits(latents)

    def adapted_bits(self, images: torch.Tensor, setting: Setting = "unmasked") -> torch.Tensor:
        """Bits of each frame as the adapted head sees it, (N,)."""
        return self.undefended._bits(self.adapted(images), setting)

    def suspicion(self, images: torch.Tensor) -> DifferentiableSuspicion:
        """The guard's scores of each frame as it comes."""
        return self.guard(self.prior.code(self.head(images)))

    def bits_and_suspicion(
        self, images: torch.Tensor, setting: Setting = "unmasked"
    ) -> tuple[torch.Tensor, DifferentiableSuspicion]:
        """Bits of frames that are sent as they come, and the guard's scores of them."""
        latents = self.head(images)
        coded = self.prior.code(latents)
        bits = self.prior.released(latents) if setting == "released" else coded.bits
        return bits, self.guard(coded)

    def mask(self, images: torch.Tensor) -> torch.Tensor:
        """Where a frame is smoothed, (N, 1, S, S) in [0, 1]: large in the background, small on the object."""
        return self._mask(self.head(images), images.shape[-1], self.defence or Defence())

    def shielded(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The shield's outputs for the denoised frames."""
        defence = self.defence or Defence()
        mask = self._mask(self.head(images), images.shape[-1], defence)
        return self.shield(denoise(images, mask, defence.solver()))

    def answer(self, y_hat: torch.Tensor) -> torch.Tensor:
        """The server's answer to a latent as it decodes it, (N, C, H, W) -> (N, classes)."""
        (features,) = self.restore(y_hat)
        (logits,) = self.tail(features)
        return logits

    def _latents(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The head's outputs for the frames, or for the denoised ones behind a defence."""
        return self.head(images) if self.defence is None else self.shielded(images)

    def _mask(self, latents: list[torch.Tensor], size: int, defence: Defence) -> torch.Tensor:
        """See ``Latent.likelihood_map``."""
        likelihood = (-self.prior.code(latents).y_bits).exp2()
        (count, _, height, width), patch = likelihood.shape, self.energy.shape[1]
        spread = torch.einsum("nchw,cpq->nhpwq", likelihood, self.energy)
        maps = spread.reshape(count, height * patch, width * patch).clamp(max=1)
        return soft_mask(maps, size, defence)

    def _bits(self, latents: list[torch.Tensor], setting: Setting) -> torch.Tensor:
        if setting == "released":
            return self.prior.released(latents)
        return self._sent(latents).bits

    def _logits(self, latents: list[torch.Tensor]) -> torch.Tensor:
        return self.answer(self._sent(latents).y_hat)

    def _sent(self, latents: list[torch.Tensor]) -> Coded:
        if self.defence is None:
            return self.prior.code(latents)
        return self.prior.code(latents, self.defence.coarseness, self.defence.rate_control)
