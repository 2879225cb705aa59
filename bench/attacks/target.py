"""What is attacked: a bundle as a differentiable torch model, with its defence or without.

    images --head--> latent --likelihood map, soft mask, TV--> calm --shield--> latent --prior--> bits
                                                                               --restore, tail--> logits

Forwards the bits are the runtime's own to within the arithmetic of another engine; backwards every rounding
passes the gradient straight through. Without a defence the first latent is coded. The path draws no random
numbers, so an attack needs no expectation over them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from bench.attacks.denoise import denoise, soft_mask
from bench.attacks.prior import Coded, Prior, open_prior
from bench.attacks.settings import Setting
from export.torch_graph import TorchGraph
from runtime.bundle import Bundle
from runtime.defence import Defence
from runtime.guard import CEILING, QUANTILE


@dataclass(frozen=True)
class Suspicion:
    """The guard's score of an attack: weights . bits of y a channel + bias, or the excess over ``ceiling``.

    Above 0 a frame is defended. ``weights`` (C,) is None for bundles without guard.npz.
    """

    weights: torch.Tensor | None
    bias: float
    ceiling: float

    @classmethod
    def of(cls, bundle: Bundle) -> Suspicion:
        """The guard of a bundle."""
        bits = dict(bundle.manifest.clean_bits)[QUANTILE]
        if "guard" not in bundle.manifest.files:
            return cls(None, 0.0, bits)
        arrays = bundle.arrays("guard")
        return cls(torch.from_numpy(arrays["discriminants"][0]), float(arrays["bias"][0]), CEILING * bits)

    def __call__(self, coded: Coded) -> torch.Tensor:
        """Score of each latent, (N,)."""
        excess = coded.bits / self.ceiling - 1
        if self.weights is None:
            return excess
        return torch.maximum(coded.y_bits.sum((2, 3)) @ self.weights + self.bias, excess)


@dataclass(frozen=True)
class Target:
    """A bundle under attack; make it with ``open``. Images are float32 (N, 3, S, S) in [0, 1]."""

    head: TorchGraph
    shield: TorchGraph
    restore: TorchGraph
    tail: TorchGraph
    prior: Prior
    energy: torch.Tensor
    guard: Suspicion
    defence: Defence | None

    @classmethod
    def open(cls, bundle: Bundle, defence: Defence | None = None) -> Target:
        """The model of a bundle; with a ``defence`` bits and logits are those of the defended path."""
        head = TorchGraph(bundle.path("head"))
        shield = TorchGraph(bundle.path("shield")) if "shield" in bundle.manifest.files else head
        energy = torch.from_numpy(bundle.arrays("prior")["energy"]).float()
        return cls(
            head, shield, TorchGraph(bundle.path("restore")), TorchGraph(bundle.path("tail")),
            open_prior(bundle), energy / energy.sum(0), Suspicion.of(bundle), defence,
        )  # fmt: skip

    @property
    def undefended(self) -> Target:
        """The same bundle, frames sent as they are."""
        return replace(self, defence=None)

    def bits(self, images: torch.Tensor, setting: Setting = "unmasked") -> torch.Tensor:
        """Bits of each frame, (N,): z included, or under ``released`` the loss of the paper's code."""
        return self._bits(self._latents(images), setting)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """The server's answer to what was sent, (N, classes)."""
        return self._logits(self._latents(images))

    def bits_and_logits(
        self, images: torch.Tensor, setting: Setting = "unmasked"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Both with one look at the images."""
        latents = self._latents(images)
        return self._bits(latents, setting), self._logits(latents)

    def suspicion(self, images: torch.Tensor) -> torch.Tensor:
        """The guard's score of each frame as it comes, (N,); above 0 it is defended."""
        return self.guard(self.prior.code(self.head(images)))

    def bits_and_suspicion(
        self, images: torch.Tensor, setting: Setting = "unmasked"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Bits of frames that are sent as they come, and the guard's score of them."""
        latents = self.head(images)
        return self._bits(latents, setting), self.guard(self.prior.code(latents))

    def mask(self, images: torch.Tensor) -> torch.Tensor:
        """Where a frame is smoothed, (N, 1, S, S) in [0, 1]: large in the background, small on the object."""
        return self._mask(self.head(images), images.shape[-1], self.defence or Defence())

    def _latents(self, images: torch.Tensor) -> list[torch.Tensor]:
        """The head's outputs for what it sees in the end."""
        latents = self.head(images)
        if self.defence is None:
            return latents
        mask = self._mask(latents, images.shape[-1], self.defence)
        return self.shield(denoise(images, mask, self.defence.solver()))

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
        (features,) = self.restore(self._sent(latents).y_hat)
        (logits,) = self.tail(features)
        return logits

    def _sent(self, latents: list[torch.Tensor]) -> Coded:
        if self.defence is None:
            return self.prior.code(latents)
        return self.prior.code(latents, self.defence.coarseness, self.defence.rate_control)
