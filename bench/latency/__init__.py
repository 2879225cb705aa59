"""What a frame costs, stage by stage."""
