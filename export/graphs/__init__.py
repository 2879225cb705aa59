"""Graphs: what a bundle runs, built, rewritten and checked."""
