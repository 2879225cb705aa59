"""What a robust bundle has beyond a plain one: shield, adapted head and alarm."""
