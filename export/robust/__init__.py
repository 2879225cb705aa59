"""What a robust bundle has besides: shield, adapted head and alarm."""
