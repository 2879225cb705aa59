"""What this package raises on purpose."""


class DenoiseError(ValueError):
    """An image, a mask or a setting that cannot be denoised; the message names the cure."""


class BackendUnavailable(DenoiseError):
    """The backend that was asked for cannot run here; the message says what it needs."""


class CudaGraphError(RuntimeError):
    """The CUDA driver refused to capture or to replay a graph; the message has its code."""
