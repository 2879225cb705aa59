"""The review: what the strongest attacker of all leaves, photograph by photograph."""
