"""The model repository of a Triton that decodes and answers packets."""
