"""A bundle's ONNX graphs: exported, rewritten and checked."""
