"""Calibration: where a backbone is split, and the transform that its Fisher matrix asks for."""
