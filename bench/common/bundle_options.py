"""Options of benchmarks that measure bundles: which bundles, by which engine, in how many threads."""

from __future__ import annotations

import argparse

from rich.console import Console

from bench.common.options import add_threads, positive
from bench.common.terminal import open_console
from runtime.bundle import DEFAULT as DEFAULT_BUNDLE
from runtime.bundle import ROBUST, Bundle, installed, load
from runtime.engines import DEFAULT, EngineOptions, available, engine_names
from runtime.errors import BundleError

__all__ = [
    "ALL", "add_arguments", "add_bundle", "add_bundles", "bundles", "console", "engine", "engines",
    "plain_bundles", "positive",
]  # fmt: skip

ALL = "all"


def add_arguments(parser: argparse.ArgumentParser, default: str, every_engine: bool = False) -> None:
    """Add ``--bundle``, ``--engine`` and ``--threads``; ``default`` is a bundle's name, or ``all``.

    every_engine: ``--engine all`` is allowed; then ``engines`` says which.
    """
    add_bundles(parser, [default])
    parser.add_argument(
        "--engine", choices=[*engine_names(), *[ALL] * every_engine], default=DEFAULT,
        help="engine that runs the graphs" + "; 'all': each that this machine has" * every_engine,
    )  # fmt: skip
    add_threads(parser, None, "the engine, which chooses where this is missing")


def add_bundles(parser: argparse.ArgumentParser, default: list[str]) -> None:
    """Add ``--bundle`` for any number of bundles, and ``--all``."""
    parser.add_argument(
        "--bundle", metavar="NAME", nargs="+", action=_Extend, default=default,
        help="installed bundles or folders, or 'all' without a shield",
    )  # fmt: skip
    parser.add_argument(
        "--all", action="store_const", dest="bundle", const=[ALL], help="short for --bundle all"
    )


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add ``--bundle`` for one bundle."""
    parser.add_argument(
        "--bundle", metavar="NAME", default=DEFAULT_BUNDLE, help="installed bundle, or the folder of one"
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
    return open_console(stderr=options.json == "-")


class _Extend(argparse.Action):
    """``--bundle a b`` and ``--bundle a --bundle b`` mean the same; the first one replaces the default."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        given = getattr(namespace, self.dest)
        assert isinstance(values, list)
        setattr(namespace, self.dest, values if given is self.default else [*given, *values])
