"""ratehold on the device and on the server: from pixels to logits through a real bitstream.

    from runtime import Head, Tail, load, read_image

    bundle = load("efficientnet_lite0-mshp-r1-robust")
    packet = Head(bundle).encode(read_image("photo.jpg"))      # on the device
    logits = Tail(bundle).decode(packet.to_bytes())            # on the server

``import runtime`` is light: each name below is imported when it is first used.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.bundle import installed, load
    from runtime.codec.packet import Flags, Packet
    from runtime.engines import EngineOptions
    from runtime.errors import RateholdError
    from runtime.guard import Defence, Guard
    from runtime.head import Head
    from runtime.pictures import read_image
    from runtime.preprocess import Nv12
    from runtime.tail import Tail

    __version__: str

__all__ = [
    "Defence",
    "EngineOptions",
    "Flags",
    "Guard",
    "Head",
    "Nv12",
    "Packet",
    "RateholdError",
    "Tail",
    "__version__",
    "installed",
    "load",
    "read_image",
]

_HOME = {
    "Defence": "runtime.guard",
    "EngineOptions": "runtime.engines",
    "Flags": "runtime.codec.packet",
    "Guard": "runtime.guard",
    "Head": "runtime.head",
    "Nv12": "runtime.preprocess",
    "Packet": "runtime.codec.packet",
    "RateholdError": "runtime.errors",
    "Tail": "runtime.tail",
    "installed": "runtime.bundle",
    "load": "runtime.bundle",
    "read_image": "runtime.pictures",
}
"""A name -> the module that defines it."""


# From 1.32 on ONNX Runtime writes a device id and an event database under ~/.cache and sends events to its
# maker; it reads this once, when it is first imported. Every path to it leads through this package: engines,
# export and benches, and the processes that they start. Whoever sets the variable has their way.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})


def _version() -> str:
    """The version of the installed package; of a checkout that is not installed, ``0+checkout``."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ratehold")
    except PackageNotFoundError:
        return "0+checkout"
