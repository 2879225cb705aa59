"""Everything that needs torch: backbones, calibration, training, graphs. Makes bundles for ``runtime``."""
