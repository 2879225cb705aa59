"""Disturbed images for training: perturbed step by step, and denoised as the runtime's defence does it."""

from __future__ import annotations

import numpy as np
import torch

from runtime.bundle import Bundle
from runtime.engines import EngineOptions
from runtime.guard.defence import Defence, Defender
from runtime.latent import Latent
from runtime.prior import open_prior

EPS = (1, 2, 4, 8)  # of 255, l_inf
EPS_SHARE = (0.15, 0.25, 0.4, 0.2)
WEIGHTS = (0.0, 0.02, 0.05)  # lambda of the denoiser; 0: left as it is
WEIGHT_SHARE = (0.3, 0.3, 0.4)
ITERATIONS = 30


class Denoiser:
    """The runtime's defence on batches, at random strengths, masked by a bundle's likelihoods."""

    def __init__(self, bundle: Bundle):
        self._prior = open_prior(bundle, EngineOptions(threads=1))
        self._energy = bundle.arrays("prior")["energy"].astype(np.float32)
        self._latent = bundle.manifest.latent
        size = bundle.manifest.preprocess.size
        self._defenders = {
            weight: Defender(Defence("descent", weight, ITERATIONS), size, threads=1)
            for weight in WEIGHTS
            if weight > 0
        }

    def __call__(
        self, images: torch.Tensor, latents: list[torch.Tensor], rng: np.random.Generator
    ) -> torch.Tensor:
        """Denoised copies of images (N, 3, S, S) in [0, 1]; ``latents``: the plain head's, for the mask."""
        weights = rng.choice(WEIGHTS, len(images), p=WEIGHT_SHARE)
        denoised = [
            image if weight == 0 else self._denoise(image, [y[n : n + 1] for y in latents], weight)
            for n, (image, weight) in enumerate(zip(images, weights, strict=True))
        ]
        return torch.stack(denoised)

    def _denoise(self, image: torch.Tensor, latents: list[torch.Tensor], weight: float) -> torch.Tensor:
        streams = self._prior.code(*(y.float().contiguous().numpy() for y in latents))
        latent = Latent(streams, self._energy, self._latent)
        defender, frame = self._defenders[weight], np.ascontiguousarray(image.numpy())[None]
        denoised = defender.denoise(frame, defender.mask(latent))  # the next frame overwrites it
        return torch.from_numpy(denoised[0].copy())


class Perturbation:
    """l_inf perturbations of one batch, which grow by a signed step for each gradient.

    eps differs from image to image; the perturbed images stay in [0, 1].
    """

    def __init__(self, images: torch.Tensor, replays: int, rng: np.random.Generator):
        eps = rng.choice(EPS, len(images), p=EPS_SHARE).astype(np.float32) / 255
        self.eps = torch.from_numpy(eps).view(-1, 1, 1, 1)
        self._step = self.eps * 2.5 / replays
        self._images = images
        start = torch.from_numpy(rng.uniform(-1, 1, images.shape).astype(np.float32))
        self._perturbed = (images + self.eps * start).clamp(0, 1)

    @property
    def images(self) -> torch.Tensor:
        """The perturbed images, float32 (N, 3, S, S)."""
        return self._perturbed

    def grow(self, gradient: torch.Tensor) -> None:
        """One step of ascent."""
        stepped = self._perturbed.detach() + self._step * gradient.sign()
        low, high = (self._images - self.eps).clamp(min=0), (self._images + self.eps).clamp(max=1)
        self._perturbed = torch.minimum(torch.maximum(stepped, low), high)
