"""TensorRT: plans are built on the device that runs them, kept in a cache, and bound to its memory."""
