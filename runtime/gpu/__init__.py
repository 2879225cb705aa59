"""A frame that stays on the GPU: with an engine that can run there, ``Head`` takes its steps from here.

    image --> preprocess -> head -> y, z   ==copied==>  prior, guard, coder: on the host, as ever
                             |
                             +-> likelihoods -> mask -> TV -> shield -> y, z  ==copied==>  prior, coder

All of it is queued in one stream, and only the image and the latents cross (``memory`` says how). What a
packet depends on, bit for bit, is not computed here but by ``runtime.prior`` on the host, its exact h_s on
the CPU: z and y are there anyway to be coded, and a GPU that got h_s wrong could spoil a mask, no packet.

``pixels``, ``latent_mask`` and ``pipeline`` queue what is in ``kernels``. Imported only when it is asked for.
"""

from runtime.gpu.pipeline import GpuDefender, GpuPipeline, OnGpu

__all__ = ["GpuDefender", "GpuPipeline", "OnGpu"]
