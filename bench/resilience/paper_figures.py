"""What the paper reports, to stand beside our figures: other networks on other images, never a like for like.

arXiv 2403.00942, ResNet-50 with a mean-scale hyperprior at beta 0.08, and corruptions of ImageNet-C, as a
secondary note on the paper quotes them; the note is unverified.
"""

NETWORK = "the paper's ResNet-50, MSHP, beta 0.08 (not our network; from a secondary note)"

CLEAN_KB = 9.62
ATTACKED_KB = {2: 12.35, 4: 14.11, 8: 16.15, 16: 18.79}
"""By eps of 255, under the released PGD-E."""
DEFENDED_KB = {2: 8.76, 4: 9.55, 8: 11.02, 16: 13.44}

CORRUPTION_CHANGE = {"shot_noise": 65.31, "snow": -4.42, "defocus_blur": -53.31, "contrast": -67.45}
"""Percent of bytes; the mean over severities and networks."""
