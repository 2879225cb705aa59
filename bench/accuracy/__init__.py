"""Accuracy against bytes, beside image codecs."""
