"""The entropy coder beside its peers."""
