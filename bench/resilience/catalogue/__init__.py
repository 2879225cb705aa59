"""Filters and corruptions by name: ours, those of installed packages, and a caller's own."""
