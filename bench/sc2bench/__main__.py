"""``python -m bench.sc2bench``: see ``bench.sc2bench.peer``."""

import sys

from bench.sc2bench.peer import main

if __name__ == "__main__":
    sys.exit(main())
