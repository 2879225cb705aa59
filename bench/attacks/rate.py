"""PGD-E: perturb an image so that its packet grows (arXiv 2403.00942), un-masked.

The released attack differentiates through ``round``, whose gradient is zero. Here the rate is what the
bundle's integer tables cost at the unrounded latent, linear between integers: the true bits at every integer,
and a gradient everywhere. Factorized bundles only.
"""

from __future__ import annotations

import torch

from bench.torch_graph import TorchGraph
from runtime.bundle import Bundle
from runtime.errors import BundleError
from runtime.tables import Tables

ESCAPE_SLOPE = 2.0  # bits a unit beyond a table: about what the Elias-gamma code of an escape adds


class FactorizedRate:
    """Bits of images under a factorized bundle, differentiable: (N, 3, S, S) in [0, 1] -> (N,)."""

    def __init__(self, bundle: Bundle):
        if bundle.manifest.prior != "fp":
            raise BundleError(f"{bundle.manifest.name}: this attack needs a factorized bundle")
        self._head = TorchGraph(bundle.path("head"))
        tables = Tables.from_arrays(bundle.arrays("prior"))
        self._bits = torch.from_numpy(tables.bits.copy())
        shape = (1, -1, 1, 1)
        self._start = torch.from_numpy(tables.start.astype("int64")).view(shape)
        self._offset = torch.from_numpy(tables.offset.astype("float32")).view(shape)
        self._last = torch.from_numpy((tables.size - 2).astype("float32")).view(shape)

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Bits of each image's latent, before it is rounded."""
        return self.of_latent(self._head(images)[0])

    def of_latent(self, y: torch.Tensor) -> torch.Tensor:
        """Bits of latents (N, C, H, W): exact at integers inside the tables, linear between them."""
        position = y - self._offset
        inside = torch.minimum(position.clamp(min=0), self._last)
        below = torch.minimum(inside.detach().floor(), (self._last - 1).clamp(min=0))
        share = inside - below
        entry = self._start + below.long()
        bits = (1 - share) * self._bits[entry] + share * self._bits[entry + 1]
        return (bits + ESCAPE_SLOPE * (position - inside).abs()).flatten(1).sum(1)


def attack_rate(
    rate: FactorizedRate, images: torch.Tensor, eps: float, steps: int = 20, seed: int = 0
) -> torch.Tensor:
    """Images within ``eps`` (l_inf, in units of [0, 1]) whose rate is as large as ``steps`` steps make it.

    Random start, sign steps of 2.5 eps / steps, projected after each. Returns float32 like ``images``.
    """
    generator = torch.Generator().manual_seed(seed)
    low, high = (images - eps).clamp(min=0), (images + eps).clamp(max=1)
    start = images + eps * (2 * torch.rand(images.shape, generator=generator) - 1)
    attacked = torch.clamp(start, 0, 1)
    for _ in range(steps):
        attacked.requires_grad_(True)
        (gradient,) = torch.autograd.grad(rate(attacked).sum(), attacked)
        stepped = attacked.detach() + 2.5 * eps / steps * gradient.sign()
        attacked = torch.minimum(torch.maximum(stepped, low), high)
    return attacked
