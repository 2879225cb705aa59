"""Numbers that encoder and decoder must share on every machine."""

PRECISION = 24
"""Bits of a probability."""

TOTAL = 1 << PRECISION
"""Sum of the counts of a table."""

SYMBOL_LIMIT = 1 << 20
"""Largest magnitude of a symbol. The encoder refuses more and the decoder takes it for damage."""

MEAN_STEPS = 16
"""Means count sixteenths of a symbol."""

LATENT_LIMIT = float(1 << 16)
"""Latents are clipped here: no uint8 image comes near, and the coder takes symbols up to 2**20."""
