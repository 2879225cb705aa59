"""A model repository with which Triton decodes and answers packets."""
