"""A frame that stays on the GPU: ``Head`` runs its steps here when its engine is a ``GpuEngine``.

    image --> preprocess -> head -> y, z   ==copied==>  prior, guard, coder: on the host, as ever
                             |
                             +-> likelihoods -> mask -> TV -> shield -> y, z  ==copied==>  prior, coder

All of it is queued in one stream, and only the image and the latents cross (``memory`` says how). The
packet's symbols come from ``runtime.prior`` on the host, with the exact h_s on the CPU. A GPU that got h_s
wrong could spoil a mask, but no packet.

``pixels``, ``latent_mask`` and ``pipeline`` queue what is in ``kernels``. Imported only when it is asked for.
"""

from runtime.gpu.pipeline import GpuDefender, GpuPipeline, OnGpu

__all__ = ["GpuDefender", "GpuPipeline", "OnGpu"]
