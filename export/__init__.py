"""Makes bundles for ``runtime``: calibration, training, graphs. Everything that needs torch is here."""
