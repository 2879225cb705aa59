"""Write docs/results.md and docs/attack.svg from the measurements under docs/measured.

python -m bench.results           write both
python -m bench.results --check   exit with 1, and name the first difference, when one is not current
"""

from __future__ import annotations

import argparse
import sys
from itertools import zip_longest
from pathlib import Path

from bench.results.attack_picture import draw
from bench.results.page import page
from bench.results.record import Measured, ResultsError
from bench.results.sections import chapters
from runtime.cli.program import prog, program

DOCS = Path(__file__).resolve().parents[2] / "docs"


def difference(shown: str, made: str) -> str | None:
    """The first line in which two pages differ, with what it says in each; None where they are equal."""
    for number, (old, new) in enumerate(zip_longest(shown.splitlines(), made.splitlines()), 1):
        if old != new:
            return f"line {number}\n  is:        {old or ''}\n  should be: {new or ''}"
    return None if shown == made else "the end of the file"


@program("bench.results")
def main(arguments: list[str] | None = None) -> int:
    """0; 1 when one is not current (``--check``); 2 when a measurement is missing or incomplete."""
    parser = argparse.ArgumentParser(
        prog=prog("bench.results"),
        description=(__doc__ or "").splitlines()[0],
        epilog="A benchmark's --json PATH writes a measurement; `make docs` runs --check.",
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 when one is not current"
    )
    parser.add_argument(
        "--docs", type=Path, metavar="DIR", default=DOCS,
        help="folder of results.md, attack.svg and measured/ (default: docs of this checkout)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    measured = Measured(options.docs / "measured")
    try:
        made = {"results.md": page(chapters(measured)), "attack.svg": draw(measured)}
    except ResultsError as error:
        print(f"bench.results: {error}", file=sys.stderr)
        return 2
    status = 0
    for name, text in made.items():
        path = options.docs / name
        if not options.check:
            path.write_text(text, encoding="utf-8")
        elif differs := difference(path.read_text(encoding="utf-8") if path.exists() else "", text):
            print(f"{path} is not current: {differs}\npython -m bench.results writes it", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
