"""The options of benchmarks: each is defined here once and means one thing in all of them.

| option            | means                                                                  |
|-------------------|------------------------------------------------------------------------|
| ``--data DIR``    | a labelled folder: ``images/`` and ``labels.csv``                      |
| ``--photos DIR``  | a plain folder of photographs, without labels                          |
| ``--bundle NAME`` | installed bundles, or folders of bundles (``bench.common.bundle_options``) |
| ``--limit N``     | the first N images only                                                |
| ``--runs N``      | timed calls of each case                                               |
| ``--threads N``   | threads of what is measured                                            |
| ``--plot PATH``   | the figure, as PATH.png and PATH.svg                                   |
| ``--bars``        | the project's own acceptance bars, beside what was measured            |
| ``--json PATH``   | the result as JSON; ``-`` is standard output                           |
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path
from typing import Any

from bench.common.provenance import commit
from runtime.cli.parser import Parser
from runtime.cli.program import prog

LISTED = re.compile(r" +\S+ {2,}")
"""The name at the start of a line of a list, up to its text."""


class Help(argparse.HelpFormatter):
    """Help that shows the default of each option that has one, and of no other."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Fill a description; of a list of names with texts, wrap each text into its own column."""
        if "\n" not in text:
            return super()._fill_text(text, width, indent)
        return "\n".join(_wrapped(line, width) for line in text.split("\n"))

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help, action.default
        has_one = action.option_strings and action.nargs != 0
        if not text or not has_one or default in (None, argparse.SUPPRESS, "", []) or "default" in text:
            return text
        value = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        return f"{text} (default: {value.replace('%', '%%')})"


def _wrapped(line: str, width: int) -> str:
    named = LISTED.match(line)
    column = " " * (named.end() if named else 0)
    return textwrap.fill(line, width, subsequent_indent=column, break_on_hyphens=False) if line else line


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of ``python -m {name}``, described by the first line of its module's docstring."""
    return Parser(prog=prog(name), description=(description or "").partition("\n")[0], formatter_class=Help)


def positive(text: str) -> int:
    """An integer of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``, which is required."""
    help = "labelled folder: images/ and labels.csv"
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help=help)


def add_photos(parser: argparse.ArgumentParser, *hidden: str, what: str = "photographs") -> None:
    """Add ``--photos``; ``hidden`` are its earlier spellings, which go on working."""
    help = f"folder of {what}, labelled or not (sample photographs where it is missing)"
    parser.add_argument("--photos", type=Path, metavar="DIR", help=help)
    for spelling in hidden:
        parser.add_argument(spelling, dest="photos", type=Path, help=argparse.SUPPRESS)


def add_limit(
    parser: argparse.ArgumentParser, default: int | None = None, what: str = "images", *hidden: str
) -> None:
    """Add ``--limit``: the first N images, all of them where ``default`` is None."""
    parser.add_argument(
        "--limit", type=positive, metavar="N", default=default, help=f"the first N {what} only"
    )
    for spelling in hidden:
        parser.add_argument(
            spelling, dest="limit", type=positive, default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )


def add_runs(parser: argparse.ArgumentParser, default: int, what: str) -> None:
    """Add ``--runs``; ``what`` is timed so often."""
    parser.add_argument("--runs", type=positive, metavar="N", default=default, help=f"timed {what}")


def add_threads(parser: argparse.ArgumentParser, default: int | None, what: str) -> None:
    """Add ``--threads``, of ``what``; None: what is measured chooses."""
    parser.add_argument("--threads", type=positive, metavar="N", default=default, help=f"threads of {what}")


def add_plot(parser: argparse.ArgumentParser, what: str) -> None:
    """Add ``--plot``."""
    help = f"draw {what}, as PATH.png and PATH.svg"
    parser.add_argument("--plot", type=Path, metavar="PATH", help=help)


def add_bars(parser: argparse.ArgumentParser) -> None:
    """Add ``--bars``."""
    help = "print the project's own acceptance bars, too"
    parser.add_argument("--bars", action="store_true", help=help)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    commit()  # asked for while the checkout is still the code that was loaded
    help = "write the result as JSON to PATH ('-': standard output)"
    parser.add_argument("--json", metavar="PATH", help=help)


def chosen(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The named options, as a report's settings take them."""
    return {name: getattr(options, name) for name in names}
