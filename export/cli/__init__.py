"""The subcommands of ``python -m export``, one module a group.

A module adds its parsers without importing torch; its functions import what they need when they run. So
``--help`` answers at once.
"""
