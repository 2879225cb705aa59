"""Options that the benchmarks of bundles share: which bundles, engine, threads, where to print."""

from __future__ import annotations

import argparse

from rich.console import Console

from runtime.bundle import ROBUST, Bundle, installed, load
from runtime.engines import DEFAULT, ENGINES, EngineOptions, available
from runtime.errors import BundleError

ALL = "all"
WIDTH = 100  # columns of a table: a pipe counts as 80, which is too few


def add_arguments(parser: argparse.ArgumentParser, default: str, every_engine: bool = False) -> None:
    """Add ``--bundle``, ``--engine`` and ``--threads``; ``default`` is a bundle's name, or ``all``.

    every_engine: ``--engine all`` is allowed; then ``engines`` says which.
    """
    parser.add_argument(
        "--bundle", metavar="NAME", nargs="+", default=[default],
        help="installed bundles or folders, or 'all' without a shield (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--all", action="store_const", dest="bundle", const=[ALL], help="short for --bundle all"
    )
    parser.add_argument(
        "--engine", choices=[*ENGINES, *[ALL] * every_engine], default=DEFAULT, help="default: %(default)s"
    )
    parser.add_argument(
        "--threads", type=positive, metavar="N", help="threads of the engine (default: it chooses)"
    )


def bundles(options: argparse.Namespace) -> list[Bundle]:
    """The bundles that were asked for, verified. Raises BundleError when one is missing or damaged."""
    names = plain_bundles() if options.bundle == [ALL] else options.bundle
    if not names:
        raise BundleError("no bundles are installed; make one with python -m export build")
    return [load(name) for name in names]


def plain_bundles() -> list[str]:
    """Installed bundles, without those that only add a shield to another one."""
    return [name for name in installed() if not name.endswith(ROBUST)]


def engine(options: argparse.Namespace) -> EngineOptions:
    """The engine that was asked for."""
    return EngineOptions(options.engine, options.threads)


def engines(options: argparse.Namespace) -> list[EngineOptions]:
    """The engine that was asked for, or with ``all`` every one that runs on this machine."""
    names = available() if options.engine == ALL else [options.engine]
    return [EngineOptions(name, options.threads) for name in names]


def console(options: argparse.Namespace) -> Console:
    """Where tables go: standard output, or standard error when the JSON goes there."""
    where = Console(stderr=options.json == "-", highlight=False)
    where.width = max(where.width, WIDTH)
    return where


def positive(text: str) -> int:
    """An integer of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value
