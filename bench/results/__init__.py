"""docs/results.md, written from the measurements under docs/measured: python -m bench.results."""
