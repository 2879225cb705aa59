"""Which spatial frequencies cost the bytes."""
