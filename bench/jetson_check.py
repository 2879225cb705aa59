"""What a Jetson has and lacks: the same as ``ratehold check``, before anything is installed.

``make jetson-check`` runs it; it needs only Python's standard library.
"""

from __future__ import annotations

import sys

from runtime.cli.check import add_arguments, board
from runtime.cli.parser import Parser
from runtime.cli.program import prog, program

__all__ = ["board", "main"]


@program("bench.jetson_check")
def main(arguments: list[str] | None = None) -> int:
    """Print what there is; 0, or 1 where something essential is missing."""
    parser = Parser(prog=prog("bench.jetson_check"), description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    options = parser.parse_args(arguments)
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
