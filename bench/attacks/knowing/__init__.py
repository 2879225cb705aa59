"""Attackers who know what defends a frame: its defence, the guard's decision, or all of it and the budget."""
