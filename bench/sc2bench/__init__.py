"""Our runtime beside sc2bench, the peer of the paper networks: ``python -m bench.sc2bench``."""
