"""The rates of a family of bundles. Without torch, so that ``--help`` can list them."""

RATES = (1, 2, 3, 4)
"""From most bytes to fewest. What each may cost is said by the task (``export.tasks``)."""
