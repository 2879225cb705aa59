"""The solver for CPUs: explicit vectors, rows swept in a wavefront, bands of rows shared among threads."""
