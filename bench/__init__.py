"""Benchmarks: what a frame costs in time and bytes, beside peers, with the machine's description."""
