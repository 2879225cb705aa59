"""The command line: one module a group of subcommands, and ``main``, which puts them together."""
