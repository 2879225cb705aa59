"""What a Jetson has and lacks: the same as ``ratehold check``, before anything is installed.

``make jetson-check`` runs it; it needs only Python's standard library.
"""

import sys

from runtime.cli.check import PYTHON, add_arguments, board, check_old_python

__all__ = ["board", "main"]


def main(arguments: "list[str] | None" = None) -> int:
    """Print what there is; 0, or 1 where something essential is missing. Runs on Python 3.6, too."""
    if sys.version_info < PYTHON:
        return check_old_python(arguments)
    from runtime.cli.parser import Parser
    from runtime.cli.program import prog, run

    parser = Parser(prog=prog("bench.jetson_check"), description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)

    def checked() -> int:
        options = parser.parse_args(arguments)
        return int(options.run(options))

    return run(checked, prog("bench.jetson_check"))


if __name__ == "__main__":
    sys.exit(main())
