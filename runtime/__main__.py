"""``python -m runtime``: the command ``ratehold`` where its script is not on the path.

On a Python that is too old for ratehold ``python -m runtime check`` still says what is missing.
"""

import sys

from runtime.cli.check import PYTHON, check_old_python


def main(arguments: "list[str] | None" = None, prog: str = "python -m runtime") -> int:
    """``runtime.cli.main.main``; on an old Python ``check``, or a line that says so."""
    if sys.version_info >= PYTHON:
        from runtime.cli.main import main as ratehold

        return ratehold(arguments, prog)
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["check"]:
        return check_old_python(words[1:])
    print(f"{prog}: needs Python 3.10 or newer, this is {sys.version.split()[0]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
