"""How many bits lie behind the point where pixels are computed in integers of 32 bits."""

WEIGHT_BITS = 22
"""Of a weight of a resampler: what 32 bits have left beside a pixel's 8 and 2 for the sum."""

MATRIX_BITS = 20
"""Of a coefficient between YUV and RGB."""
