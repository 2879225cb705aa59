"""Our runtime beside sc2bench on the paper's networks, the same weights on both sides."""

import sys

from bench.sc2bench.peer import main

if __name__ == "__main__":
    sys.exit(main())
