"""Moved to export.torch_graph."""

from export.torch_graph import TorchGraph

__all__ = ["TorchGraph"]
