"""``python -m runtime``: the command ``ratehold`` where its script is not on the path."""

import sys

from runtime.cli.main import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m runtime"))
