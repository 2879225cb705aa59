"""The bundle as the attacker differentiates it."""
