"""The steps in which latents and their means count, on every machine."""

MEAN_STEPS = 16
"""Means count sixteenths of a symbol."""

LATENT_LIMIT = float(1 << 16)
"""Latents are clipped here: no uint8 image comes near, and the coder takes symbols up to 2**20."""
