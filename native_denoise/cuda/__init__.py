"""The solver for NVIDIA GPUs, by Numba-CUDA.  Imported only when it is asked for.

Two paths compute the same: ``planes`` (one or two launches a step; the reference), and several steps a
launch: ``strips``, for `rof` ``fronts``.  For images that are on the GPU already:

    workspace = Workspace(settings("rof", iterations=40), frames, channels, height, width)
    denoise_device(images, masks, workspace, out, stream=stream)
"""

from .fronts import Tile
from .solver import denoise_device, solve
from .strips import Strips
from .workspace import Workspace

__all__ = ["Strips", "Tile", "Workspace", "denoise_device", "solve"]
