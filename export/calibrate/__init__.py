"""Calibration: a backbone is split, and its Fisher information gives the transform between the halves."""
