"""The rates of a family of bundles. Without torch, so that ``--help`` can list them."""

LOSS_OF_RATE = {1: 0.0365, 2: 0.066, 3: 0.105, 4: 0.158}
"""Rate -> what coding may cost, in nats an image to second order: four steps, from most bytes to fewest."""
