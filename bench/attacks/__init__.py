"""Attacks, one file a threat. Each stays inside its budget and in [0, 1]."""
