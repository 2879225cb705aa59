"""``python -m runtime``: the command ``ratehold`` where its script is not on the path.

On a Python that is too old for ratehold ``python -m runtime check`` still says what is missing.
"""

import sys

from runtime.cli.check import PYTHON, check_old_python

if __name__ == "__main__":
    if sys.version_info >= PYTHON:
        from runtime.cli.main import main

        sys.exit(main(prog="python -m runtime"))
    if sys.argv[1:2] == ["check"]:
        sys.exit(check_old_python(sys.argv[2:]))
    sys.exit("python -m runtime: needs Python 3.10 or newer, this is " + sys.version.split()[0])
